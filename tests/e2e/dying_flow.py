"""A workflow whose steps end their process, wait until somebody lets them go on, raise, or fail."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flowctx import PartitionScheme, StepResult, Workflow

flow = Workflow("dying", partitions=PartitionScheme(tier=["T1", "T2"]), params={"how": "exit"})


def begin(ctx, step):
    """Note that a step was called, and hold it if that is asked for."""
    folder = Path(os.environ["DYING"])
    with (folder / f"calls-{ctx.batch_id}").open("a") as calls:
        calls.write(f"{step}\n")
    if ctx.params["how"] == f"hold {step}":
        (folder / ctx.run_id).touch()
        end = time.monotonic() + 300
        while not (folder / f"go-{ctx.batch_id}").exists() and time.monotonic() < end:
            time.sleep(0.5)


@flow.step()
def load(ctx):
    """Do well; what it returns is too large for a ledger's row."""
    begin(ctx, "load")
    return {"tier": ctx.partition.tier, "large": "x" * 60_000}


@flow.step()
def check(ctx):
    """Die as of too little memory, without a word; or raise; or fail; or do well."""
    begin(ctx, "check")
    missing = 60_000 - len(ctx.get_output("load", "large"))
    if ctx.params["how"] == "exit":
        os._exit(9)
    if ctx.params["how"] == "raise":
        return {"share": 1 / missing}
    if ctx.params["how"] == "fail" or missing:
        return StepResult.fail("not yet", category="DATA_QUALITY")
    return {}
