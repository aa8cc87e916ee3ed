"""Workflows that read each other: lineage from the prices to the month, with the mapping of their partitions."""

import dagster as dg

from flowctx.dagster import workflow_definitions
from flowctx.examples.prices import prices
from flowctx.examples.rollups import market, month, risk

defs = dg.Definitions.merge(*(workflow_definitions(flow) for flow in (prices, risk, market, month)))
