"""A workflow for the partitions of the one that batches run, of which an engine's run may be, too."""

from __future__ import annotations

from typing import Any

from backfill.flows import flow
from flowctx import Workflow, WorkflowContext

other = Workflow("other", partitions=flow.partitions)


@other.step()
def total(ctx: WorkflowContext) -> dict[str, Any]:
    """Add something up."""
    return {}
