"""Workflows that read each other: values by fund and date, their sum by date, and that by month."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowctx import Daily, Monthly, Outputs, PartitionScheme, StepResult, Workflow, WorkflowContext

DAYS = Daily(start="2013-01-02", end="2013-03-29", calendar="WEEKDAYS")

nav = Workflow("nav", partitions=PartitionScheme(date=DAYS, fund=["A", "B"]), params={"rate": 0.01, "fail": ""})
desk = Workflow("desk", partitions=PartitionScheme(date=DAYS))
month = Workflow("month", partitions=PartitionScheme(month=Monthly(start="2013-01-31", end="2013-03-31")))
#: Reads nothing of the others.
alone = Workflow("alone", partitions=PartitionScheme(tier=["T1"]))


@nav.step(inputs={"yesterday": nav.output("value").previous()})
def value(ctx: WorkflowContext, *, yesterday: Mapping[str, Any] | None) -> StepResult | dict[str, Any]:
    """Let a value grow, unless a file names the partition."""
    broken = Path(ctx.params["fail"]) if ctx.params["fail"] else None
    if broken is not None and broken.exists() and str(ctx.partition) in broken.read_text().splitlines():
        return StepResult.fail("no price", category="DATA_QUALITY")
    return {"nav": (100.0 if yesterday is None else yesterday["nav"]) * (1 + ctx.params["rate"])}


@desk.step(inputs={"funds": nav.output("value")})
def total(ctx: WorkflowContext, *, funds: Outputs) -> dict[str, Any]:
    """Add the funds of a date."""
    return {"total": sum(output["nav"] for output in funds.values()), "funds": len(funds)}


@month.step(inputs={"days": desk.output("total")})
def report(ctx: WorkflowContext, *, days: Outputs) -> dict[str, Any]:
    """Take the last day of a month."""
    return {"days": len(days), "last": list(days.values())[-1]["total"]}


@alone.step()
def one(ctx: WorkflowContext) -> dict[str, Any]:
    """Read nothing."""
    return {}
