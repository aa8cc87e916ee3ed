"""A whole workflow as a DAG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow.sdk import DAG, Param, task_group

from flowctx.airflow._compat import conf
from flowctx.airflow.outputs import TRIGGER_RULES, label_of
from flowctx.airflow.partitions import PartitionTimetable
from flowctx.airflow.run_order import zones_of
from flowctx.airflow.steps import StepOperator
from flowctx.airflow.watching import WATCHER, Watcher
from flowctx.core.errors import WorkflowError
from flowctx.core.suggestions import SLIP, nearest
from flowctx.core.workflow.business_date import AsOf
from flowctx.core.workflow.cascade import RunIf
from flowctx.core.workflow.definition import Step, StepFunction, Workflow, check_workflow
from flowctx.core.workflow.names import listed
from flowctx.core.workflow.parameters import Parameter
from flowctx.core.workflow.step_config import STEP_CONFIG

if TYPE_CHECKING:
    from flowctx.airflow.ready import InputsSchedule

#: What the trigger form shows for each type, and what it takes: an object is a tagged value, such as ``{"$date": …}``.
_SCHEMAS: Mapping[type, Mapping[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": ["integer", "object"]},
    float: {"type": ["number", "object"]},
    str: {"type": ["string", "object"]},
    Decimal: {"type": ["string", "number", "object"]},
    date: {"type": ["string", "object"], "format": "date"},
    datetime: {"type": ["string", "object"], "format": "date-time"},
    time: {"type": ["string", "object"]},
    timedelta: {"type": ["string", "object"]},
    UUID: {"type": ["string", "object"]},
    list: {"type": "array"},
    dict: {"type": "object"},
}
#: The version of JSON Schema of a form that refers to a part of itself: by it, nothing beside the reference counts.
_DRAFT = "http://json-schema.org/draft-07/schema#"


def workflow_dag(
    workflow: Workflow,
    *,
    as_of: AsOf | None = None,
    map_over: Iterable[str] = (),
    reduce: Step | StepFunction | None = None,
    on_restatement: str | None = None,
    **dag_kwargs: Any,
) -> DAG:
    """Return the workflow as a DAG: one task per step, its params the DAG's, its partitions the DAG's schedule.

    Args:
        workflow: The workflow.
        as_of: The rule for the business date, where the workflow has no partitions that say it.
        map_over: The dimension, or dimensions, whose values are all done within one run: the steps become a mapped
            task group, with one instance per value (or combination of values), each for its own partition. The other
            dimensions are the runs' partitions.
        reduce: A step that runs once after all instances: to it the output of each step is a dict of the instances'
            outputs by value (``IBM``; ``T1|XNYS`` for several dimensions), ``None`` where an instance was skipped.
            It is skipped if all of them were.
            What instances write to parameters stays with them.
        on_restatement: With ``schedule="inputs"``: what to do when an input of a partition that has been captured is
            captured again: ``"ignore"`` it, which is the default, or ``"run"`` the partition once more.
        **dag_kwargs: As for ``DAG``; they win over what follows from the workflow. ``schedule="inputs"`` runs each
            partition from ``start_date`` on, until ``end_date`` if there is one, when it is due and all that it reads
            has been captured or skipped; a second DAG in the same file, called ``…__inputs``, starts the runs.

    Raises:
        WorkflowError: It is no workflow, has no steps, or cannot be mapped over these dimensions.

    Example:
        ::

            from flows import prices
            dag = workflow_dag(prices, tags=["prices"])
            report = workflow_dag(prices, dag_id="daily_report", map_over=["symbol"], reduce=summary)
    """
    check_workflow(workflow)
    mapped = list(dict.fromkeys(listed(map_over)))
    if reduce is not None and not mapped:
        raise WorkflowError("reduce= runs after the instances of map_over=; name the dimensions to map over, too")
    by_inputs = _by_inputs(workflow, mapped, dag_kwargs, on_restatement)
    instances = _instances(workflow, mapped)
    scheme = workflow.partitions.without(*mapped) if workflow.partitions is not None else None
    params = {name: Param(each.form_default, **_schema(each)) for name, each in workflow.parameters.items()}
    arguments: dict[str, Any] = {
        "dag_id": (dag_id := dag_kwargs.get("dag_id", workflow.name)),
        "schedule": None if scheme is None else PartitionTimetable(scheme, dag_id=dag_id, timezone=_zones(dag_kwargs)),
        "params": params | _step_config(workflow),
        **dag_kwargs,
        **_rule_of_all(as_of, dag_kwargs),
    }
    if by_inputs is not None:
        arguments["schedule"] = PartitionTimetable(by_inputs.readiness.scheme, by_inputs=True)
    with DAG(**arguments) as dag:
        if dag.fail_fast:
            _check_fail_fast(workflow, reduce)
        if not mapped:
            _watched(_add_steps(workflow, dag.fail_fast, as_of=as_of))
        else:
            group = _mapped(workflow, mapped, instances, as_of, dag.fail_fast)
            if reduce is not None:
                group >> _reduced(workflow.with_partitions(scheme), reduce, as_of)
    if by_inputs is not None:
        from flowctx.airflow.ready import add_starter

        add_starter(dag, by_inputs)
    return dag


def _reduced(of_run: Workflow, reduce: Step | StepFunction, as_of: AsOf | None) -> StepOperator:
    """Return the task of the step that runs after all instances."""
    last = StepOperator(step=reduce, workflow=of_run, as_of=as_of, trigger_rule="none_failed_min_one_success")
    last.recorded_as = of_run.name  # with other dimensions, it is no partition of the workflow's
    return last


def _check_always(workflow: Workflow, mapped: list[str]) -> None:
    always = next((step.name for step in workflow.steps.values() if step.run_if is RunIf.ALWAYS), None)
    if always is not None and mapped:
        raise WorkflowError(
            f"step {always!r} runs whatever happened (run_if='always'), and the instances of map_over= share one run, "
            "whose state would hide which of them failed; leave out map_over="
        )
    if always is not None and WATCHER in workflow.steps:
        raise WorkflowError(f"step {WATCHER!r} has the name of a task that run_if='always' needs; rename it")


def _check_fail_fast(workflow: Workflow, reduce: Step | StepFunction | None) -> None:
    """Refuse what runs although others failed or were skipped: Airflow takes no such trigger rules there.

    Raises:
        WorkflowError: There is such a step, or one that reduces.
    """
    step = next((step for step in workflow.steps.values() if step.run_if is not RunIf.OK), None)
    what = "reduce=" if reduce is not None else None
    if step is not None:
        what = f"step {step.name!r} with run_if={str(step.run_if)!r}"
    if what is not None:
        raise WorkflowError(
            f"fail_fast=True lets Airflow run only what follows successes, and {what} also runs after others; "
            "leave out fail_fast="
        )


def _watched(tasks: list[StepOperator]) -> None:
    if any(task.step.run_if is RunIf.ALWAYS for task in tasks):
        Watcher(task_id=WATCHER).set_upstream(tasks)


def _rule_of_all(as_of: AsOf | None, dag_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that make a rule hold for tasks too that are added to the DAG."""
    return {} if as_of is None else {"default_args": {**(dag_kwargs.get("default_args") or {}), "as_of": as_of}}


