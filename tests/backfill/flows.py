"""A workflow that batches run in processes of their own; what its steps do is said by its parameters."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from flowctx import Daily, PartitionKey, PartitionScheme, StepResult, Workflow, WorkflowContext

flow = Workflow(
    "filled",
    partitions=PartitionScheme(
        date=Daily(start="2012-01-02", end="2012-03-30", calendar="WEEKDAYS"), tier=["T1", "T2", "T3"]
    ),
    params={
        "notes": "",
        "pause": 0.0,
        "fail": [],
        "skip": [],
        "die": [],
        "end": [],
        "leave": [],
        "break": [],
        "fork": [],
        "number": None,
    },
)


def note(ctx: WorkflowContext, step: str) -> None:
    """Note that a step was called, and for what."""
    if ctx.params["notes"]:
        with Path(ctx.params["notes"]).open("a") as file:
            file.write(f"{step} {ctx.partition} {ctx.capture_id}\n")


def mended(ctx: WorkflowContext) -> bool:
    """Say whether what the parameters break has been mended: a file of that name is there."""
    return Path(f"{ctx.params['notes']}.mended").exists()


@flow.step()
def load(ctx: WorkflowContext) -> StepResult | dict[str, Any]:
    """Load, unless the parameters say otherwise."""
    text = str(ctx.partition)
    print("a step may print")
    if text in ctx.params["skip"]:
        return StepResult.skip("nothing there")
    if text in ctx.params["die"] and not mended(ctx):
        os.kill(os.getpid(), signal.SIGKILL)
    if text in ctx.params["end"] and not mended(ctx):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    if text in ctx.params["fork"] and os.fork() == 0:
        if ctx.partition is not None and ctx.partition.tier == "T3":
            Path(f"{ctx.params['notes']}.copy").write_text(str(os.getpid()))
            time.sleep(3600)
        if ctx.partition is not None and ctx.partition.tier == "T2":
            raise LookupError("in the copy")
        return {"tier": "that of the copy"}
    if text in ctx.params["leave"]:
        sys.exit()
    note(ctx, "load")
    time.sleep(ctx.params["pause"])
    return {"tier": ctx.partition.tier if ctx.partition else None}


@flow.step()
def check(ctx: WorkflowContext) -> StepResult | dict[str, Any]:
    """Fail where the parameters say so, until it is mended."""
    if str(ctx.partition) in ctx.params["fail"] and not mended(ctx):
        return StepResult.fail("12 rows are missing", category="DATA_QUALITY")
    if str(ctx.partition) in ctx.params["break"]:
        raise LookupError("row 12")
    note(ctx, "check")
    return {"number": ctx.params.get("number")}


def broken(key: PartitionKey) -> dict[str, Any]:
    """Return parameters with which a partition fails for as long as the environment says so."""
    return {"fail": [str(key)] if key.tier == os.environ.get("BROKEN_TIER") else []}


def numbered(key: PartitionKey) -> dict[str, Any]:
    """Return other parameters for each partition."""
    return {"number": int(key.tier[1:])}
