"""A workflow that batches run in bulk; the first of its steps can kill the task or run that its slice is in."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from flowctx import Daily, PartitionScheme, StepResult, Workflow, WorkflowContext

flow = Workflow(
    "bulk",
    partitions=PartitionScheme(
        date=Daily(start="2012-01-02", end="2012-06-29", calendar="WEEKDAYS"), tier=["T1", "T2"]
    ),
    params={"notes": "", "kill": "", "fail": ""},
)


def grandparent() -> int:
    """Return the process that the slice was given to: a worker runs the step, for the process of the slice."""
    stat = Path(f"/proc/{os.getppid()}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


@flow.step()
def load(ctx: WorkflowContext) -> dict[str, int]:
    """Note that it was called; once, kill the engine's process."""
    killed = Path(f"{ctx.params['notes']}.killed")
    if str(ctx.partition) == ctx.params["kill"] and not killed.exists():
        killed.touch()
        time.sleep(0.5)  # what short steps recorded is committed by then
        os.kill(grandparent(), signal.SIGKILL)
        time.sleep(60)  # this process ends with it
    if Path(f"{ctx.params['notes']}.slow").exists():
        time.sleep(0.3)
    with Path(ctx.params["notes"]).open("a") as notes:
        notes.write(f"load {ctx.partition} {ctx.batch_id}\n")
    return {"day": ctx.due.day if ctx.due else 0}


@flow.step()
def check(ctx: WorkflowContext) -> StepResult:
    """Fail for one partition."""
    if str(ctx.partition) == ctx.params["fail"]:
        return StepResult.fail("12 rows are missing", category="DATA_QUALITY")
    with Path(ctx.params["notes"]).open("a") as notes:
        notes.write(f"check {ctx.partition} {ctx.batch_id}\n")
    return StepResult.ok({"day": ctx.get_output("load", "day")})