def _dates(dag_kwargs: Mapping[str, Any]) -> list[list[Any]]:
    """Return what is said of the DAG's first date, and of its last one, by itself and by its default arguments."""
    arguments = (dag_kwargs, dag_kwargs.get("default_args") or {})
    return [[some.get(name) for some in arguments] for name in ("start_date", "end_date")]


def _zones(dag_kwargs: Mapping[str, Any]) -> list[str]:
    """Return the zones of the DAG's dates."""
    return zones_of(*itertools.chain(*_dates(dag_kwargs)))


def _by_inputs(
    workflow: Workflow, mapped: list[str], dag_kwargs: Mapping[str, Any], on_restatement: str | None
) -> InputsSchedule | None:
    """Return the schedule by inputs, if that is asked for."""
    schedule = dag_kwargs.get("schedule")
    if schedule != "inputs":
        if isinstance(schedule, str) and nearest(schedule.lower(), ["inputs"], cutoff=SLIP):
            raise WorkflowError(f"schedule={schedule!r} is no cron expression; did you mean 'inputs'?")
        if on_restatement is not None:
            raise WorkflowError("on_restatement= goes with schedule='inputs'; pass both, or neither")
        return None
    if mapped:
        raise WorkflowError("schedule='inputs' starts a run for each partition; leave out map_over=")
    from flowctx.airflow.ready import inputs_schedule

    start_date, end_date = (own or default for own, default in _dates(dag_kwargs))
    return inputs_schedule(workflow, start_date, on_restatement or "ignore", end_date)


