"""A workflow that other processes run and that gets killed; it notes each call of a step in a file."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from datetime import timedelta
from pathlib import Path

from flowctx import CaptureRefused, FlowctxError, UnknownRun, Workflow, resume, run
from flowctx.core.durability.records import CaptureKey
from flowctx.ledger import open_ledger

STEPS = 20
flow = Workflow("durable")


def _declare(number):
    @flow.step(name=f"s{number}")
    def step(ctx):
        with open(ctx.params["effects"], "a", encoding="utf-8") as file:
            file.write(f"s{number}\n")
        time.sleep(ctx.params.get("pause", 0.001))
        before = ctx.get_output(f"s{number - 1}", "total", 0)
        return {"total": before + number, "padding": "x" * ctx.params.get("padding", 10), "seen": len(ctx.step_outputs)}


for _number in range(STEPS):
    _declare(_number)


def effects(path):
    """Return the names of the steps that were called, in order."""
    return Path(path).read_text(encoding="utf-8").split() if Path(path).exists() else []


def run_or_resume(url, run_id, params, told):
    """Run the workflow, or go on with it if the ledger remembers it; tell when that begins and how it ended."""
    told.send("begun")
    try:
        try:
            result = resume(run_id, flow, ledger=url, take_over=True)
        except UnknownRun:
            result = run(flow, run_id=run_id, params=params, ledger=url)
        told.send(str(result.status))
    except FlowctxError as exc:
        told.send(f"{type(exc).__name__}: {exc}")


def run_on_a_small_disk(url, run_id, params, limit, told):
    """Run the workflow where no file can grow beyond a size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    run_or_resume(url, run_id, params, told)


def claim_all(url, count, holder, told):
    """Claim many captures, each process in an order of its own, and tell which were granted."""
    ledger = open_ledger(url)
    granted = []
    for number in sorted(range(count), key=lambda n: hash((n * 7919, holder))):
        key = CaptureKey(idempotency_key=f"subject-{number}", capture_id="capture")
        with contextlib.suppress(CaptureRefused):
            granted.append(
                (number, ledger.claim(key, holder=f"{holder} {os.getpid()}", lease=timedelta(hours=1)).fencing_token)
            )
    told.send(granted)
