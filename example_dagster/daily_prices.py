"""A whole workflow as assets, and an asset of your own after it."""

from typing import Any

import dagster as dg

from flowctx.dagster import asset_key, partitions_def, workflow_definitions
from flowctx.examples.prices import prices


@dg.asset(
    ins={"summary": dg.AssetIn(asset_key(prices, "summarise"))},
    partitions_def=partitions_def(prices.partitions),
    group_name="reports",
)
def headline(summary: dict[str, Any]) -> dg.MaterializeResult:
    """Write a line about the day."""
    return dg.MaterializeResult(metadata={"text": f"{summary['symbol']} closed at {summary['close']}"})


defs = dg.Definitions.merge(workflow_definitions(prices, owners=["team:data"]), dg.Definitions(assets=[headline]))
