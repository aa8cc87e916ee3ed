"""How a run of an engine continues another one, or itself: by a caller's wish, or by the engine's own means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowctx.core.context import WorkflowContext
from flowctx.core.errors import ContextError, UnknownRun
from flowctx.core.ports import Ledger
from flowctx.core.records import RunRecord
from flowctx.core.resumption import GIVEN, Resumption, resumption
from flowctx.core.workflow import Workflow

#: What a caller may wish of a run, beside saying who it is: in ``conf`` on Airflow, as tags on Dagster.
WISHES = ("resume_from", "from_step", "accept_changes", "on_captured")

_CHOICES: Mapping[str, Mapping[Any, Any]] = {
    "accept_changes": {None: False, False: False, True: True, "false": False, "true": True},
    "on_captured": {None: "recapture", "recapture": "recapture", "skip": "skip"},
}
#: What ``metadata`` says of a run whichever engine it is on.
_OF_THE_RUN = ("as_of_source", "calendar", GIVEN)
_NOTHING = object()


def wishes(said: Callable[[str], Any]) -> dict[str, Any]:
    """Return the wishes of a caller, as arguments of :func:`~flowctx.core.recorder.open_run`.

    Args:
        said: Returns what the caller said by a name, or ``None``.

    Raises:
        ContextError: One of them is not what it can be.

    Example:
        >>> wishes({"resume_from": "run-1", "accept_changes": "true"}.get)["accept_changes"]
        True
    """
    found: dict[str, Any] = {}
    for name in ("resume_from", "from_step"):
        value = said(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise ContextError(f"{name} is {value!r}; it must be text and not empty: leave it out if there is none")
        found[name] = value
    for name, choices in _CHOICES.items():
        value = said(name)
        if isinstance(value, (list, dict)) or value not in choices:
            allowed = " or ".join(repr(choice) for choice in choices if isinstance(choice, str))
            raise ContextError(f"{name} is {value!r}; it must be {allowed}")
        found[name] = choices[value]
    if found["from_step"] and not found["resume_from"]:
        raise ContextError(f"from_step={found['from_step']!r} is for a run that continues another; add resume_from")
    return found


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """Says that an engine runs steps again by its own means, such as a clear or a re-execution.

    The run then goes on as the engine says: with its context, and with the steps that it does not run again.
    """

    #: The run that it started from; the run's own id where the engine keeps it.
    run_id: str
    #: Which steps the engine runs.
    steps: Callable[[], Collection[str]]
    #: Whether what is recorded of the run itself is from before.
    outdated: Callable[[RunRecord], bool] = lambda run: False


def continued(
    ledger: Ledger,
    workflow: Workflow,
    run: RunRecord,
    resume_from: str,
    *,
    given: Collection[str],
    from_step: str | None,
    accept_changes: bool,
) -> Resumption | None:
    """Work out how another run goes on in this one, unless a step of this one has done so already."""
    ctx = run.context
    before = ledger.run(resume_from, workflow=workflow.name, partition=ctx.partition)
    if before.key == run.key or known(ledger, run) is not None:
        return None
    old = before.context
    # What stays as it was is not given anew: what complete steps wrote then stands.
    params = {n: v for n, v in ctx.params.items() if n in given and v != old.params.get(n, _NOTHING)}
    records = ledger.steps(before.key)
    plan = resumption(workflow, before, records, params=params, from_step=from_step, accept_changes=accept_changes)
    kept = {name: value for name, value in plan.context.metadata.items() if name in _OF_THE_RUN}
    moved = replace(
        ctx,
        params=plan.context.params,
        metadata={**ctx.metadata, **kept},
        checkpoint=plan.context.checkpoint,
        as_of_date=old.as_of_date,
        batch_id=ctx.batch_id or old.batch_id,
        capture_id=old.capture_id,
        idempotency_key=old.idempotency_key,
    )
    return replace(plan, context=moved)


def rerun_of(ledger: Ledger, workflow: Workflow, run: RunRecord, how: Rerun) -> Resumption | None:
    """Work out what stays of a run of which an engine runs steps again, unless a step has done so already."""
    before = known(ledger, run)
    if before is not None and not how.outdated(before):
        return None
    before = before or known(ledger, replace(run, context=replace(run.context, run_id=how.run_id)))
    if before is None:
        return None  # it ran where there was no ledger
    plan = resumption(workflow, before, ledger.steps(before.key), accept_changes=True)
    again = set(how.steps())
    keep = tuple(name for name in plan.keep if name not in again)
    checkpoint = plan.context.checkpoint
    if checkpoint is not None:
        checkpoint = replace(checkpoint, completed=keep)
    return replace(plan, keep=keep, context=replace(run.context, checkpoint=checkpoint))


def known(ledger: Ledger, run: RunRecord) -> RunRecord | None:
    """Return what the ledger remembers of a run, or ``None``."""
    try:
        return ledger.run(run.run_id, workflow=run.workflow, partition=run.context.partition)
    except UnknownRun:
        return None


def seen_by(begun: WorkflowContext, ctx: WorkflowContext) -> WorkflowContext:
    """Return what a step sees of a resumed run: what its first step began with, and where it runs itself."""
    here = {"engine": ctx.metadata["engine"]} if "engine" in ctx.metadata else {}
    return replace(begun, metadata={**begun.metadata, **here})


def resumed_context(ledger: Ledger | None, workflow: str, ctx: WorkflowContext) -> WorkflowContext:
    """Return what the first step of a resumed run saw, given the run's context as its engine tells it."""
    begun = known(ledger, RunRecord(workflow=workflow, context=ctx)) if ledger is not None else None
    return seen_by(begun.context, ctx) if begun is not None else ctx
