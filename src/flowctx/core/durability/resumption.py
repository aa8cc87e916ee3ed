"""How an interrupted run goes on: what is kept, what runs again, and whether the workflow is still what it was."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from flowctx.core.data.plain import FrozenDict
from flowctx.core.durability.changes import refuse_changes
from flowctx.core.durability.param_changes import param_changes, params_now
from flowctx.core.durability.records import Reads, RunRecord, RunStatus, StepRecord
from flowctx.core.errors import PayloadError, WorkflowError
from flowctx.core.execution.envelope import Envelope
from flowctx.core.execution.upstream import merge_upstream
from flowctx.core.workflow.cascade import Before, Order, RunIf, ends_of, followers
from flowctx.core.workflow.checkpoint import CheckpointState
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.result import StepStatus

#: In ``metadata``: which parameters were given when a run was resumed, and at which attempt.
RESUMED_WITH = "resumed_with"


@dataclass(frozen=True, kw_only=True)
class ResumePlan:
    """What is known of a run that goes on."""

    #: The run as it was read.
    run: RunRecord
    #: The steps that are complete and are not run again, in order.
    completed: tuple[str, ...]
    #: What the first step of the next attempt sees: the run's parameters and a checkpoint.
    context: WorkflowContext
    #: The records of the steps that are kept.
    records: Mapping[str, StepRecord] = field(default_factory=dict)
    #: How the run's recorded steps had ended when it was read.
    seen: Mapping[str, StepStatus] = field(default_factory=dict)
    #: The versions that steps are to read again, by step.
    reads: Mapping[str, Reads] = field(default_factory=dict)

    def complete(self, workflow: Workflow) -> bool:
        """Return whether the run ended well, and no step is left to run.

        One that died after its last step, and before it could say so, may have been called failed since.
        """
        if self.run.status not in (RunStatus.OK, RunStatus.SKIPPED):
            return False
        statuses = {name: record.status for name, record in self.records.items()}
        return run_status(order_of(workflow), statuses) is not RunStatus.RUNNING


def plan_resume(
    workflow: Workflow,
    run: RunRecord,
    records: Iterable[StepRecord],
    *,
    params: Mapping[str, Any] | None = None,
    from_step: str | Collection[str] | None = None,
    accept_changes: bool = False,
    refresh: bool = True,
    known_params: Collection[str] = (),
) -> ResumePlan:
    """Work out how a run goes on, before anything runs.

    Args:
        workflow: The workflow as it is now.
        run: The run as it is remembered.
        records: Its recorded steps.
        params: Parameters on top of the run's own; they also win over what completed steps wrote.
        from_step: A step that is to run again although it is complete, with all that follow it; or several.
        accept_changes: Keep what completed steps recorded, although the workflow has changed since, and go on with the
            parameters as it declares them now.
        refresh: Run steps again that say that they read what may have changed, unless all is complete.
        known_params: The names of parameters that its engine gives its runs beside those of the workflow.

    Raises:
        ContextError: A parameter that neither the workflow nor the run has, or one of another type.
        WorkflowChanged: A step that is complete has been removed, renamed, moved or changed since it ran; or, where
            something is left to run, a parameter has been added or removed, or has another type.
        WorkflowError: It is the run of another workflow, or there is no step ``from_step``.
    """
    if workflow.name != run.workflow:
        raise WorkflowError(f"run {run.run_id} is one of workflow {run.workflow!r}, not of {workflow.name!r}")
    found = {record.step: record for record in records}
    records = found.values()
    params = _checked_params(workflow, run, found, params)
    names = {workflow[name].name for name in ([from_step] if isinstance(from_step, str) else from_step or ())}
    done = all(name in found and found[name].complete for name in _to_run(workflow, found))
    if refresh and not done:
        names |= {step.name for step in workflow.steps.values() if step.refresh}
    again = names | followers(order_of(workflow), names)
    if accept_changes:
        run = replace(run, context=replace(run.context, params=params_now(workflow, run, records, known_params)))
    else:
        of_params = param_changes(workflow, run, records, params, known_params) if again or not done else ()
        refuse_changes(workflow, run, records, again, list(of_params))
    known = {**run.reads, **{name: record.inputs for name, record in found.items() if record.inputs}}
    completed: dict[str, None] = {}
    for step in workflow.steps.values():
        record = found.get(step.name)
        if record is not None and record.complete and step.name not in again and completed.keys() >= set(step.after):
            completed[step.name] = None
    return ResumePlan(
        run=run,
        completed=tuple(completed),
        context=_next_context(run, found, completed, params),
        records={name: found[name] for name in completed},
        seen={name: record.status for name, record in found.items()},
        reads={name: reads for name, reads in known.items() if name not in again and name not in completed},
    )


def _checked_params(
    workflow: Workflow, run: RunRecord, found: Mapping[str, StepRecord], params: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """Return the parameters as the workflow reads them; those that steps have written may be set too."""
    known = [*run.context.params, *(name for record in found.values() for name in record.updates)]
    read = workflow.params_with(params, known=known)
    return {name: read[name] for name in params or ()}


def _to_run(workflow: Workflow, found: Mapping[str, StepRecord]) -> list[str]:
    """Return the steps that a run needs to be complete: those after a skip are skipped, and not recorded everywhere."""
    skipped: set[str] = set()
    for step in workflow.steps.values():
        record = found.get(step.name)
        cascades = step.run_if is RunIf.OK and skipped.intersection(step.after)
        if (record is not None and record.status is StepStatus.SKIPPED) or cascades:
            skipped.add(step.name)
    return [name for name in workflow.steps if name in found or name not in skipped]


def _next_context(
    run: RunRecord, found: Mapping[str, StepRecord], completed: Mapping[str, None], params: Mapping[str, Any] | None
) -> WorkflowContext:
    ctx, attempt = run.context, run.attempt + 1
    failed = next((r for r in found.values() if r.status is StepStatus.FAILED and r.step not in completed), None)
    checkpoint = CheckpointState(
        completed=tuple(completed),
        failed=failed.step if failed else None,
        error=failed.error if failed else run.error,
        attempt=attempt,
        resumed_from=run.run_id,
    )
    if not params:
        return replace(ctx, checkpoint=checkpoint)
    since = {**ctx.metadata.get(RESUMED_WITH, {}), **dict.fromkeys(params, attempt)}
    changed = replace(ctx, checkpoint=checkpoint, metadata={**ctx.metadata, RESUMED_WITH: since})
    return changed.with_updates(params)


def effective_updates(ctx: WorkflowContext, record: StepRecord) -> dict[str, Any]:
    """Return the parameters that a step wrote, but for those that the caller gave anew since it ran."""
    since: Mapping[str, int] = ctx.metadata.get(RESUMED_WITH, {})
    return {key: value for key, value in record.updates.items() if since.get(key, 0) <= record.run_attempt}


def envelopes(ctx: WorkflowContext, records: Iterable[StepRecord]) -> dict[str, Envelope]:
    """Rebuild what complete steps handed on, by step; skipped and tolerated ones pass on what they had.

    Args:
        ctx: What the first step of the attempt in question saw.
        records: Recorded steps; those that did not end well, or that follow none that did, are passed over.
    """
    fine = {record.step: record for record in records if record.complete}
    bare = replace(ctx, params={}, metadata={}, step_outputs={})
    made: dict[str, Envelope] = {}
    try:
        ordered = list(
            TopologicalSorter({n: [a for a in r.after if a in fine] for n, r in fine.items()}).static_order()
        )
    except CycleError as exc:
        raise PayloadError(
            f"the recorded steps of run {ctx.run_id} follow one another in a circle: {exc.args[1]}"
        ) from exc
    for name in ordered:
        record = fine[name]
        if all(before in made for before in record.after):
            _, inherited = merge_upstream(bare, [made[before] for before in record.after], _no_fetch)
            result = replace(record.result(FrozenDict()), context_updates=effective_updates(ctx, record))
            made[name] = inherited.envelope(name, result)._replace(output=record.output)
    return made


def _no_fetch(name: str, at: str | None) -> Mapping[str, Any]:
    raise PayloadError(f"the output of step {name!r} is not at hand ({at})")


def order_of(workflow: Workflow) -> dict[str, Before]:
    """Return a workflow's steps in order, and which of them each one follows."""
    return {name: step.before for name, step in workflow.steps.items()}


