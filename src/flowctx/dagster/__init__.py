"""Dagster: a workflow as partitioned assets or as a job of ops, and the workflow's context in any op or asset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctx.core.lazy_names import lazy_names
from flowctx.dagster import _versions  # noqa: F401 - it says which Dagster is needed where it is not there

if TYPE_CHECKING:
    from flowctx.dagster.asset_keys import asset_key
    from flowctx.dagster.bulk import workflow_bulk_job
    from flowctx.dagster.context import workflow_context, workflow_contexts
    from flowctx.dagster.definitions import workflow_assets, workflow_definitions, workflow_job
    from flowctx.dagster.endings import endings_sensor
    from flowctx.dagster.mappings import partition_mapping
    from flowctx.dagster.output_store import StoredOutput
    from flowctx.dagster.outputs import WorkflowIOManager
    from flowctx.dagster.partitions import partitions_def
    from flowctx.dagster.range_outputs import partition_outputs
    from flowctx.dagster.reading import read_input
    from flowctx.dagster.ready import inputs_sensor
    from flowctx.dagster.resource import WorkflowContextResource
    from flowctx.dagster.running import run_assets
    from flowctx.dagster.schedules import workflow_schedule

__all__ = [
    "StoredOutput",
    "WorkflowContextResource",
    "WorkflowIOManager",
    "asset_key",
    "endings_sensor",
    "inputs_sensor",
    "partition_mapping",
    "partition_outputs",
    "partitions_def",
    "read_input",
    "run_assets",
    "workflow_assets",
    "workflow_bulk_job",
    "workflow_context",
    "workflow_contexts",
    "workflow_definitions",
    "workflow_job",
    "workflow_schedule",
]

# Who only asks which Dagster is there need not import it.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "StoredOutput": "flowctx.dagster.output_store",
        "WorkflowContextResource": "flowctx.dagster.resource",
        "WorkflowIOManager": "flowctx.dagster.outputs",
        "asset_key": "flowctx.dagster.asset_keys",
        "endings_sensor": "flowctx.dagster.endings",
        "inputs_sensor": "flowctx.dagster.ready",
        "partition_mapping": "flowctx.dagster.mappings",
        "partition_outputs": "flowctx.dagster.range_outputs",
        "partitions_def": "flowctx.dagster.partitions",
        "read_input": "flowctx.dagster.reading",
        "run_assets": "flowctx.dagster.running",
        "workflow_assets": "flowctx.dagster.definitions",
        "workflow_bulk_job": "flowctx.dagster.bulk",
        "workflow_context": "flowctx.dagster.context",
        "workflow_contexts": "flowctx.dagster.context",
        "workflow_definitions": "flowctx.dagster.definitions",
        "workflow_job": "flowctx.dagster.definitions",
        "workflow_schedule": "flowctx.dagster.schedules",
    },
)
