"""Which partitions of a batch run again that ran before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from flowctx.backfill.selected_texts import SelectedTexts
from flowctx.core.batches.ledger import BatchStore
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState, Standing
from flowctx.core.data.encoding import digest, from_json, to_json
from flowctx.core.data.secrets import stands_for
from flowctx.core.durability.changes import changes_since
from flowctx.core.durability.continuation import changed_params
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.param_changes import param_changes
from flowctx.core.durability.records import COMPLETE, RunRecord, StepRecord
from flowctx.core.errors import FlowctxError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import is_no_param

#: Of so many partitions, it is read at once how they stand: in a second at most, before anything runs.
_MOST_STANDINGS = 100_000
_NOTHING: Final = object()
#: What the same command goes on with, although it is over.
GOES_ON: Final = (PartitionState.CANCELED, PartitionState.PARTIAL)


@dataclass(frozen=True, kw_only=True)
class RunsAgain:
    """What of a batch runs again that is over."""

    retry_failed: bool = False
    retry_skipped: bool = False
    #: From which step on, although it is complete.
    from_step: str | None = None
    #: Whether what ran before goes on although the workflow has changed since.
    accept_changes: bool = False

    def runs(self, run: PartitionRun | Standing, engine: str | None) -> bool:
        """Return whether a partition of which something is known runs again.

        A local run that is under way although nobody launches the batch was interrupted. On another engine it may well
        be running: there it is followed, and from elsewhere it is left alone.
        """
        if run.state is PartitionState.FAILED:
            return self.retry_failed
        if run.state is PartitionState.SKIPPED:
            return self.retry_skipped
        if run.state in (*GOES_ON, PartitionState.WAITING):
            return True
        return not run.state.ended and (engine is None or run.engine in ("local", engine))


def not_done(
    keys: Iterator[PartitionKey],
    selected: SelectedTexts,
    batches: BatchStore,
    batch_id: str,
    workflow: str,
    done: dict[PartitionState, int],
    again: RunsAgain,
) -> Iterator[PartitionKey]:
    """Count the selected partitions of a batch that are done, and yield the keys of the others; of very many, all."""
    few = sum(batches.count_outcomes(batch_id, workflow).values()) <= _MOST_STANDINGS
    over = {state for state in PartitionState if state.done}
    if again.retry_skipped:
        over.remove(PartitionState.SKIPPED)
    standings = batches.iter_standings(batch_id, workflow) if few else ()
    known = {one.partition: one.state for one in standings if one.state in over and one.partition in selected}
    for state in known.values():
        done[state] = done.get(state, 0) + 1
    yield from (key for key in keys if str(key) not in known)


def died(run: PartitionRun) -> bool:
    """Return whether a run failed without a word of a step, so that its engine has not heard of all that it did."""
    return run.recorded and run.state is PartitionState.FAILED and run.step is None


def compared(job: Job, found: RunRecord, workflow: Workflow, ledger: Ledger, again: RunsAgain) -> Job:
    """Return a job, and how the run before differs from it: in its parameters, and in what is complete of it.

    Args:
        job: The job.
        found: The run before, as it is recorded.
        workflow: Its workflow.
        ledger: Where runs are remembered.
        again: What of the batch runs again: where changes are accepted, the job says whether there are any.
    """
    statuses = ledger.statuses(found.key)
    incomplete = tuple(step for step in workflow.steps if statuses.get(step) not in COMPLETE)
    accept = again.accept_changes and _has_changed(workflow, found, ledger.steps(found.key))
    other_params = bool(changed_params(job.params, found))
    return replace(job, other_params=other_params, incomplete=incomplete, accept_changes=accept)


def _has_changed(workflow: Workflow, run: RunRecord, records: Sequence[StepRecord]) -> bool:
    return any(changes_since(workflow, run, records)) or any(param_changes(workflow, run, records))


def had_params(
    workflow: Workflow,
    given: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    exactly: bool = True,
    resumes: bool = False,
) -> bool:
    """Return whether a run had these parameters, given what its engine says it was given, as JSON.

    Args:
        workflow: The workflow.
        given: What it was given, and maybe more that is no parameter. Where the workflow takes parameters that it does
            not declare, all else is one.
        params: The parameters; secrets may be hidden, with a digest of each.
        exactly: Whether it is to have had the workflow's own values of all others, and no more.
        resumes: Whether it goes on with another run, of which it has what it was not given.

    Example:
        >>> flow = Workflow("nav", params={"limit": 1, "fund": "GROWTH"})
        >>> had_params(flow, {"limit": 2}, {"limit": 2, "fund": "GROWTH"}), had_params(flow, {"limit": 2}, {})
        (True, False)
    """
    wanted = {**workflow.params, **params} if exactly else params
    names = wanted.keys() & given.keys() if resumes else wanted.keys()
    more = {name for name in given.keys() - wanted.keys() if not is_no_param(name)}
    if more and exactly and not resumes and workflow.extra_params:
        return False
    had: dict[str, Any] = dict(workflow.params)
    written, unread = to_json({n: wanted[n] for n in names}), to_json(had) | given
    if all(unread.get(name, _NOTHING) == value for name, value in written.items()):
        return True  # as it mostly is, and to read and to hide takes a while
    try:
        for name in names & given.keys():
            value = from_json(given[name])
            had[name] = workflow.parameters[name].read(value) if name in workflow.parameters else value
    except FlowctxError:  # with which it could not run
        return False
    return names <= had.keys() and stands_for({n: wanted[n] for n in names}, {n: had[n] for n in names})


def had_params_of_batch(workflow: Workflow, given: Mapping[str, Any], batch: BatchRecord) -> bool:
    """Return whether a run had the parameters of a batch, as far as its record says them."""
    if batch.selection is None:  # nobody has planned it
        return True
    return had_params(workflow, given, batch.params, exactly=batch.params_from is None)


def needs_another_run(job: Job, before: PartitionRun) -> bool:
    """Return whether a job cannot be done by the run before: an engine keeps what it was told, or it has died."""
    return job.other_params or job.accept_changes or died(before)


def going_on(job: Job, before: PartitionRun) -> Job:
    """Return a job that goes on with what the ledger has of the run before, if it has anything.

    What was skipped runs anew: its steps are complete as they are.
    """
    if not before.recorded or before.state is PartitionState.SKIPPED:
        return job
    request = replace(
        job.request, resume_from=before.run_id, from_step=job.from_step, accept_changes=job.accept_changes
    )
    return replace(job, request=request)


def as_another_run(job: Job, before: PartitionRun) -> Job:
    """Return a job as a run of its own, which goes on with what the ledger has of the one before."""
    conf = [job.params, "accept_changes"] if job.accept_changes else job.params
    return replace(going_on(job, before), run_id=f"{job.run_id}__{digest(conf)[:8]}")
