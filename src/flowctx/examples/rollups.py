"""Workflows that read the daily prices: the risk of a stock, all stocks of a date, and all dates of a month."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

from flowctx import Daily, Monthly, Outputs, PartitionScheme, Workflow, WorkflowContext
from flowctx.examples.prices import prices

#: Volatility is that of so many sessions, the run's own among them.
SESSIONS = 20

risk = Workflow("price_risk", partitions=prices.partitions)


@risk.step(
    inputs={"own": prices.output("returns"), "before": prices.output("returns").previous(SESSIONS - 1).optional()}
)
def volatility(ctx: WorkflowContext, *, own: Mapping[str, Any], before: Outputs) -> dict[str, Any]:
    """The annualised volatility, from what the runs of the sessions before made; ``None`` until there are enough."""
    moves = [*(output["log"] for output in before.values()), own["log"]]
    enough = len(moves) == SESSIONS
    return {"sessions": len(moves), "volatility": statistics.stdev(moves) * math.sqrt(252) if enough else None}


market = Workflow(
    "price_market",
    partitions=PartitionScheme(
        date=Daily(start="2000-03-01", end="2013-03-01", calendar="XNYS", timezone="America/New_York")
    ),
)


@market.step(inputs={"stocks": prices.output("returns")})
def breadth(ctx: WorkflowContext, *, stocks: Outputs) -> dict[str, Any]:
    """The stocks that traded on a date: how many rose, and the mean of their returns."""
    simple = {key.symbol: output["simple"] for key, output in stocks.items()}
    return {
        "stocks": len(simple),
        "rose": sum(move > 0 for move in simple.values()),
        "mean": statistics.fmean(simple.values()) if simple else 0.0,
    }


month = Workflow(
    "price_month",
    partitions=PartitionScheme(month=Monthly(start="2000-03-31", end="2013-02-28", timezone="America/New_York")),
)


@month.step(inputs={"days": market.output("breadth")})
def report(ctx: WorkflowContext, *, days: Outputs) -> dict[str, Any]:
    """All sessions of a month: the return of the mean of all stocks, compounded."""
    return {
        "sessions": len(days),
        "return": math.prod(1 + output["mean"] for output in days.values()) - 1,
        "rose": sum(output["mean"] > 0 for output in days.values()),
    }
