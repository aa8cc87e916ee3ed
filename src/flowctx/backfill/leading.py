"""Be the one who launches a batch: whatever the engine, one at a time, until it is over or somebody stops it."""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from types import FrameType
from typing import Any, Protocol
from uuid import uuid4

from flowctx.backfill.engine_runs import NOTES, import_engine_runs
from flowctx.backfill.progress import LaunchListener, LaunchProgress
from flowctx.backfill.settling import SEE_LEDGER, Settling, unconfirmed
from flowctx.core.batches.ledger import BatchStore, DecideBatch
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.durability.leases import LEASES
from flowctx.core.errors import BatchError, LedgerError
from flowctx.core.printable import amount
from flowctx.core.workflow.definition import Workflow

logger = logging.getLogger("flowctx")

#: How long nobody else may launch a batch without a sign of life of who does, and how often that is given.
LEASE, _RENEW_SECONDS = timedelta(seconds=30), 5.0
#: How often somebody who wants to launch it too looks whether it may.
_LOOK_SECONDS = 0.5
#: How often a launch asks whether its batch was canceled; no partition begins later than this after it was.
CANCEL_SECONDS = 0.5
#: How long notes may wait until they are written.
_NOTE_SECONDS = 1.0


class EngineRuns(Protocol):
    """What a launch asks of whatever runs its work."""

    engine: str

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield what the engine knows of a batch."""

    def detach(self) -> None:
        """Take no more work, and leave what is under way to the engine."""


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """How a batch is launched."""

    #: How many partitions are selected.
    total: int
    #: Returns what the batch is to ask for, given what is known of it.
    decide: DecideBatch
    #: How many partitions stand how that are passed over; the work counts those that are done, the launch all others.
    before: dict[PartitionState, int] = field(default_factory=dict)
    #: Stop when so many partitions have failed.
    max_failures: int | None = None
    #: Is told what happens.
    listener: LaunchListener = field(default_factory=LaunchListener)
    #: Settles what the engine says of runs; of runs here, what died with its worker.
    settling: Settling | None = None

    def __post_init__(self) -> None:
        """Refuse a number of failures that cannot be.

        Raises:
            BatchError: It is less than one.
        """
        if self.max_failures is not None and self.max_failures < 1:
            raise BatchError(f"max_failures={self.max_failures} stops nothing; use 1 or more, or leave it out")


class LeadLaunch(ABC):
    """One launch of a batch in progress: the only one, which gives signs of life and heeds those who want it to stop.

    Args:
        batches: Where batches are remembered.
        workflows: The batch's.
        batch: Its record.
        launcher: Runs it.
        options: How it is launched.
    """

    def __init__(
        self,
        batches: BatchStore,
        workflows: Sequence[Workflow],
        batch: BatchRecord,
        launcher: EngineRuns,
        options: LaunchOptions,
    ) -> None:
        self.batches, self.workflows, self.batch, self.listener = batches, workflows, batch, options.listener
        self.max_failures, self.settling, self.decide = options.max_failures, options.settling, options.decide
        self._engine = launcher
        self.progress = LaunchProgress(total=options.total, before=options.before)
        #: When it began to lead, on the ledger's clock.
        self.led_at: datetime | None = None
        #: Whether the batch had its parameters by then.
        self.was_planned = True
        self.me = f"{platform.node()}:{os.getpid()}:{uuid4().hex[:8]}"
        #: Whether it still is the one who launches the batch, as its last sign of life was answered.
        self.leads = True
        #: Held while signs of life are given, and while the name changes in which they are.
        self._renewing = threading.Lock()
        self.notes: dict[tuple[str, str], PartitionRun] = {}
        self.noted_at = self.asked_at = time.monotonic()
        self.interrupted = False
        #: Partitions of which the engine calls a run done that the ledger has lost.
        self.lost_runs: list[str] = []
        #: Partitions of which its engine has told, by workflow.
        self.told_of = set[tuple[str, str]]()
        #: Partitions that cannot run, by workflow: beside what their engine runs of them, nothing is started.
        self.refused: dict[tuple[str, str], PartitionRun] = {}

    @abstractmethod
    def follow(self) -> None:
        """Have the work done, and take in what becomes of it until there is no more."""

    def stop_if_enough_failed(self) -> None:
        """Begin no more partitions if as many have failed as may."""
        failed = self.progress.ended.get(PartitionState.FAILED, 0)
        if self.max_failures and failed >= self.max_failures and not self.progress.stopped:
            self.stop(f"{amount(failed, 'partition')} failed")

    @abstractmethod
    def stop(self, why: str, *, detach: bool = False) -> None:
        """Begin no more partitions.

        Args:
            why: What is the matter.
            detach: Leave those under way to the engine.
        """

    def to_the_end(self) -> LaunchProgress:
        """Launch, follow, remember, and return how far it came."""
        self.lead()
        try:
            # By a thread: an engine may take longer to answer than the lease lasts.
            with LEASES.renewed(self.renew, _RENEW_SECONDS):
                self._follow_from_engine()
        finally:
            self.flush()
            self.release()
        return self.progress

    def _follow_from_engine(self) -> None:
        """Take in what the engine knows of the batch, and have the rest done."""
        for workflow in self.workflows:
            import_engine_runs(self.batches, self.batch, self.found(workflow), workflow.name)
            self.warn_of_lost(workflow.name)
        if not self.leads:
            self.lost()
        if not self.was_planned:
            self._plan()
        self.listener.begun(self.progress)
        try:
            with self.signals():
                self.follow()
        finally:
            self.listener.over(self.progress)

    def renew(self) -> bool:
        """Give a sign of life, and return whether this is still the one who launches the batch; in another thread."""
        with self._renewing:
            if self.leads:
                try:
                    self.leads = self.batches.acquire_launch_lease(self.batch.batch_id, self.me, LEASE) == self.me
                except LedgerError as exc:  # the next sign of life may reach it
                    logger.warning("batch %s: its launch lease could not be renewed: %s", self.batch.batch_id, exc)
            return self.leads

    def lead_as(self, name: str) -> bool:
        """Go on leading in another name, and return whether that is so."""
        with self._renewing:
            before, self.me = self.me, name
            found = self.batches.acquire_launch_lease(self.batch.batch_id, name, LEASE, instead_of=before)
            return found == name

    def release(self) -> None:
        """Let others launch the batch."""
        with self._renewing:
            self.leads = False
            self.batches.acquire_launch_lease(self.batch.batch_id, self.me, timedelta(0))

    def found(self, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield what the engine knows of the batch; what it calls over is over in the ledger too."""
        found = self._engine.find(self.batch.of(workflow.name) or self.batch, workflow)
        if self.settling is None:
            yield from found
            return
        for settled in self.settling.settle_all(found, workflow.name, self.led_at, was_planned=self.was_planned):
            if not self.was_planned:
                self.told_of.add((workflow.name, settled.noted.partition))
            if settled.lost:
                self.lost_runs.append(settled.noted.partition)
            if settled.beside:
                self.refused[workflow.name, settled.noted.partition] = settled.noted
                continue
            yield settled.noted

    def warn_of_lost(self, workflow: str) -> None:
        """Say how many partitions run again although their engine calls them done; others may have done them since."""
        batch_id, lost, again = self.batch.batch_id, iter(self.lost_runs), 0
        while some := list(islice(lost, NOTES)):
            outcomes = self.batches.iter_outcomes(batch_id, some, workflow=workflow)
            again += sum(not run.state.done for run in outcomes)
        self.lost_runs = []
        if again:
            logger.warning(
                "batch %s: %s has %s as done, and the ledger has nothing of what they made, so they run again; if that "
                "goes on, %s",
                batch_id,
                self._engine.engine,
                amount(again, "partition"),
                SEE_LEDGER,
            )

    def lead(self) -> None:
        """Be the only one who launches the batch; before that, nothing of it is changed.

        Raises:
            BatchError: Somebody else does, or has changed what the batch asks for.
        """
        first: datetime | None = None
        while True:
            lease = self.batches.lead(self.batch.batch_id, self.me, LEASE, self.decided)
            if lease.launcher == self.me:
                self.led_at = lease.until - lease.remaining
                return
            # Whoever leads gives a sign of life every few seconds; who has died gives none, and its lease runs out.
            if first not in (None, lease.until) or lease.remaining > LEASE:
                raise BatchError(
                    f"batch {self.batch.batch_id!r} is being launched by {_who(lease.launcher)}; wait for it or end it "
                    f"(if it is gone, its lease ends at {lease.until:%H:%M:%S} UTC)"
                )
            if first is None:
                first = lease.until
                logger.warning(
                    "batch %s: %s launched it last; waiting for a sign of life of it until %s UTC",
                    self.batch.batch_id,
                    _who(lease.launcher),
                    f"{lease.until:%H:%M:%S}",
                )
            time.sleep(_LOOK_SECONDS)

    def decided(self, known: BatchRecord | None) -> BatchRecord:
        """Return what the batch asks for from now on, given what is known of it.

        What nobody planned is planned when what its engine knows was taken in: a launch that ends before compares anew.
        """
        self.batch = replace(self.decide(known), engine=self._engine.engine)
        self.was_planned = known is None or known.selection is not None
        self.progress.total = sum(one.total or 0 for one in self.batch.by_workflow()) or self.progress.total
        return self.batch if known is None or self.was_planned else known

    def _plan(self) -> None:
        """Plan a batch that nobody has: what was noted of it before, and is not known to be what it asks for, runs."""
        for workflow in self.workflows:
            one = self.batch.of(workflow.name) or self.batch
            for run in unconfirmed(self.batches, one, workflow, self.told_of):
                self.notes[run.workflow, run.partition] = run
                if len(self.notes) >= NOTES:
                    self.flush()
        self.flush()
        if self.batches.lead(self.batch.batch_id, self.me, LEASE, self._not_canceled).launcher != self.me:
            self.lost()

    def _not_canceled(self, known: BatchRecord | None) -> BatchRecord:
        if known is not None and known.canceled_at is not None:
            raise BatchError(f"batch {self.batch.batch_id!r} was canceled meanwhile; the same command launches it")
        return self.batch

    def look_around(self) -> None:
        """Do what is due: write notes, and see whether the launch is to stop."""
        now = time.monotonic()
        if self.notes and (len(self.notes) >= NOTES or now - self.noted_at > _NOTE_SECONDS):
            self.flush()
        if self.interrupted and not self.progress.stopped:
            self.stop("interrupted", detach=True)
        if not self.leads:
            self.lost()
        self.canceled()

    def lost(self) -> None:
        """End, since somebody else leads the batch.

        Raises:
            BatchError: Always.
        """
        self._engine.detach()
        raise BatchError(f"somebody else launches batch {self.batch.batch_id!r} by now; this launch has stopped")

    def canceled(self) -> bool:
        """Whether the batch was canceled; if so, no more partitions are begun."""
        now = time.monotonic()
        if not self.progress.stopped and now - self.asked_at >= CANCEL_SECONDS:
            self.asked_at = now
            if self.batches.get(self.batch.batch_id).canceled_at:
                self.stop("canceled", detach=True)
        return self.progress.stopped == "canceled"

    def flush(self) -> None:
        """Write the notes."""
        if self.notes:
            self.batches.record_outcomes(self.batch.batch_id, list(self.notes.values()))
        self.notes, self.noted_at = {}, time.monotonic()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take the first Ctrl-C (or SIGTERM) for a wish to stop cleanly; the second one does what it did before.

        Where that lets the process go on, the launch ends all the same. What is ignored, as under nohup, stays ignored.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

        def interrupt(number: int, frame: FrameType | None) -> Any:
            if not self.interrupted:
                self.interrupted = True
                return
            handler = before[signal.Signals(number)]
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)
                signal.raise_signal(number)
            if callable(handler):
                handler(number, frame)
            raise KeyboardInterrupt

        for number in before:
            signal.signal(number, interrupt)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def wait_for_launcher(batches: BatchStore, batch_id: str, seconds: float = 3.0) -> None:
    """Wait until whoever launches a batch has seen that it was canceled: it begins no more, and has noted what it did.

    A launch here ends only with the partitions that are under way; for those nobody waits.
    """
    end = time.monotonic() + seconds
    me = f"{platform.node()}:{os.getpid()}:cancel"
    while time.monotonic() < end:
        leader = batches.acquire_launch_lease(batch_id, me, timedelta(0))
        if leader == me:
            return
        time.sleep(0.1)


def _who(launcher: str) -> str:
    host, pid, *_ = [*launcher.split(":"), "?"]
    return f"process {pid} on {host}"
