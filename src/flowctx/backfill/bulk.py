"""Launch a batch in bulk: slices of it run inside few tasks of an engine, and the ledger tells how they come along."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Final

from flowctx.backfill.again import RunsAgain
from flowctx.backfill.leading import LEASE, LaunchOptions, LeadLaunch
from flowctx.backfill.local import Durability
from flowctx.backfill.polling import POLL_SECONDS
from flowctx.backfill.settling import end_runs_of_slices
from flowctx.backfill.slices import Part, split
from flowctx.backfill.standstill import Standstill
from flowctx.core.batches.bulk import BulkRequest, Slice
from flowctx.core.batches.launcher import Launcher
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunStatus
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow

logger = logging.getLogger("flowctx")

#: So many slices run at a time unless the caller says otherwise, and so many times as many are made, so that lanes that
#: are done early go on with another.
LANES: Final = 4
_PER_LANE: Final = 2
#: So many failures are told of while the batch is under way; ``status`` lists them all.
_FAILURES: Final = 20
#: How long slices of a batch that was canceled may take to end, before the batch is launched anew.
_ENDING_SECONDS: Final = 60.0
#: How often it is looked for what slices that are over have left under way.
_LOOK_SECONDS: Final = 30.0
#: So many times as long as it took to read how all partitions stand, that is not done again.
_REST: Final = 20


class BulkLauncher(ABC):
    """Runs slices of a batch on an engine.

    Args:
        native: What runs the batch on that engine partition by partition, and finds what ran so.
        lanes: So many slices are meant to run at a time.
    """

    #: Partitions are run by the batch runner inside of the engine's tasks, which writes to the ledger itself.
    writes_ledger = True
    #: Whether what short steps record is committed together, as in batches here.
    durability: Durability = "group"

    def __init__(self, native: Launcher, lanes: int) -> None:
        self.engine, self._native, self.lanes = native.engine, native, lanes

    @abstractmethod
    def check(self, workflow: Workflow) -> None:
        """See whether the engine is there and can run slices of the workflow.

        Raises:
            EngineError: It cannot; the message says what to do.
        """

    @abstractmethod
    def launcher_under_way(self, batch: BatchRecord) -> str | None:
        """Return who launched slices of the batch that are still queued or running on the engine, if there are any."""

    @abstractmethod
    def start(self, request: BulkRequest, slices: Sequence[Slice]) -> None:
        """Have slices run."""

    def obstacle(self) -> str | None:
        """Return what keeps the engine from running slices, if it says so, and what to do."""
        return None

    @abstractmethod
    def is_over(self) -> bool:
        """Return whether all slices have ended, having started those for which there is room by now."""

    @abstractmethod
    def failure(self) -> str | None:
        """Return why slices did not get through, if some did not."""

    @abstractmethod
    def detach(self) -> None:
        """Start no more slices, and leave those under way to the engine."""

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield what the engine knows of partitions that it ran by themselves."""
        return self._native.find(batch, workflow)

    def had_ledger(self, run: PartitionRun) -> bool:
        """Return whether such a run says that it had a ledger to be recorded in."""
        return self._native.had_ledger(run)


@dataclass(frozen=True)
class BulkWork:
    """What there is to do in bulk."""

    ledger: Ledger
    workflow: Workflow
    #: All partitions of the batch, and the parameters of their runs.
    selection: Selection
    params: Mapping[str, Any]
    #: What of those runs again that ran before.
    again: RunsAgain

    def outcomes(self, batch_id: str) -> Iterator[PartitionRun]:
        """Yield what became of its partitions."""
        for run in self.ledger.batches.iter_outcomes(batch_id, workflow=self.workflow.name):
            if run.partition and run.partition in self.selection:
                yield run


