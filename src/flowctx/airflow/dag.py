"""A whole workflow as a DAG."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from flowctx.airflow.partitions import PartitionTimetable
from flowctx.airflow.steps import StepOperator
from flowctx.core.errors import WorkflowError
from flowctx.core.plain import to_json
from flowctx.core.workflow import Workflow


def workflow_dag(workflow: Workflow, **dag_kwargs: Any) -> DAG:
    """Return the workflow as a DAG: one task per step, its params the DAG's, its partitions the DAG's schedule.

    Args:
        workflow: The workflow.
        **dag_kwargs: As for ``DAG``; they win over what follows from the workflow.

    Raises:
        WorkflowError: The workflow has no steps.

    Example:
        ::

            from flows import prices
            dag = workflow_dag(prices, tags=["prices"])
    """
    if not workflow.steps:
        raise WorkflowError(f"workflow {workflow.name!r} has no steps; declare some with @workflow.step()")
    arguments: dict[str, Any] = {
        "dag_id": workflow.name,
        "schedule": _schedule(workflow),
        "params": {name: to_json(value) for name, value in workflow.params.items()},
        **dag_kwargs,
    }
    with DAG(**arguments) as dag:
        tasks: dict[str, StepOperator] = {}
        for step in workflow.steps.values():
            tasks[step.name] = StepOperator(step=step, workflow=workflow)
            tasks[step.name].set_upstream([tasks[name] for name in step.after])
    return dag


def _schedule(workflow: Workflow) -> PartitionTimetable | None:
    return None if workflow.partitions is None else PartitionTimetable(workflow.partitions)
