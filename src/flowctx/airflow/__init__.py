"""Airflow: a workflow as a DAG, a step as a task, and the workflow's context inside any task."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flowctx.airflow import _versions  # noqa: F401 - it says which Airflow is needed where it is not there

if TYPE_CHECKING:
    from flowctx.airflow.bulk import workflow_bulk_dag
    from flowctx.airflow.context import workflow_context
    from flowctx.airflow.dag import workflow_dag
    from flowctx.airflow.decorators import step_task
    from flowctx.airflow.inputs import read_input
    from flowctx.airflow.partitions import PartitionTimetable
    from flowctx.airflow.steps import StepOperator
    from flowctx.airflow.tables import load_file, load_table

__all__ = [
    "PartitionTimetable",
    "StepOperator",
    "load_file",
    "load_table",
    "read_input",
    "step_task",
    "workflow_bulk_dag",
    "workflow_context",
    "workflow_dag",
]

#: Public names and where they are. Airflow loads providers and plugins in the middle of its own import, so that
#: importing this package must not import Airflow.
_HOME = {
    "PartitionTimetable": "flowctx.airflow.partitions",
    "StepOperator": "flowctx.airflow.steps",
    "load_file": "flowctx.airflow.tables",
    "load_table": "flowctx.airflow.tables",
    "read_input": "flowctx.airflow.inputs",
    "step_task": "flowctx.airflow.decorators",
    "workflow_bulk_dag": "flowctx.airflow.bulk",
    "workflow_context": "flowctx.airflow.context",
    "workflow_dag": "flowctx.airflow.dag",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flowctx.airflow' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
