"""The example, and workflows that die and fail, with Dagster's own default of one process for each step."""

import dagster as dg
from dying_flow import flow

from flowctx.dagster import workflow_definitions
from flowctx.examples.prices import prices
from planted import spied

defs = dg.Definitions.merge(*(workflow_definitions(workflow) for workflow in (prices, flow, spied("spied"))))
