"""Five sessions, one of which is skipped, and the month that reads them."""

from __future__ import annotations

from typing import Any

from flowctx import Daily, Monthly, Outputs, PartitionScheme, StepResult, Workflow, WorkflowContext

days = Workflow(
    "ready_days", partitions=PartitionScheme(date=Daily(start="2026-01-26", end="2026-01-30", calendar="WEEKDAYS"))
)
month = Workflow("ready_month", partitions=PartitionScheme(month=Monthly(start="2026-01-01", end="2026-01-31")))


@days.step()
def value(ctx: WorkflowContext) -> StepResult:
    """The day of the month; the 28th is skipped."""
    day = int(ctx.key.date[-2:])
    return StepResult.skip("closed") if day == 28 else StepResult.ok({"day": day})


@month.step(inputs={"found": days.output("value")})
def report(ctx: WorkflowContext, *, found: Outputs) -> dict[str, Any]:
    """All that was found."""
    return {"days": [output["day"] for output in found.values()]}
