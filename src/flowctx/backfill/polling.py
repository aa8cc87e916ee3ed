"""Run a batch on an engine that is asked over the network: begin runs up to a limit, and ask which have ended."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from flowctx.backfill.standstill import Standstill
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.errors import BatchError
from flowctx.core.workflow.definition import Workflow

if TYPE_CHECKING:
    from flowctx.backfill.http import JsonClient

#: So many runs are under way at a time unless the caller says otherwise, so that the engine is not flooded.
MAX_ACTIVE: Final = 16
#: How often the engine is asked, in seconds.
POLL_SECONDS: Final = 1.0
#: How many runs the engine is asked for at a time.
PAGE: Final = 100


def under_way_otherwise(run_id: str) -> str:
    """Return why a partition does not run that an engine runs with other parameters."""
    return (
        f"run {run_id} of it is under way, with other parameters than those of the batch; when it has ended, or was "
        "stopped, run the batch again with --retry-failed"
    )


#: A workflow of a batch and a partition of it; a run that the engine has begun by itself may be of several.
WhichPartition = tuple[str, str]


class UnderWay(NamedTuple):
    """A run that has begun and has not ended, of one partition."""

    #: What it is to do.
    job: Job
    #: What was last heard of it.
    run: PartitionRun


class PollingLauncher(ABC):
    """The loop of launchers whose engine runs by itself; see :class:`~flowctx.core.batches.launcher.Launcher`.

    Args:
        client: Calls the engine.
        max_active: So many runs are under way at a time.

    Raises:
        BatchError: That is none.
    """

    engine: str
    writes_ledger = False
    #: What it launches whatever the workflow is, if it was told so.
    _named: str | None = None

    def __init__(self, client: JsonClient, max_active: int) -> None:
        if max_active < 1:
            raise BatchError(f"max_active={max_active} runs nothing; use 1 or more")
        self._client, self._max_active = client, max_active
        self._taking = self._watching = True
        self._active: dict[WhichPartition, UnderWay] = {}

    @property
    def under_way(self) -> int:
        """Of how many partitions the runs have begun and, as far as was heard, not ended."""
        return len(self._active)

    def launch(self, batch: BatchRecord, jobs: Iterator[Job | None]) -> Iterator[PartitionRun | None]:
        """Start runs, as many at a time as are allowed, and yield what becomes of them."""
        self._taking = self._watching = True
        self._prepare(batch)
        active = self._active = {}
        held: Job | None = None
        standstill = Standstill(batch.batch_id, partial(self._obstacle, batch))
        while self._watching:
            runs = {run.run_id for _, run in active.values()}
            while self._taking and len(runs) < self._max_active:
                job, held = held or next(jobs, None), None
                if job is None:
                    break
                taken = self._taken(batch, job)
                if taken is None:
                    held = job
                    break
                run = replace(taken, workflow=job.workflow)
                if not run.state.ended:
                    active[job.workflow, job.partition] = UnderWay(job, run)
                    runs.add(run.run_id)
                standstill.over()
                yield run
            if not active and (held is None or not self._taking):
                break
            time.sleep(POLL_SECONDS)
            yield None  # last, so that what was canceled meanwhile does not begin
            for which, changed in self._changed(batch, dict(active)) if active else ():
                job = active.pop(which).job
                run = replace(changed, workflow=job.workflow)
                if not run.state.ended:
                    active[which] = UnderWay(job, run)
                standstill.over()
                yield run
            standstill.look()

    def stop(self) -> None:
        """Start no more runs."""
        self._taking = False

    def detach(self) -> None:
        """Start no more runs, and leave those under way to the engine."""
        self._taking = self._watching = False

    def _prepare(self, batch: BatchRecord) -> None:  # noqa: B027 - most have nothing to do
        """Make ready for a launch."""

    @abstractmethod
    def _begin(self, batch: BatchRecord, job: Job, before: PartitionRun | None) -> PartitionRun | None:
        """Start the run of a job, or run it again.

        Args:
            batch: The batch.
            job: The job.
            before: The run of the job that has ended on this engine, if there is one.

        Returns:
            The run, under way or, if the engine will not run it, failed; ``None``: it cannot just now, and is to be
            asked again in a moment.
        """

    @abstractmethod
    def check(self, workflow: Workflow) -> None:
        """See whether the engine is there and can run the workflow."""

    @abstractmethod
    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield what the engine knows of a batch, whoever started it."""

    @abstractmethod
    def cancel(self, batch: BatchRecord, runs: Sequence[PartitionRun]) -> Iterator[PartitionRun]:
        """Stop runs that are under way, and yield those that were stopped."""

    @abstractmethod
    def had_ledger(self, run: PartitionRun) -> bool:
        """Return whether a run that is over says that it had a ledger to be recorded in."""

    @abstractmethod
    def _obstacle(self, batch: BatchRecord) -> str | None:
        """Return what keeps the engine from running what it has started, if it says so, and what to do."""

    @abstractmethod
    def _changed(
        self, batch: BatchRecord, active: Mapping[WhichPartition, UnderWay]
    ) -> Iterator[tuple[WhichPartition, PartitionRun]]:
        """Yield which of those under way are it no more: how the run of each ended, or what runs in its place."""

    def _taken(self, batch: BatchRecord, job: Job) -> PartitionRun | None:
        """Begin a job, unless its run is under way already."""
        before = job.before if job.before and job.before.attempt else None
        # What another engine did of it counts where the ledger has a part of the workflow.
        if before is not None and before.engine != self.engine and not (before.part and before.recorded):
            before = None
        if before is not None and not before.state.ended:
            return self._launched(job, before.run_id, before.attempt)
        return self._begin(batch, job, before)

    # -- what there is to say of a job ------------------------------------------------------------------------------

    def _launched(self, job: Job, run_id: str, attempt: int = 1) -> PartitionRun:
        """Say that the engine was told to run it."""
        return self._news(job, run_id, PartitionState.LAUNCHED, attempt)

    def _refused(self, job: Job, why: str) -> PartitionRun:
        """Say that the engine will not run it: there is no run."""
        return self._news(job, job.run_id, PartitionState.FAILED, 0, f"{self._client.name}: {why}")

    def _deleted(self, under_way: UnderWay) -> PartitionRun:
        """Say that its run was deleted in the engine."""
        job, run = under_way
        return self._news(
            job, run.run_id, PartitionState.FAILED, run.attempt, f"its run was deleted in {self._client.name}"
        )

    def _news(
        self, job: Job, run_id: str, state: PartitionState, attempt: int, error: str | None = None
    ) -> PartitionRun:
        return PartitionRun(
            partition=job.partition,
            state=state,
            run_id=run_id,
            engine=self.engine,
            attempt=attempt,
            last_seen_at=datetime.now(UTC),
            error=error,
        )
