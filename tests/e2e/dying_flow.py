"""A workflow whose second step ends its process, or waits to be stopped."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flowctx import PartitionScheme, StepResult, Workflow

flow = Workflow("dying", partitions=PartitionScheme(tier=["T1", "T2"]), params={"how": "exit"})


def note(ctx, step):
    """Note that a step was called."""
    with Path(os.environ["DYING"], f"calls-{ctx.batch_id}").open("a") as calls:
        calls.write(f"{step}\n")


@flow.step()
def load(ctx):
    """Do well."""
    note(ctx, "load")
    return {"tier": ctx.partition.tier}


@flow.step()
def check(ctx):
    """Die as of too little memory, without a word; or wait; or fail; or do well."""
    note(ctx, "check")
    if ctx.params["how"] == "exit":
        os._exit(9)
    if ctx.params["how"] == "wait":
        Path(os.environ["DYING"], ctx.run_id).touch()
        time.sleep(300)
    if ctx.params["how"] == "fail":
        return StepResult.fail("not yet", category="DATA_QUALITY")
    return {}
