"""Dagster: a workflow as partitioned assets or as a job of ops, and the workflow's context in any op or asset."""

from __future__ import annotations

from flowctx.dagster import _compat  # noqa: F401 - first, to say what to install where there is no Dagster
from flowctx.dagster.context import workflow_context, workflow_contexts
from flowctx.dagster.definitions import workflow_assets, workflow_definitions, workflow_job
from flowctx.dagster.outputs import WorkflowIOManager
from flowctx.dagster.running import run_workflow

__all__ = [
    "WorkflowIOManager",
    "run_workflow",
    "workflow_assets",
    "workflow_context",
    "workflow_contexts",
    "workflow_definitions",
    "workflow_job",
]
