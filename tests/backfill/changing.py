"""A workflow before and after its parameters were declared anew, for batches that worker processes run."""

from __future__ import annotations

from typing import Any

from flowctx import PartitionScheme, StepResult, Workflow, WorkflowContext

TIERS = PartitionScheme(tier=["T1"])
old = Workflow("changing", partitions=TIERS, params={"x": 1})
new = Workflow("changing", partitions=TIERS, params={"y": 7})
#: Only a default differs.
other = Workflow("changing", partitions=TIERS, params={"x": 2})


@old.step()
def fetch(ctx: WorkflowContext) -> StepResult:
    """Fail."""
    return StepResult.fail("no file", category="DATA_QUALITY")


def parameters(ctx: WorkflowContext) -> dict[str, Any]:
    """Return the parameters."""
    return {"params": dict(ctx.params)}


new.step("fetch")(parameters)
other.step("fetch")(parameters)
