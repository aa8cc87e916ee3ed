"""Daily partitions feed weekly ones: each week takes in its own sessions, and no others."""

from typing import Any

import dagster as dg

from flowctx import PartitionKey, PartitionScheme, Weekly
from flowctx.dagster import asset_key, partition_mapping, partitions_def, workflow_context, workflow_definitions
from flowctx.examples.prices import prices

weeks = PartitionScheme(
    week_ending=Weekly(start="2000-03-03", end="2013-03-01", calendar="XNYS", timezone="America/New_York"),
    symbol=prices.partitions.values("symbol") if prices.partitions else (),
)


@dg.asset(
    ins={
        "days": dg.AssetIn(
            asset_key(prices, "summarise"),
            partition_mapping=partition_mapping(prices.partitions, weeks),
        )
    },
    partitions_def=partitions_def(weeks),
)
def week(context: dg.AssetExecutionContext, days: dict[PartitionKey, dict[str, Any]]) -> dg.MaterializeResult:
    """Sum up a week from the summaries of its sessions."""
    ctx = workflow_context(context, scheme=weeks)
    closes = [summary["close"] for _, summary in sorted(days.items(), key=lambda item: item[0].date)]
    about = {"week ending": str(ctx.as_of_date), "sessions": len(days), "last close": float(closes[-1])}
    return dg.MaterializeResult(metadata=about)


defs = dg.Definitions.merge(workflow_definitions(prices), dg.Definitions(assets=[week]))
