"""Adopt flowctx in assets that exist already: one call inside any op, asset or check."""

import dagster as dg

from flowctx import AsOf
from flowctx.dagster import WorkflowContextResource, workflow_context, workflow_contexts

days = dg.DailyPartitionsDefinition("2012-10-01", timezone="America/New_York")


@dg.asset(partitions_def=days)
def loaded(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Load a day; weekends and holidays stand for the session before."""
    ctx = workflow_context(context, AsOf.last_session("XNYS"))
    return dg.MaterializeResult(metadata={"session": str(ctx.as_of_date), "capture": ctx.capture_id or ""})


@dg.asset(partitions_def=days, deps=[loaded])
def reported(workflow: WorkflowContextResource) -> dg.MaterializeResult:
    """The same by injection."""
    return dg.MaterializeResult(metadata={"session": str(workflow.context().as_of_date)})


@dg.multi_asset(
    specs=[dg.AssetSpec("ranged", partitions_def=days, deps=[loaded])],
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def over_a_range(context: dg.AssetExecutionContext):
    """One run for a range of days, with a context for each of them."""
    sessions = [str(ctx.as_of_date) for ctx in workflow_contexts(context, AsOf.last_session("XNYS"))]
    yield dg.MaterializeResult("ranged", metadata={"sessions": sessions})


defs = dg.Definitions(
    assets=[loaded, reported, over_a_range],
    resources={"workflow": WorkflowContextResource(as_of="last_session:XNYS")},
)
