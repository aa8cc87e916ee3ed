"""Which partitions of a batch run again that ran before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from flowctx.backfill.selected_texts import SelectedTexts
from flowctx.core.batches.ledger import BatchStore
from flowctx.core.batches.records import Job, PartitionRun, PartitionState, Standing
from flowctx.core.data.encoding import digest
from flowctx.core.partitions.key import PartitionKey

#: Of so many partitions, it is read at once how they stand: in a second at most, before anything runs.
_MOST_STANDINGS = 100_000
#: What the same command goes on with, although it is over.
GOES_ON: Final = (PartitionState.CANCELED, PartitionState.PARTIAL)


@dataclass(frozen=True, kw_only=True)
class RunsAgain:
    """What of a batch runs again that is over."""

    retry_failed: bool = False
    retry_skipped: bool = False
    #: From which step on, although it is complete.
    from_step: str | None = None

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


def needs_another_run(job: Job, before: PartitionRun) -> bool:
    """Return whether a job cannot be done by the run before: an engine keeps its parameters, or it has died."""
    return job.other_params or died(before)


def going_on(job: Job, before: PartitionRun) -> Job:
    """Return a job that goes on with what the ledger has of the run before, if it has anything.

    What was skipped runs anew: its steps are complete as they are.
    """
    if not before.recorded or before.state is PartitionState.SKIPPED:
        return job
    return replace(job, request=replace(job.request, resume_from=before.run_id, from_step=job.from_step))


def as_another_run(job: Job, before: PartitionRun) -> Job:
    """Return a job as a run of its own, which goes on with what the ledger has of the one before."""
    return replace(going_on(job, before), run_id=f"{job.run_id}__{digest(job.params)[:8]}")
