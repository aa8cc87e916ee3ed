"""Processes that do the same thing at the same moment, round after round."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

from durable_flow import flow, processes
from flowctx import FlowctxError, StepResult, Workflow, resume, run
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.records import CaptureKey
from flowctx.ledger import open_ledger
from flowctx.testing.clock import NOON

#: Fails at its second step unless told otherwise; notes each call of a step in a file.
halting = Workflow("halting", params={"halt": True, "effects": ""})


def _note(ctx, name):
    with open(ctx.params["effects"], "a", encoding="utf-8") as file:
        file.write(f"{name}\n")


@halting.step(name="a")
def first(ctx):
    _note(ctx, "a")


@halting.step(name="b")
def second(ctx):
    if ctx.params["halt"]:
        return StepResult.fail("not yet", category="DATA_QUALITY")
    _note(ctx, "b")
    return StepResult.ok()


@halting.step(name="c")
def third(ctx):
    _note(ctx, "c")


def _resume(ledger, number, run_id, effects):
    return str(resume(run_id, halting, params={"halt": False}, ledger=ledger).status)


def _run(ledger, number, run_id, effects):
    return str(run(halting, run_id=run_id, params={"halt": False, "effects": effects}, ledger=ledger).status)


def _claim(ledger, number, run_id, effects):
    key = CaptureKey(idempotency_key=run_id, capture_id=run_id)
    return f"token {ledger.claim(key, holder=f'racer {number}', lease=timedelta(minutes=1)).fencing_token}"


def _lead(ledger, number, run_id, effects):
    batch = BatchRecord(batch_id=run_id, workflow="flow", selection=f"by {number}", created_at=NOON)
    leader = ledger.batches.lead(run_id, f"racer {number}", timedelta(minutes=1), lambda known: batch).launcher
    return "leads" if leader == f"racer {number}" else f"Refused: {leader} leads"


_ACTIONS = {"resume": _resume, "run": _run, "claim": _claim, "lead": _lead}


def _race(url, number, gate, line):
    ledger = open_ledger(url)
    ledger.list_runs(limit=1)  # the connection is there, and the race is about the rest
    while (order := line.recv()) is not None:
        action, run_id, effects = order
        gate.wait()
        try:
            line.send(_ACTIONS[action](ledger, number, run_id, effects))
        except FlowctxError as exc:
            line.send(f"{type(exc).__name__}: {exc}")
        except BaseException as exc:
            line.send(f"RAW {type(exc).__name__}: {exc}")
    ledger.close()


@contextmanager
def racers(url, count):
    """Yield a function that has all of them do something at once, and returns what became of it for each."""
    gate = processes.Barrier(count)
    lines, children = [], []
    for number in range(count):
        ours, theirs = processes.Pipe()
        child = processes.Process(target=_race, args=(url, number, gate, theirs))
        child.start()
        lines.append(ours)
        children.append(child)

    def go(action, run_id, effects=""):
        for line in lines:
            line.send((action, run_id, effects))
        return [line.recv() for line in lines]

    yield go
    for line in lines:
        line.send(None)
    for child in children:
        child.join()


__all__ = ["flow", "halting", "racers"]
