"""Workflows that read other partitions and one another."""

from __future__ import annotations

from flowctx import Daily, PartitionScheme, Workflow

DAYS = ["2026-01-05", "2026-01-06", "2026-01-07"]


def workflows(name):
    """A chain of two steps for each day and fund, and the sum over the funds."""
    dates = Daily(start=DAYS[0], end="2026-01-09", calendar="WEEKDAYS")
    nav = Workflow(f"{name}_nav", partitions=PartitionScheme(date=dates, fund=["A", "B"]), params={"factor": 2})
    desk = Workflow(f"{name}_desk", partitions=PartitionScheme(date=dates))

    @nav.step(inputs={"yesterday": nav.output("value").previous()})
    def value(ctx, *, yesterday):
        return {"n": ctx.params["factor"] * (yesterday["n"] if yesterday is not None else 1)}

    @nav.step(inputs={"window": nav.output("value").previous(5)})
    def total(ctx, *, window):
        return {"sum": sum(output["n"] for output in window.values()) + ctx.get_output("value", "n")}

    @desk.step(inputs={"funds": nav.output("total")})
    def report(ctx, *, funds):
        return {key.fund: output["sum"] for key, output in funds.items()}

    return nav, desk
