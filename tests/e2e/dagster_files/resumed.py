"""The example, and workflows that die and fail, with one process for each step, each forked from one with Dagster."""

import bulk_flow
import dagster as dg
from dying_flow import flow

from flowctx.dagster import asset_key, partitions_def, workflow_bulk_job, workflow_definitions
from flowctx.examples.prices import prices
from planted import spied


@dg.asset(
    partitions_def=partitions_def(prices.partitions),
    io_manager_key="workflow_io_manager",
    ins={"summary": dg.AssetIn(asset_key(prices, "summarise"))},
)
def report(summary):
    """Hand on the end of the example, wherever it was made."""
    return summary


forked = {"start_method": {"forkserver": {"preload_modules": ["dagster", "flowctx.dagster", "flowctx.ledger.sql"]}}}
flows = (prices, flow, spied("spied"), bulk_flow.flow)
defs = dg.Definitions.merge(
    *(workflow_definitions(workflow) for workflow in flows),
    dg.Definitions(
        [report],
        jobs=[dg.define_asset_job("report_job", selection=[report]), workflow_bulk_job(bulk_flow.flow)],
        executor=dg.multiprocess_executor.configured(forked),
    ),
)
