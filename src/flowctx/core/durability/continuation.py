"""How a run of an engine continues another one, or itself: by a caller's wish, or by the engine's own means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowctx.core.durability.changes import changes_since, refuse_changes, refuse_changes_on_engine
from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.param_changes import param_changes
from flowctx.core.durability.reading import KNOWN_AT, with_known_time
from flowctx.core.durability.recorded import find_run, latest_continuation
from flowctx.core.durability.records import RunRecord, StepRecord
from flowctx.core.durability.resumption import RESUMED_WITH, ResumePlan, order_of, plan_resume
from flowctx.core.errors import ContextError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.cascade import Order, followers
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.context_dates import DUE, WINDOW
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import RunRequest
from flowctx.core.workflow.step_config import STEP_CONFIG

#: What ``metadata`` says of a run whichever engine it is on.
_OF_THE_RUN = ("as_of_source", "calendar", WINDOW, DUE, KNOWN_AT, RESUMED_WITH, STEP_CONFIG)
_NOTHING = object()


@dataclass(frozen=True, kw_only=True)
class EngineRerun:
    """Says that an engine runs steps again by its own means, such as a clear or a re-execution.

    The run then goes on as the engine says: with its context, and with the steps that it does not run again.
    """

    #: The run that it started from; the run's own id where the engine keeps it.
    run_id: str
    #: Which steps the engine runs.
    steps: Callable[[], Collection[str]]
    #: Whether it runs what failed: those of the steps that are complete, and have not changed, are kept all the same.
    from_failure: bool = False
    #: Whether what is recorded of the run itself is from before.
    outdated: Callable[[RunRecord], bool] = lambda run: False
    #: Whether somebody asked for it; if nobody did, it counts where the engine has made the run again.
    asked: bool = True
    #: Whether what is recorded is of another run, which had the id before this one.
    made_again: Callable[[RunRecord], bool] = lambda run: False


def plan_continuation(
    ledger: RunLedger,
    workflow: Workflow,
    run: RunRecord,
    known: RunRecord | None,
    request: RunRequest,
    *,
    new_params: Collection[str],
    rerun: EngineRerun | None = None,
) -> ResumePlan | None:
    """Work out how another run goes on in this one, unless a step of this one has done so already.

    Args:
        ledger: Where runs are remembered.
        workflow: The workflow as it is now.
        run: The run as the step has it.
        known: The same as it is recorded, if it is.
        request: What the caller says of it.
        new_params: The names of those parameters that the caller passed.
        rerun: What the engine runs again, if it does; it counts here if that is the run that goes on.
    """
    if rerun is not None and not rerun.run_id == request.resume_from != run.run_id:
        rerun = None
    ctx = run.context
    before = ledger.get_run(str(request.resume_from), workflow=workflow.name, partition=ctx.partition)
    if rerun is None:
        before = latest_continuation(ledger, before)
    begun = before if before.key == run.key else known
    if begun is not None:
        if not request.accept_changes:
            changes = list(param_changes(workflow, begun, ledger.steps(begun.key)))
            refuse_changes(workflow, begun, (), (), changes)
        return None
    records = ledger.steps(before.key)
    plan = plan_resume(
        workflow,
        before,
        records,
        params=changed_params({n: v for n, v in ctx.params.items() if n in new_params}, before),
        from_step=request.from_step if rerun is None else _remade(workflow, before, records, rerun),
        accept_changes=request.accept_changes or rerun is not None,
        refresh=rerun is None,
        known_params=[name for name in ctx.params if name not in new_params],
    )
    return replace(plan, context=_moved(ctx, plan, before))


def _moved(ctx: WorkflowContext, plan: ResumePlan, before: RunRecord) -> WorkflowContext:
    """Return the context of a run that goes on with another one: who that is, it is as well."""
    return replace(
        ctx,
        params=plan.context.params,
        metadata={**ctx.metadata, **of_the_run(plan.context, ctx)},
        checkpoint=plan.context.checkpoint,
        as_of_date=before.context.as_of_date,
        batch_id=ctx.batch_id or before.context.batch_id,
        capture_id=before.context.capture_id,
        idempotency_key=before.context.idempotency_key,
    )


def _run_again(
    workflow: Workflow | None, before: RunRecord, records: Collection[StepRecord], how: EngineRerun
) -> set[str]:
    """Return the steps that an engine runs again: from a failure on, of those that are complete what has changed."""
    named = set(how.steps())
    if not how.from_failure:
        return named
    changed = {change.step for change in changes_since(workflow, before, records)} if workflow is not None else set()
    return named.difference(set(_complete(records)) - changed)


def _remade(workflow: Workflow, before: RunRecord, records: Collection[StepRecord], how: EngineRerun) -> list[str]:
    """Return the steps that an engine runs again although they are complete."""
    again = _run_again(workflow, before, records, how)
    return [name for name in _complete(records) if name in again]


def _complete(records: Iterable[StepRecord]) -> tuple[str, ...]:
    return tuple(record.step for record in records if record.complete)


def of_the_run(before: WorkflowContext, ctx: WorkflowContext) -> dict[str, Any]:
    """Return what ``metadata`` says of a run that another one continues, and does not say anew."""
    return {
        name: value
        for name, value in before.metadata.items()
        if name in _OF_THE_RUN and not (name == STEP_CONFIG and name in ctx.metadata)
    }


def changed_params(params: Mapping[str, Any], before: RunRecord) -> dict[str, Any]:
    """Return the parameters that a run did not have so: one that keeps its value is not new, as are those of steps.

    Args:
        params: What the run that goes on is to have.
        before: The run that it continues.
    """
    old = before.context.params
    return {name: value for name, value in params.items() if value != old.get(name, _NOTHING)}


def check_unchanged(
    ledger: RunLedger,
    workflow: Workflow,
    run: RunRecord,
    known: RunRecord | None,
    rerun: EngineRerun | None,
    *,
    redo: str,
    order: Order | None = None,
) -> bool:
    """Refuse a step of a run of which a complete step is not what it was, unless that is to run again.

    Args:
        ledger: Where runs are remembered.
        workflow: The workflow as it is now.
        run: The run as the step has it.
        known: The same as it is recorded, if it is.
        rerun: What the engine runs again, if it does.
        redo: What people do for the engine to run a step again, such as ``clear``.
        order: Which steps each one follows, in a DAG of one's own.

    Returns:
        Whether the engine runs all of it again, and complete steps are gone: nothing of the run is to stay.

    Raises:
        WorkflowChanged: All changes, and the ways to go on.
    """
    before = known or (_rerun_of(ledger, run, rerun) if rerun is not None else None)
    if before is None:
        return False
    records = ledger.steps(before.key)
    changes = list(changes_since(workflow, before, records, order))
    if not changes:
        return False
    again = set(rerun.steps()) if rerun is not None and rerun.run_id == before.run_id else set()
    complete = workflow.steps.keys() & _complete(records)
    if again.issuperset(complete):
        return bool(again)
    all_complete = len(complete) == len(workflow.steps)
    refuse_changes_on_engine(workflow, before, changes, again, redo, all_complete=all_complete)
    return False


def plan_rerun(
    ledger: RunLedger,
    workflow: Workflow | None,
    run: RunRecord,
    known: RunRecord | None,
    how: EngineRerun,
    *,
    anew: bool = False,
) -> ResumePlan | None:
    """Work out what stays of a run of which an engine runs steps again, unless a step has done so already.

    What follows a step that runs again does not stay: if the engine does not run it too, the run is a part. A step that
    failed reads the same versions again; one that was complete, and what follows it, reads anew.

    Args:
        ledger: Where runs are remembered.
        workflow: The workflow, if the step is one of it.
        run: The run as the step has it.
        known: The same as it is recorded, if it is.
        how: What the engine runs again.
        anew: Nothing of the run is to stay.

    Raises:
        ContextError: Steps that stay are about another business date.
    """
    if known is not None and not anew and not how.outdated(known):
        return None
    before = known or _rerun_of(ledger, run, how)
    if before is None:
        return None  # it ran where there was no ledger
    records = ledger.steps(before.key)
    if workflow is not None:
        plan = plan_resume(workflow, before, records, accept_changes=True, refresh=False)
    else:
        plan = ResumePlan(run=before, completed=_complete(records), context=before.context)
    named = _run_again(workflow, before, records, how)
    order: Order = {
        **(order_of(workflow) if workflow is not None else {}),
        **{record.step: record.after for record in records},
    }
    again = named | followers(order, named)
    completed = tuple(name for name in plan.completed if name not in again)
    if completed:
        refuse_other_date(before, run, completed)
    checkpoint = plan.context.checkpoint
    if checkpoint is not None:
        checkpoint = replace(checkpoint, completed=completed)
    # A step that failed goes on with what it has read; in another capture, nothing does.
    goes_on = not anew and before.context.capture_id == run.context.capture_id
    remade = named.intersection(_complete(records)) if goes_on else again
    reads_anew = remade | followers(order, remade)
    reads = {name: known for name, known in plan.reads.items() if name not in reads_anew}
    context = with_known_time(replace(run.context, checkpoint=checkpoint), before.context)
    return replace(plan, completed=completed, reads=reads, context=context)


def check_date(known: RunRecord | None, run: RunRecord) -> None:
    """Refuse a step whose rule gives it another business date than the run is recorded with.

    Where a cadence dates the partition, the rules of steps cannot differ.

    Raises:
        ContextError: The two dates, and how to have one.
    """
    if known is not None and DUE not in run.context.metadata:
        refuse_other_date(known, run)


def check_ids(ledger: RunLedger, run: RunRecord, known: RunRecord | None, request: RunRequest) -> None:
    """Refuse a capture id or an idempotency key of the caller's that another partition of the workflow has.

    What steps write is told apart by the one, and what is current by the other: one partition would replace another.

    Args:
        ledger: Where runs are remembered.
        run: The run as the step has it.
        known: The same as it is recorded, if it is: what it has begun with, it has.
        request: What the caller says of it.

    Raises:
        ContextError: The other partition, and what to do.
    """
    begun, name = known.context if known is not None else None, run.workflow
    if request.capture_id is not None and (begun is None or begun.capture_id != request.capture_id):
        for latest in ledger.list_runs(workflow=name, capture_id=request.capture_id, limit=1):
            _refuse_other_partition("capture_id", request.capture_id, latest.context.partition, latest.run_id, run)
    key = run.context.idempotency_key
    if request.idempotency_key is not None and (begun is None or begun.idempotency_key != key):
        for last in ledger.captures(idempotency_key=key, workflow=name, limit=1):
            _refuse_other_partition("idempotency_key", request.idempotency_key, last.partition, last.run_id, run)


def _refuse_other_partition(
    name: str, value: str, other: PartitionKey | None, run_id: str | None, run: RunRecord
) -> None:
    if other != run.context.partition:
        raise ContextError(
            f"{name} {value!r} is that of {other} of workflow {run.workflow!r} (run {run_id}), and this run is about "
            f"{run.context.partition}; each partition has its own: leave {name} out, or give another one"
        )


def refuse_other_date(before: RunRecord, run: RunRecord, steps: Collection[str] = ()) -> None:
    """Refuse to go on with a run that is about another business date.

    Args:
        before: The run as it is recorded.
        run: The run as a step of it has it.
        steps: Those that are recorded.

    Raises:
        ContextError: The dates differ.
    """
    was, now = before.context, run.context
    if was.as_of_date == now.as_of_date:
        return
    what = f"step{'s' if len(steps) > 1 else ''} {', '.join(steps)} of " if steps else ""
    raise ContextError(
        f"{what}run {run.run_id!r} of {run.workflow!r} is recorded as of {_dated(was)}, and this step is as of "
        f"{_dated(now)}; a run has one business date: say the rule once for all of its tasks, in Airflow "
        "DAG(default_args={'as_of': AsOf...}), and clear all of them"
    )


def _dated(ctx: WorkflowContext) -> str:
    return f"{ctx.as_of_date} (from {ctx.metadata.get('as_of_source', 'the caller')})"


def _rerun_of(ledger: RunLedger, run: RunRecord, how: EngineRerun) -> RunRecord | None:
    """Return the run that an engine runs again as another one, if it is remembered."""
    if how.run_id == run.run_id:
        return None
    return find_run(ledger, how.run_id, run.workflow, run.context.partition)


def with_engine(begun: WorkflowContext, ctx: WorkflowContext) -> WorkflowContext:
    """Return what a step sees of a resumed run: what its first step began with, and where it runs itself."""
    here = {"engine": ctx.metadata["engine"]} if "engine" in ctx.metadata else {}
    return replace(begun, metadata={**begun.metadata, **here})
