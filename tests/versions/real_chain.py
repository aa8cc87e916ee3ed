"""A chain of workflows on real prices whose source can be corrected: closes, moves, the market of a date, a month."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from datetime import date
from typing import Any

import pyarrow as pa

from flowctx import Daily, Monthly, Outputs, PartitionScheme, Workflow, WorkflowContext, run
from flowctx.core.durability.ledger import Ledger
from flowctx.examples.prices import closes

SYMBOLS = ("AAPL", "IBM")
SESSIONS = Daily(start="2012-10-01", end="2012-11-30", calendar="XNYS", timezone="America/New_York")
MONTHS = Monthly(start="2012-10-31", end="2012-11-30", timezone="America/New_York")
BOTH = PartitionScheme(date=SESSIONS, symbol=SYMBOLS)

#: Corrections of the source: what each close is multiplied by, such as ``{"2012-10-10|IBM": 1.1}``.
quotes = Workflow("quotes", partitions=BOTH, params={"corrections": {}})
moves = Workflow("moves", partitions=BOTH)
market = Workflow("market", partitions=PartitionScheme(date=SESSIONS))
month = Workflow("month", partitions=PartitionScheme(month=MONTHS))


@quotes.step()
def close(ctx: WorkflowContext) -> dict[str, Any]:
    """The adjusted close of a day, as plain data and as a table."""
    value = adjusted(ctx.key.symbol, ctx.as_of_date) * ctx.params["corrections"].get(BOTH.text(ctx.key), 1.0)
    return {"close": value, "rows": pa.table({"symbol": [ctx.key.symbol], "close": [value]})}


@moves.step(inputs={"now": quotes.output("close"), "before": quotes.output("close").previous()})
def move(ctx: WorkflowContext, *, now: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The day's return."""
    return {"move": 0.0 if before is None else math.log(now["close"] / before["close"])}


@market.step(inputs={"stocks": moves.output("move")})
def mean(ctx: WorkflowContext, *, stocks: Outputs) -> dict[str, Any]:
    """The mean of a date's returns, and whether it rose."""
    found = statistics.fmean(output["move"] for output in stocks.values())
    return {"mean": found}


@market.step()
def direction(ctx: WorkflowContext) -> dict[str, Any]:
    """Whether it rose: the same for many means."""
    return {"rose": ctx.get_output("mean", "mean") > 0}


@month.step(inputs={"days": market.output("mean")})
def total(ctx: WorkflowContext, *, days: Outputs) -> dict[str, Any]:
    """The sum of how far each date went: log returns alone would cancel out."""
    return {"total": sum(abs(output["mean"]) for output in days.values())}


def adjusted(symbol: str, day: date | None) -> float:
    """Return the adjusted close of a session."""
    history = closes(symbol)
    at = history.position(day)
    return float(history.adjusted[at])


def backfill(ledger: Ledger, batch_id: str, corrections: Mapping[str, float], **how: Any) -> None:
    """Run all of October under one batch id, in the order of what reads what."""
    selected = "date=2012-10-01..2012-10-31"
    for workflow in (quotes, moves, market):
        params = {"corrections": dict(corrections)} if workflow is quotes else {}
        for key in workflow.partitions.select(selected):
            run(workflow, partition=key, batch_id=batch_id, params=params, ledger=ledger, **how).raise_for_failure()
    run(month, partition="2012-10-31", batch_id=batch_id, ledger=ledger, **how).raise_for_failure()