class BulkLaunch(LeadLaunch):
    """One launch of a batch in bulk.

    Args:
        work: What there is to do.
        batch: The batch.
        launcher: Runs slices of it.
        options: How it is launched.
    """

    def __init__(self, work: BulkWork, batch: BatchRecord, launcher: BulkLauncher, options: LaunchOptions) -> None:
        super().__init__(work.ledger.batches, [work.workflow], batch, launcher, options)
        self.bulk_work, self.bulk = work, launcher
        self.follows, self.own_name = False, self.me
        #: Since when what ends is the work of its slices: since it leads, or since those that it followed were over.
        self.launched_at: datetime | None = None
        self.shown, self.looked_at = set[str](), time.monotonic()
        #: What has failed since this launch leads, and when it is looked for again, where counts do not tell.
        self.failed, self.counts_at = list[str](), 0.0

    def lead(self) -> None:
        """Lead the batch; where slices of an earlier launch are under way, go on in its name until they are over."""
        under_way = self.bulk.launcher_under_way(self.batch)
        known = self.bulk_work.ledger.find_batch(self.batch.batch_id)
        if under_way is not None and known is not None and known.canceled_at:
            self._await_end()
            self.batches.acquire_launch_lease(self.batch.batch_id, self.me, LEASE, instead_of=under_way)
        elif under_way is not None:
            self.follows, self.me = True, under_way
        super().lead()
        self.launched_at = self.led_at

    def release(self) -> None:
        """Let others launch the batch, unless slices of this launch go on without whoever launched them."""
        if self.progress.stopped != "interrupted":
            super().release()

    def follow(self) -> None:
        """Have the slices run, and take in what the ledger has of them until they are over."""
        self._note_refused()
        before = self._counts()
        if self.follows and not self._follow_others(before):
            return self._conclude()
        if self._start():
            if not self._watch(before):
                return self._conclude()
        elif not self.follows:
            return self._conclude()
        if (failure := self.bulk.failure()) is not None:
            logger.error("batch %s: %s", self.batch.batch_id, failure)
        return self._conclude()

    def stop(self, why: str, *, detach: bool = False) -> None:
        """Begin no more partitions."""
        if not detach:  # slices end when they see that somebody else leads the batch
            self.lead_as(f"{self.me}:stopping")
        self.progress.stopped = why
        self.listener.stopping(why, self.progress)
        self.bulk.detach()

    def _follow_others(self, before: Mapping[str, int]) -> bool:
        """Follow slices of an earlier launch until they are over, then lead in its own name; return whether it does.

        What that launch had not begun, or what died or failed in it, is left to this one.

        Raises:
            BatchError: Another launch that followed them does already.
        """
        batch_id = self.batch.batch_id
        while self._watch(before) and not self.progress.stopped:
            if self.batches.get(batch_id).canceled_at:
                self.stop("canceled", detach=True)
            elif self.bulk.launcher_under_way(self.batch) is None:
                if not self.lead_as(self.own_name):
                    self.lost()
                self.launched_at = self.bulk_work.ledger.now()
                return True
        return False

    def _watch(self, before: Mapping[str, int]) -> bool:
        """Take in what the ledger has of slices, and return whether they are over."""
        standstill = Standstill(self.batch.batch_id, self.bulk.obstacle)
        while not self.bulk.is_over():
            self._end_left()
            if self._count(before):
                standstill.over()
            standstill.look()
            self.listener.tick(self.progress)
            self.look_around()
            if self.progress.stopped in ("canceled", "interrupted"):
                return False
            time.sleep(POLL_SECONDS)
        self._end_left(over=True)
        self.counts_at = 0.0
        self._count(before)
        return True

    def _note_refused(self) -> None:
        """Note what cannot run, so that no slice runs it."""
        some = {text: run for (_, text), run in self.refused.items() if text in self.bulk_work.selection}
        known = self.batches.iter_outcomes(self.batch.batch_id, some, workflow=self.bulk_work.workflow.name)
        done = {run.partition for run in known if run.state.done} if some else ()
        self.batches.record_outcomes(self.batch.batch_id, [run for text, run in some.items() if text not in done])

    # -- slices -----------------------------------------------------------------------------------------------------

    def _start(self) -> bool:
        """Have slices run of what is left, and return whether anything is."""
        work, runs = self.bulk_work, self.bulk_work.outcomes(self.batch.batch_id)
        refused = {partition for _, partition in self.refused}
        over = (run for run in runs if run.partition in refused or not work.again.runs(run, "local"))
        done = [PartitionKey.parse(run.partition) for run in over]
        parts = split(work.workflow, work.selection, done, self.bulk.lanes * _PER_LANE)
        if not parts:
            return False
        if len(parts) == 1 < self.bulk.lanes and parts[0].left > 1:
            logger.warning(
                "batch %s is one slice, which runs in one task: its partitions follow each other in all dimensions",
                self.batch.batch_id,
            )
        assert self.launched_at is not None  # noqa: S101 - it leads
        request = BulkRequest(
            batch_id=self.batch.batch_id,
            launcher=self.me,
            launched_at=self.launched_at,
            params=work.params,
            durability=self.bulk.durability,
            **asdict(work.again),
            max_failures=self.max_failures,
        )
        self.bulk.start(request, [slice_of(part) for part in parts])
        return True

    def _end_left(self, *, over: bool = False) -> None:
        """End what slices that were stopped or died have left under way: what is silent, and once all are over, all."""
        now = time.monotonic()
        if over or now - self.looked_at > _LOOK_SECONDS:
            self.looked_at = now
            # Whoever leads the batch by now has workers of it, too, which are none of this launch's.
            if self.batches.acquire_launch_lease(self.batch.batch_id, self.me, LEASE) == self.me:
                end_runs_of_slices(self.bulk_work.ledger, self.batch, over=over)

    # -- how they come along ----------------------------------------------------------------------------------------

    def _counts(self) -> dict[str, int]:
        return self.batches.runs_by_workflow(self.batch.batch_id).get(self.bulk_work.workflow.name, {})

    def _count(self, before: Mapping[str, int]) -> bool:
        """Take in how many partitions have ended, and what has failed lately; return whether there is news."""
        counts, known = self._counts(), (self.progress.under_way, self.progress.ended)
        self.progress.under_way = counts.get(RunStatus.RUNNING, 0)
        news = {PartitionState(status): count - before.get(status, 0) for status, count in counts.items()}
        if before.get(RunStatus.FAILED) and (self.follows or self.bulk_work.again.retry_failed):
            news[PartitionState.FAILED] = len(self._failed_again())
        self.progress.ended = {state: count for state, count in news.items() if state.ended and count > 0}
        failed = self.progress.ended.get(PartitionState.FAILED, 0)
        if failed > len(self.shown) < _FAILURES:
            self._tell_failures()
        self.stop_if_enough_failed()
        return known != (self.progress.under_way, self.progress.ended)

    def _failed_again(self) -> list[str]:
        """Return what has failed since this launch leads: of what had failed before, too, which counts do not tell.

        To read how each partition stands takes long where there are many: it is done for a small part of the time.
        """
        begun = time.monotonic()
        if begun >= self.counts_at:
            standings = self.batches.iter_standings(self.batch.batch_id, self.bulk_work.workflow.name)
            failed = (one for one in standings if one.state is PartitionState.FAILED)
            since = self.led_at
            self.failed = [one.partition for one in failed if since is None or (one.ended_at or since) >= since]
            self.counts_at = time.monotonic() + _REST * (time.monotonic() - begun)
        return self.failed

    def _tell_failures(self) -> None:
        batch_id, name = self.batch.batch_id, self.bulk_work.workflow.name
        runs = self.bulk_work.ledger.list_runs(
            workflow=name, batch_id=batch_id, status=RunStatus.FAILED, limit=_FAILURES
        )
        latest = (self.failed[:_FAILURES], map(str, (run.context.partition for run in runs)))
        texts = set(chain.from_iterable(latest)) - self.shown
        for run in self.batches.iter_outcomes(batch_id, texts, workflow=name):
            if run.state is PartitionState.FAILED and self._is_new(run):
                self._tell(run)

    def _tell(self, run: PartitionRun) -> None:
        if run.partition not in self.shown:
            self.shown.add(run.partition)
            self.listener.news(run, self.progress)

    def _is_new(self, run: PartitionRun) -> bool:
        return self.led_at is None or run.last_seen_at >= self.led_at

    def _conclude(self) -> None:
        """Count how each partition stands."""
        progress = self.progress
        progress.before, progress.ended, progress.elsewhere, progress.under_way = {}, {}, {}, 0
        for run in self.bulk_work.outcomes(self.batch.batch_id):
            if run.state.ended and run.state is not PartitionState.WAITING and self._is_new(run):
                progress.end(run)
                if run.state is PartitionState.FAILED:
                    self._tell(run)
            elif run.state.ended or run.engine != "local":
                progress.pass_over(run)
            elif progress.stopped in ("canceled", "interrupted") and (self.follows or self._is_new(run)):
                progress.under_way += 1  # in slices, which end by themselves or go on; all others are over by now
        self.listener.tick(progress)

    def _await_end(self) -> None:
        """Wait until the slices of a batch that was canceled have ended, as they do by themselves."""
        end = time.monotonic() + _ENDING_SECONDS
        while self.bulk.launcher_under_way(self.batch) is not None and time.monotonic() < end:
            time.sleep(POLL_SECONDS)


def slice_of(part: Part) -> Slice:
    """Return a slice as it is handed to an engine."""
    selection = part.selection
    return Slice(select=str(selection), digest=selection.digest(), partitions=len(selection), left=part.left)
