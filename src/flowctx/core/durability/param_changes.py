"""What has become of a run's parameters since it began: a workflow may declare others by the time it goes on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from flowctx.core.data.plain import FrozenDict
from flowctx.core.durability.records import RunRecord, StepRecord
from flowctx.core.errors import FlowctxError
from flowctx.core.suggestions import a_kind
from flowctx.core.workflow.context import engine_of
from flowctx.core.workflow.definition import Workflow


def param_changes(
    workflow: Workflow,
    run: RunRecord,
    records: Iterable[StepRecord],
    overrides: Collection[str] = (),
    known: Collection[str] = (),
) -> Iterator[str]:
    """Say which parameters were added, removed, or have another type since a run began; another default is no change.

    Args:
        workflow: The workflow as it is now.
        run: The run as it is remembered.
        records: Its recorded steps, which may have written parameters of their own.
        overrides: The names of those that it is given anew.
        known: The names of others that its engine gives its runs.
    """
    there, defaults = run.context.params, workflow.params_with(None)
    for name, default in defaults.items():
        if name in overrides:
            continue
        if name not in there:
            yield f"parameter {name!r} was added"
        elif not _fits(workflow, defaults, name, there[name]):
            was, now = _kind(there[name]), _kind(default)
            yield f"parameter {name!r} " + (
                f"was {was} and is {now} now" if was != now else "has a value that it cannot have now"
            )
    yield from (f"parameter {name!r} was removed" for name in removed_params(workflow, run, records, known))


def removed_params(
    workflow: Workflow, run: RunRecord, records: Iterable[StepRecord], known: Collection[str] = ()
) -> list[str]:
    """Return the parameters that a run was given, and that its workflow does not have any more.

    Args:
        workflow: The workflow as it is now.
        run: The run as it is remembered.
        records: Its recorded steps, which may have written parameters of their own.
        known: The names of others that its engine gives its runs.
    """
    if _takes_others(workflow, run):
        return []
    there = {*workflow.params, *known, *(name for record in records for name in record.updates)}
    return [name for name in run.context.params if name not in there]


def params_now(
    workflow: Workflow, run: RunRecord, records: Iterable[StepRecord], known: Collection[str] = ()
) -> FrozenDict:
    """Return a run's parameters as its workflow declares them now.

    What was added has its default, as has what is of another type; what was removed is left out. The other values stay,
    and so does what is not declared where the workflow takes that.

    Args:
        workflow: The workflow as it is now.
        run: The run as it is remembered.
        records: Its recorded steps.
        known: The names of parameters that its engine gives its runs.
    """
    there, defaults = run.context.params, workflow.params_with(None)
    kept = {*known, *(name for record in records for name in record.updates)}
    others = {name for name in there if name not in defaults and (name in kept or _takes_others(workflow, run))}
    fits = {name for name in there if name in defaults and _fits(workflow, defaults, name, there[name])}
    return FrozenDict({**defaults, **{name: value for name, value in there.items() if name in others | fits}})


def _kind(value: object) -> str:
    return "None" if value is None else a_kind(value)


def _takes_others(workflow: Workflow, run: RunRecord) -> bool:
    """Whether a run may have parameters that its workflow does not declare, as those of a DAG of somebody's own do."""
    return workflow.extra_params or engine_of(run.context).get("dag_id", workflow.name) != workflow.name


def _fits(workflow: Workflow, defaults: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether a value is of the type that a parameter has."""
    if type(value) is type(defaults[name]) and not workflow.parameters[name].choices:
        return True
    try:
        return type(workflow.parameters[name].read(value)) is type(value)
    except FlowctxError:
        return False