def run_status(order: Order, statuses: Mapping[str, StepStatus]) -> RunStatus:
    """Return how a run stands whose steps ended as ``statuses`` says.

    Args:
        order: The run's steps in order, and which of them each one follows.
        statuses: How those steps ended that did.

    Example:
        >>> order = {"one": (), "two": ("one",)}
        >>> run_status(order, {}), run_status(order, {"one": StepStatus.SKIPPED})
        (<RunStatus.RUNNING: 'running'>, <RunStatus.SKIPPED: 'skipped'>)
    """
    found = set(ends_of(order, statuses).values())
    if None in found:
        return RunStatus.RUNNING
    ranked = (
        (StepStatus.FAILED, RunStatus.FAILED),
        (StepStatus.OK, RunStatus.OK),
        (StepStatus.SKIPPED, RunStatus.SKIPPED),
    )
    return next((run for step, run in ranked if step in found), RunStatus.OK)


def reason_of(status: RunStatus, step: str, error: str | None) -> str | None:
    """Return why a run ended so: the word of the first step that failed or was skipped.

    Of a run that is ok, it is what an optional step failed of.

    Example:
        >>> reason_of(RunStatus.OK, "notify", "no answer")
        "optional step 'notify': no answer"
    """
    if status is RunStatus.SKIPPED:
        return error
    return failure_of(step, error) if status is RunStatus.FAILED else f"optional {failure_of(step, error)}"


def failure_of(step: str, error: str | None) -> str:
    """Return why a run failed: the step that did, named once, and what it said.

    Example:
        >>> failure_of("gate", "40% in a day"), failure_of("gate", "step 'gate': output is a set")
        ("step 'gate': 40% in a day", "step 'gate': output is a set")
    """
    named = f"step {step!r}: "
    return named + (error or "").removeprefix(named)
