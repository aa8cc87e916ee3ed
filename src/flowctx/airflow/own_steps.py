"""Which tasks run a workflow's own steps, and what the runs of others are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowctx.airflow._compat import MappedOperator
from flowctx.core.workflow.code_version import code_version
from flowctx.core.workflow.definition import Step, Workflow


def made_with(task: Any) -> Mapping[str, Any]:
    """Return what a task, or a mapped one, was made with."""
    found: Mapping[str, Any] = task.partial_kwargs if isinstance(task, MappedOperator) else vars(task)
    return found


def workflow_of(context: Mapping[str, Any]) -> Workflow | None:
    """Return the workflow of a task that runs a step, else the only one of which the DAG has steps."""
    own = getattr(context.get("task"), "workflow", None)
    if isinstance(own, Workflow):  # other operators may have a ``workflow`` of their own
        return own
    flows = (made_with(task).get("workflow") for task in context["dag"].tasks)
    found = {flow.name: flow for flow in flows if isinstance(flow, Workflow)}
    return next(iter(found.values())) if len(found) == 1 else None


def is_own(workflow: Workflow | None, step: Any) -> bool:
    """Whether a step, or the function that one is made of, is one of a workflow: its name alone does not say so.

    Args:
        workflow: The workflow.
        step: The step or function.
    """
    name = str(getattr(step, "name", None) or getattr(step, "__name__", ""))
    own = workflow.steps.get(name) if workflow is not None else None
    if own is None:
        return False
    function = step.function if isinstance(step, Step) else step
    if own is step or own.function is function:
        return True
    version = code_version(function)
    return version is not None and version == code_version(own.function)


def run_name(workflow: Workflow | None, step: Any, dag_id: str) -> str:
    """Return under which name the run of a step is recorded: its workflow's, or that of a DAG of steps of none.

    A step that has a workflow's partitions and parameters and is none of it writes no version of the workflow's data.
    """
    if workflow is None:
        return dag_id
    if is_own(workflow, step):
        return workflow.name
    return dag_id if dag_id != workflow.name else f"{dag_id}.own"


def run_name_of(task: Any) -> str:
    """Return what the run is called that the step of a task is recorded under."""
    dag_id = task.dag.dag_id
    if isinstance(task, MappedOperator):
        made = made_with(task)
        return run_name(made.get("workflow"), made.get("step"), dag_id)
    return str(task.run_name(dag_id))
