"""Fan-out: one run per session, within it one mapped instance per symbol, and a report on them all."""

from __future__ import annotations

from typing import Any

from flowctx import WorkflowContext
from flowctx.airflow import workflow_dag
from flowctx.examples.prices import prices


def report(ctx: WorkflowContext) -> dict[str, Any]:
    """List the day's moves; a symbol that did not trade has none."""
    summaries = ctx.get_output("summarise", default={})
    return {
        "session": ctx.as_of_date,
        "returns": {symbol: day["return"] for symbol, day in summaries.items() if day},
        "absent": [symbol for symbol, day in summaries.items() if day is None],
    }


dag = workflow_dag(prices, dag_id="prices_by_session", map_over=["symbol"], reduce=report)
