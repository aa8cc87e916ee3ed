"""Airflow: a workflow as a DAG, a step as a task, and the workflow's context inside any task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctx.airflow import _versions  # noqa: F401 - it says which Airflow is needed where it is not there
from flowctx.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from flowctx.airflow.bulk import workflow_bulk_dag
    from flowctx.airflow.context import workflow_context
    from flowctx.airflow.dag import workflow_dag
    from flowctx.airflow.decorators import step_task
    from flowctx.airflow.inputs import read_input
    from flowctx.airflow.partitions import PartitionTimetable
    from flowctx.airflow.steps import StepOperator
    from flowctx.airflow.tables import load_file, load_output, load_table

__all__ = [
    "PartitionTimetable",
    "StepOperator",
    "load_file",
    "load_output",
    "load_table",
    "read_input",
    "step_task",
    "workflow_bulk_dag",
    "workflow_context",
    "workflow_dag",
]

# Airflow loads providers and plugins in the middle of its own import: this package must not import it in turn.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "PartitionTimetable": "flowctx.airflow.partitions",
        "StepOperator": "flowctx.airflow.steps",
        "load_file": "flowctx.airflow.tables",
        "load_output": "flowctx.airflow.tables",
        "load_table": "flowctx.airflow.tables",
        "read_input": "flowctx.airflow.inputs",
        "step_task": "flowctx.airflow.decorators",
        "workflow_bulk_dag": "flowctx.airflow.bulk",
        "workflow_context": "flowctx.airflow.context",
        "workflow_dag": "flowctx.airflow.dag",
    },
)
