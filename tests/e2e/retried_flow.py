"""A workflow that reads files, of which one is wrong and one is late; each call of a step is noted."""

from __future__ import annotations

from pathlib import Path

from flowctx import PartitionScheme, StepResult, Workflow

HERE = Path(__file__).parent

flow = Workflow("retried", partitions=PartitionScheme(tier=["T1", "T2", "T3"]))


def note(ctx, step):
    """Note that a step was called."""
    engine = ctx.metadata.get("engine", {}).get("name", "local")
    with (HERE / f"calls-{engine}").open("a") as calls:
        calls.write(f"{step} {ctx.partition.tier}\n")


@flow.step()
def fetch(ctx):
    """Read the file, if it is there."""
    note(ctx, "fetch")
    file = HERE / f"{ctx.partition.tier}.txt"
    return {"text": file.read_text()} if file.exists() else StepResult.skip("no file yet")


@flow.step(refresh=True)
def rates(ctx):
    """Read what may change at any time."""
    note(ctx, "rates")
    return {"rate": 2}


@flow.step()
def check(ctx):
    """Take no wrong text."""
    note(ctx, "check")
    if ctx.get_output("fetch", "text") != "good":
        return StepResult.fail("a wrong text", category="DATA_QUALITY")
    return {"checked": ctx.partition.tier}
