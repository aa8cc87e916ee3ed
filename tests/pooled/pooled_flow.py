"""What the batch runs."""

from __future__ import annotations

from flowctx import PartitionScheme, Workflow, WorkflowContext

flow = Workflow("pooled", partitions=PartitionScheme(number=[f"n{number:03}" for number in range(200)]))


@flow.step()
def fetch(ctx: WorkflowContext) -> dict[str, str]:
    """Return what the next step reads."""
    return {"number": ctx.partition["number"] if ctx.partition else ""}


@flow.step()
def load(ctx: WorkflowContext) -> dict[str, str]:
    """Return it again."""
    return {"loaded": ctx.get_output("fetch", "number")}
