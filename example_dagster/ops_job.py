"""The same workflow as a job of ops, for people who think in ops rather than assets."""

import dagster as dg

from flowctx.dagster import workflow_job
from flowctx.examples.prices import prices

defs = dg.Definitions(jobs=[workflow_job(prices, tags={"team": "data"})])
