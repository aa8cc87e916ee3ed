"""Workflows that read each other: lineage from the prices to the month, with the mapping of their partitions.

A month is requested when all its sessions are in the ledger.
"""

import dagster as dg

from flowctx.dagster import inputs_sensor, workflow_definitions
from flowctx.examples.prices import prices
from flowctx.examples.rollups import market, month, risk

defs = dg.Definitions.merge(
    *(workflow_definitions(flow) for flow in (prices, risk, market, month)),
    dg.Definitions(sensors=[inputs_sensor(month, start="2000-03-31")]),
)
