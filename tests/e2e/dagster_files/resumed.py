"""The example as a code location, with Dagster's own default of one process for each step."""

from flowctx.dagster import workflow_definitions
from flowctx.examples.prices import prices

defs = workflow_definitions(prices)
