"""The example, a workflow of many partitions, and one whose steps die, each in a process of its own."""

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


modules = ["dagster", "dagster._core.storage.sqlite_storage", "flowctx.dagster", "flowctx.ledger.sql", "imports_stay"]
forked = {"start_method": {"forkserver": {"preload_modules": modules}}}


def one_process_for_each_step(workflow):
    """Return what Dagster needs for a workflow whose steps die, and do not take their run with them."""
    found = workflow_definitions(workflow)
    job = dg.define_asset_job(
        f"{workflow.name}_job",
        selection=dg.AssetSelection.assets(*found.assets or ()),
        executor_def=dg.multiprocess_executor.configured(forked),
    )
    return dg.Definitions(assets=found.assets, jobs=[job], sensors=found.sensors, resources=found.resources)


defs = dg.Definitions.merge(
    *(workflow_definitions(workflow) for workflow in (prices, spied("spied"), bulk_flow.flow)),
    one_process_for_each_step(flow),
    dg.Definitions(
        [report],
        jobs=[dg.define_asset_job("report_job", selection=[report]), workflow_bulk_job(bulk_flow.flow)],
        executor=dg.in_process_executor,
    ),
)
