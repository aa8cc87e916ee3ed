"""What the batch runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flowctx import PartitionScheme, Workflow, WorkflowContext

flow = Workflow("pooled", partitions=PartitionScheme(number=[f"n{number:03}" for number in range(200)]))


@flow.step()
def fetch(ctx: WorkflowContext) -> dict[str, str]:
    """Return what the next step reads; one partition waits until something was pruned."""
    number = ctx.partition["number"] if ctx.partition else ""
    while number == "n100" and not Path(os.environ["POOLED_PRUNED"]).exists():
        time.sleep(0.02)
    return {"number": number}


@flow.step()
def load(ctx: WorkflowContext) -> dict[str, str]:
    """Return it again."""
    return {"loaded": ctx.get_output("fetch", "number")}