def _schema(parameter: Parameter) -> dict[str, Any]:
    """Return how the trigger form shows a parameter and Airflow checks it: with the type of its default."""
    schema: dict[str, Any] = dict(_SCHEMAS.get(parameter.kind, {}))
    if parameter.choices:
        schema["enum"] = parameter.form_choices
    return schema


def _step_config(workflow: Workflow) -> dict[str, Param]:
    """Return the field of the trigger form in which the configuration of steps is set, if any step has some."""
    steps = {
        step.name: [Parameter.of(name, value) for name, value in step.config.items()]
        for step in workflow.steps.values()
        if step.config
    }
    if not steps:
        return {}
    names = "; ".join(f"{step}: {', '.join(each.name for each in own)}" for step, own in steps.items())
    schemas = {
        step: {"type": "object", "properties": {each.name: _schema(each) for each in own}}
        for step, own in steps.items()
    }
    text = f"Configuration of steps, on top of the workflow's: {names}"
    # Airflow checks, with each value, the schema itself, some ten times for each task that runs or is written down. Of
    # what is referred to, only the part that a value needs is looked at; else a DAG of 200 steps takes two minutes.
    form = {"type": ["object", "null"]}
    schema: dict[str, Any] = {"$schema": _DRAFT, **form, "$ref": "#/steps", "steps": {**form, "properties": schemas}}
    return {STEP_CONFIG: Param({}, description=text, **schema)}


def _add_steps(workflow: Workflow, fail_fast: bool, **arguments: Any) -> list[StepOperator]:
    tasks: dict[str, StepOperator] = {}
    for step in workflow.steps.values():
        joins = step.run_if is RunIf.OK and len(step.after) > 1 and not fail_fast  # where nothing runs after a failure
        rule: dict[str, Any] = {"trigger_rule": TRIGGER_RULES[RunIf.NOT_FAILED]} if joins else {}
        tasks[step.name] = StepOperator(step=step, workflow=workflow, **rule, **arguments)
        tasks[step.name].skips_itself = joins
        tasks[step.name].set_upstream([tasks[name] for name in step.after])
    return list(tasks.values())


def _mapped(
    workflow: Workflow,
    mapped: list[str],
    instances: list[dict[str, str]],
    as_of: AsOf | None,
    fail_fast: bool,
) -> Any:
    """Put the steps into a task group with one instance per combination of values."""

    @task_group(group_id=f"each_{'_'.join(mapped)}", prefix_group_id=False)
    def each(map_values: Any) -> None:
        # Airflow renders the label before and after the task; ``map_values`` is a dict by then.
        label = "{{ ti.task.map_values.values() | join('|') }}"
        for task in _add_steps(workflow, fail_fast, map_values=map_values, as_of=as_of, map_index_template=label):
            task.labels, task.mapped_over = tuple(label_of(values) for values in instances), tuple(mapped)

    return each.expand(map_values=instances)


def _instances(workflow: Workflow, mapped: list[str]) -> list[dict[str, str]]:
    """Return the values of each instance.

    Raises:
        WorkflowError: A dimension that is not there or has no end, or more instances than Airflow allows.
    """
    _check_always(workflow, mapped)
    scheme = workflow.partitions
    dimensions = scheme.dimensions if scheme is not None else ()
    for name in mapped:
        if name not in dimensions:
            raise WorkflowError(
                f"workflow {workflow.name!r} cannot be mapped over {name!r}; "
                f"its dimensions are {', '.join(dimensions) or 'none'}"
            )
        if scheme is not None and name == scheme.cadence_dimension:
            raise WorkflowError(
                f"workflow {workflow.name!r} cannot be mapped over {name!r}, which is its cadence; "
                "each date is a run of its own"
            )
    columns = [scheme.values(name) for name in mapped] if scheme is not None else []
    count = math.prod(len(column) for column in columns)
    if count > (most := int(conf.getint("core", "max_map_length", fallback=1024))):
        raise WorkflowError(
            f"workflow {workflow.name!r} mapped over {', '.join(mapped)} has {count:,} instances, and Airflow allows "
            f"{most:,} ([core] max_map_length); map over fewer dimensions "
            "(the others become runs), or raise that limit"
        )
    return [dict(zip(mapped, values, strict=True)) for values in itertools.product(*columns)]
