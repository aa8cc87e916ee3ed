"""Daily prices of five real stocks: fetch, validate, two branches, and a summary that joins them.

The data comes with the PyPI package ``bokeh_sampledata``: 12,154 rows of 2000-03-01 to 2013-03-01, public domain.
FB did not trade before 2012-05-18 nor GOOG before 2004-08-19: those partitions skip.
"""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_left
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

from flowctx import (
    Daily,
    MissingExtra,
    PartitionScheme,
    QualityMetrics,
    RetryPolicy,
    StepResult,
    Workflow,
    WorkflowContext,
)

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")

prices = Workflow(
    "daily_prices",
    partitions=PartitionScheme(
        date=Daily(start="2000-03-01", end="2013-03-01", calendar="XNYS", timezone="America/New_York"),
        symbol=SYMBOLS,
    ),
    # Apple fell by 52% on 2000-09-29: with a limit of 0.25, that day does not pass.
    params={"max_move": 0.6},
)


@prices.step(retries=RetryPolicy(retries=2))
def fetch(ctx: WorkflowContext) -> StepResult:
    """Read the day's row; there is none when the stock did not trade."""
    symbol, day = symbol_and_day(ctx)
    history = closes(symbol)
    at = history.position(day)
    if at is None:
        return StepResult.skip(f"{symbol} did not trade on {day}")
    row = history.row(at)
    previous = history.adjusted[at - 1] if at else None
    return StepResult.ok({"session": day, **row, "previous": previous})


@prices.step(config={"max_spread": 0.5})
def validate(ctx: WorkflowContext, config: Mapping[str, Any]) -> StepResult:
    """Check the row, and stop here when it cannot be right."""
    row = ctx.get_output("fetch")
    move = row["adjusted"] / row["previous"] - 1 if row["previous"] else 0.0
    spread = float(row["high"] / row["low"]) - 1
    reasons = [
        reason
        for wrong, reason in (
            (not row["low"] <= min(row["open"], row["close"]), "the low is not the lowest"),
            (not row["high"] >= max(row["open"], row["close"]), "the high is not the highest"),
            (row["volume"] <= 0, "nothing was traded"),
            (spread > config["max_spread"], f"{spread:.0%} between low and high"),
            (abs(move) > ctx.params["max_move"], f"{move:.0%} in a day"),
        )
        if wrong
    ]
    quality = QualityMetrics(
        counts={"volume": row["volume"]},
        rates={"move": move, "spread": spread},
        passed=not reasons,
        reasons=tuple(reasons),
    )
    if reasons:
        return StepResult.fail("; ".join(reasons), category="DATA_QUALITY", quality=quality)
    return StepResult.ok({"move": move}, context_updates={"validated": True}, quality=quality)


@prices.step(after=[validate])
def returns(ctx: WorkflowContext) -> StepResult:
    """The day's return, simple and logarithmic."""
    move = ctx.get_output("validate", "move")
    return StepResult.ok({"simple": move, "log": math.log1p(move)})


@prices.step(after=[validate], config={"sessions": 20})
def volatility(ctx: WorkflowContext, config: Mapping[str, Any]) -> StepResult:
    """The annualised volatility over the last sessions; ``None`` until there are enough of them."""
    window = window_until(ctx, config["sessions"] + 1)
    moves = window["move"].drop_null().to_pylist()
    enough = len(moves) == config["sessions"]
    return StepResult.ok(
        {
            "sessions": len(moves),
            "volatility": statistics.stdev(moves) * math.sqrt(252) if enough else None,
            "window": window,
        }
    )


@prices.step(after=[returns, volatility])
def summarise(ctx: WorkflowContext) -> dict[str, Any]:
    """Join the branches into what a report shows."""
    return {
        "symbol": symbol_and_day(ctx)[0],
        "session": ctx.as_of_date,
        "close": ctx.get_output("fetch", "close"),
        "return": ctx.get_output("returns", "simple"),
        "volatility": ctx.get_output("volatility", "volatility"),
        "validated": ctx.get_param("validated", False),
    }


def window_until(ctx: WorkflowContext, count: int) -> Any:
    """Return the last sessions up to and including the run's as a table: the date, the adjusted close, the move.

    Any frame will do that speaks Arrow: of pandas, polars, DuckDB, or as here of pyarrow.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ModuleNotFoundError as exc:
        raise MissingExtra("the example's table", "examples", module=exc.name) from exc
    symbol, day = symbol_and_day(ctx)
    history = closes(symbol)
    adjusted = history.adjusted_until(day, count)
    moves = [math.log(new / old) for old, new in itertools.pairwise(adjusted)]
    columns = {"session": history.days_until(day, count), "adjusted": adjusted, "move": [None, *moves]}
    return pa.table(columns, schema=pa.schema({"session": pa.date32(), "adjusted": pa.float64(), "move": pa.float64()}))


def symbol_and_day(ctx: WorkflowContext) -> tuple[str, date]:
    """Return the symbol and the session that a run is about."""
    if ctx.partition is None or ctx.as_of_date is None:
        raise ValueError("daily_prices runs for a partition such as date=2012-10-26,symbol=IBM")
    return ctx.partition.symbol, ctx.as_of_date


class History:
    """All rows of one symbol, in order of date."""

    def __init__(self, columns: Mapping[str, list[Any]]) -> None:
        self.days = [date.fromisoformat(day) for day in columns["date"]]
        self.adjusted: list[float] = columns["adj_close"]
        self._columns = columns

    def position(self, day: date) -> int | None:
        """Return where ``day`` is, or ``None`` if the stock did not trade then."""
        at = bisect_left(self.days, day)
        return at if at < len(self.days) and self.days[at] == day else None

    def row(self, at: int) -> dict[str, Any]:
        """Return one day's prices, exact to the cent, its volume and its adjusted close."""
        quoted = {name: Decimal(str(self._columns[name][at])) for name in ("open", "high", "low", "close")}
        return {**quoted, "volume": self._columns["volume"][at], "adjusted": self.adjusted[at]}

    def adjusted_until(self, day: date, count: int) -> list[float]:
        """Return the last ``count`` adjusted closes up to and including ``day``; fewer at the start."""
        end = bisect_left(self.days, day) + 1
        return self.adjusted[max(0, end - count) : end]

    def days_until(self, day: date, count: int) -> list[date]:
        """Return the last ``count`` days up to and including ``day``; fewer at the start."""
        end = bisect_left(self.days, day) + 1
        return self.days[max(0, end - count) : end]


@cache
def closes(symbol: str) -> History:
    """Load the history of a symbol.

    Raises:
        MissingExtra: The data package is not installed.
    """
    try:
        from bokeh_sampledata import stocks
    except ModuleNotFoundError as exc:
        raise MissingExtra("the example's data", "examples", module=exc.name) from exc
    return History(getattr(stocks, symbol))
