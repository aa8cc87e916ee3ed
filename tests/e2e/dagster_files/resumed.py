"""The example, and a workflow that dies, with Dagster's own default of one process for each step."""

import dagster as dg
from dying_flow import flow

from flowctx.dagster import workflow_definitions
from flowctx.examples.prices import prices

defs = dg.Definitions.merge(workflow_definitions(prices), workflow_definitions(flow))
