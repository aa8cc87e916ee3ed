"""A workflow of the project's own, beside the YAML that puts it into Dagster."""

from flowctx import Daily, PartitionScheme, StepResult, Workflow, WorkflowContext

rates = Workflow("fx_rates", partitions=PartitionScheme(date=Daily(start="2026-01-01", calendar="WEEKDAYS")))


@rates.step(retries=2)
def fetch(ctx: WorkflowContext) -> StepResult:
    """Fetch the day's rates."""
    return StepResult.ok({"EURUSD": 1.08, "day": ctx.as_of_date})


@rates.step()
def invert(ctx: WorkflowContext) -> StepResult:
    """Quote them the other way round."""
    return StepResult.ok({"USDEUR": 1 / ctx.get_output("fetch", "EURUSD")})
