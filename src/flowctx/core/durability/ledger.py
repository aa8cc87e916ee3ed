"""What remembers runs, as core asks for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from flowctx.core.batches.ledger import BatchStore
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.records import (
    Capture,
    CaptureKey,
    OnCaptured,
    Pruned,
    RunKey,
    RunRecord,
    RunStatus,
    StepOutput,
    StepRecord,
)
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.durability.versions import PrunedVersion, Version
from flowctx.core.execution.artifacts import ArtifactIndex
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.result import StepStatus


class RunLedger(Protocol):
    """What one run needs of a ledger, to begin and to record its steps; see :class:`Ledger`."""

    # -- runs -----------------------------------------------------------------------------------------------------

    def begin(
        self,
        run: RunRecord,
        *,
        resumes: RunRecord | None = None,
        completed: Collection[str] = (),
        on_captured: OnCaptured = "recapture",
        lease: timedelta = timedelta(minutes=1),
        exclusive: bool = False,
        take_over: bool = True,
        seen: Mapping[str, StepStatus] | None = None,
    ) -> RunRecord:
        """Begin a run and claim its capture, or do nothing if the run is there already.

        Each call has a nonce of its own, which is written with the run: if the answer to the commit is lost, the nonce
        tells whether it went through, and of two callers that begin or resume one run exactly one is granted it.

        What a run has captured that begins again, it lets go of, as by :meth:`forget`, until it ends.

        Args:
            run: The run. Where it resumes another attempt at itself, its key is that of ``resumes``.
            resumes: The run or the attempt that it continues, as it was read; it loses its right to write.
            completed: The steps of ``resumes`` that are complete and are not to run again; with all that they recorded.
            on_captured: What to do when the partition is captured already.
            lease: How long nobody else may take over the run and its capture, unless it is renewed.
            exclusive: Refuse a run that is there already; otherwise the caller joins it, as steps on an engine do.
            take_over: Whether ``resumes`` may be alive; it is refused its next write then.
            seen: How the recorded steps of ``resumes`` ended when it was read, for whoever planned by them.

        Returns:
            The run as it is remembered, with its fence; its engine, and what that says of it, are those of the step
            that has begun last (:meth:`RunRecord.joined_by`).

        Raises:
            CaptureRefused: The capture was not granted; nothing is written.
            RunExists: With ``exclusive``, the run is there already; nothing is written.
            RunAlive: Without ``take_over``, somebody is at the run; nothing is written.
            Superseded: Somebody else has resumed the run since it was read, or it has recorded more.
        """
        ...

    def record(self, run: RunRecord, steps: Sequence[StepRecord]) -> None:
        """Record how steps ended; a step that is recorded already is replaced.

        Raises:
            Superseded: The run has another owner by now; nothing is written.
        """
        ...

    def forget(self, run: RunRecord, steps: Collection[str]) -> None:
        """Forget what is recorded of steps that do not count any more, and which versions they were to read again.

        A capture that the run has completed, or that says that there is nothing, is let go. It is a sign of life.

        Raises:
            Superseded: The run has another owner by now; nothing is written.
        """
        ...

    def finish(self, run: RunRecord, status: RunStatus, error: str | None = None) -> None:
        """Say how a run ended; its capture is complete with it if it is ``ok``, or is let go.

        A run that is said to have ended so again, has ended when it did first, as far as its capture says so. Where it
        is said to have ended otherwise, the capture says since when and until when it was what it was.

        A run of a part has no capture of its own while it runs; it is given one here, if it completes it or is skipped.

        Raises:
            Superseded: The run has another owner by now; nothing is written.
        """
        ...

    def renew(self, run: RunRecord, lease: timedelta) -> None:
        """Extend the lease of the run's capture, from now.

        Raises:
            Superseded: The run has another owner by now.
        """
        ...

    def get_run(self, run_id: str, *, workflow: str | None = None, partition: PartitionKey | None = None) -> RunRecord:
        """Return a run.

        Raises:
            UnknownRun: There is none, or several and ``workflow`` or ``partition`` has to say which.
        """
        ...

    def steps(self, key: RunKey, names: Collection[str] | None = None) -> list[StepRecord]:
        """Return the recorded steps of a run in the order in which they began, all or those named."""
        ...

    def statuses(self, key: RunKey) -> dict[str, StepStatus]:
        """Return how the recorded steps of a run ended, without what they hold."""
        ...

    def list_runs(
        self,
        *,
        workflow: str | None = None,
        batch_id: str | None = None,
        status: RunStatus | None = None,
        partition: PartitionKey | None = None,
        capture_id: str | None = None,
        run_id: str | None = None,
        limit: int = 50,
    ) -> list[RunRecord]:
        """Return the runs that fit, the latest first."""
        ...

    def runs_of(self, run_keys: Collection[str]) -> dict[str, RunRecord]:
        """Return several runs, by the digests of their keys; those that nobody knows are left out."""
        ...

    # -- what other runs have made ------------------------------------------------------------------------------------

    def captures(
        self,
        *,
        idempotency_key: str | None = None,
        workflow: str | None = None,
        partition: PartitionKey | None = None,
        limit: int | None = None,
    ) -> list[Capture]:
        """Return the captures that fit, by idempotency key and revision.

        Args:
            idempotency_key: Only those of this subject.
            workflow: Only those of this workflow.
            partition: Only those of this partition.
            limit: Only so many: those that were granted last.
        """
        ...

    def versions(
        self, workflow: str, step: str, partitions: Collection[PartitionKey | None], *, batch_id: str | None = None
    ) -> list[Version]:
        """Return all captures of some partitions, complete or not, with how a step of each ended.

        Args:
            workflow: The workflow's name.
            step: The step.
            partitions: Partition keys; ``None`` stands for runs without partitions.
            batch_id: A batch of which runs of a part are returned too that have the step or are at it, the latest last.
        """
        ...

    def pruned_versions(self, workflow: str, partitions: Collection[PartitionKey | None]) -> list[PrunedVersion]:
        """Return what is still known of the captures of some partitions that were complete and are pruned."""
        ...

    def step_outputs(self, step: str, run_keys: Collection[str]) -> dict[str, StepOutput]:
        """Return what one step of several runs has returned, by the digests of their keys."""
        ...

    def recorded_steps(
        self, run_keys: Collection[str], *, names: Collection[str] | None = None, reading: bool = False
    ) -> dict[str, list[StepRecord]]:
        """Return the recorded steps of several runs, by the digests of their keys, in the order in which they began.

        Of the runs that have none of them, nothing is returned.

        Args:
            run_keys: The digests.
            names: Only these steps; what else is recorded is not looked at, and may be damaged.
            reading: Only steps that have read others.
        """
        ...

    def find_batch(self, batch_id: str) -> BatchRecord | None:
        """Return a batch, or ``None`` if nobody remembers it."""
        ...


class Ledger(RunLedger, Protocol):
    """Remembers runs, their steps and their captures. Each call is one transaction: it happens, or it does not.

    Whoever begins or resumes a run is its owner and is given a number, its fence. From then on a write with a lower
    number is refused (:class:`~flowctx.Superseded`): a run that was taken for dead and goes on all the same can do
    no harm. Leases decide only how soon a run or a capture may be taken over; they are measured by the database's own
    clock, where several machines share it, and the numbers decide who may write. ``flowctx.testing.LedgerContract``
    says all of this as tests.

    Every call raises :class:`~flowctx.LedgerUnavailable` when the ledger cannot be reached for longer than its
    patience, and :class:`~flowctx.PayloadError` when what it holds is damaged.
    """

    def run_ids(self, begun: str, *, limit: int = 10) -> list[str]:
        """Return the ids of runs that begin so, sorted, each once."""
        ...

    def context(self, key: RunKey, attempt: int) -> WorkflowContext:
        """Return what the first step of an attempt at a run saw.

        Raises:
            UnknownRun: There was no such attempt.
        """
        ...

    # -- captures -------------------------------------------------------------------------------------------------

    def claim(
        self,
        key: CaptureKey,
        *,
        holder: str,
        lease: timedelta,
        on_captured: OnCaptured = "recapture",
        workflow: str | None = None,
        partition: PartitionKey | None = None,
        run_id: str | None = None,
    ) -> Capture:
        """Claim a capture: of any number of competitors, exactly one gets it.

        A capture is free when nobody has claimed it, when it was released, when its lease has run out (whoever held
        it is fenced off), or when it is complete and the caller wants to write it again. Whoever holds it already is
        granted it again, with a new token.

        Raises:
            CaptureHeld: Another holder's lease runs.
            AlreadyCaptured: With ``on_captured="skip"``, the subject has a complete capture. Where none is current,
                because a newer one was pruned, this holds for the claim of a complete one alone.
        """
        ...

    def renew_capture(self, capture: Capture, lease: timedelta) -> Capture:
        """Extend the lease of a claimed capture, from now.

        Raises:
            Superseded: Somebody else holds it by now.
        """
        ...

    def close_capture(self, capture: Capture, *, complete: bool) -> Capture:
        """Say that a claimed capture is complete, or let go of it; to say the same again changes nothing of that.

        Raises:
            Superseded: Somebody else holds it by now; nothing is written.
        """
        ...

    def versions_meant(
        self, workflow: str, step: str, partitions: Collection[PartitionKey | None], choices: Collection[VersionChoice]
    ) -> list[Version]:
        """Return of :meth:`versions` those that one of some choices may mean, among which it finds the one it means.

        Args:
            workflow: The workflow's name.
            step: The step.
            partitions: Partition keys; ``None`` stands for runs without partitions.
            choices: Which versions are meant.
        """
        ...

    def versions_of_runs(self, workflow: str, step: str, run_keys: Collection[str]) -> list[Version]:
        """Return of :meth:`versions` the captures that some runs hold, by the digests of their keys."""
        ...

    def current_revisions(self, idempotency_keys: Collection[str]) -> dict[str, int]:
        """Return the revision of the current capture of each of some subjects that has one.

        That is the one that is read: the last that is complete, or whose run was skipped, unless one after it was
        pruned.
        """
        ...

    def count_superseded(self, batch_id: str, workflow: str, *, limit: int) -> int:
        """Return how many captures of a batch are not current, because a later one of the same subject can be read.

        Args:
            batch_id: The batch.
            workflow: The workflow's name; a batch may have several.
            limit: Look at so many runs at most, those of the last partitions.
        """
        ...

    def statuses_of(self, run_keys: Collection[str]) -> dict[str, dict[str, StepStatus]]:
        """Return how the recorded steps of several runs ended, by the digests of their keys."""
        ...

    def digests_of(
        self, steps: Collection[str], run_keys: Collection[str]
    ) -> dict[tuple[str, str], tuple[StepStatus, str]]:
        """Return how some steps of several runs ended, and the digests of what they recorded.

        Args:
            steps: The names of the steps.
            run_keys: The digests of the runs' keys.

        Returns:
            By the digest of the run's key, and the step's name; what is not recorded is left out.
        """
        ...

    def captured_partitions(self, workflow: str) -> Iterator[PartitionKey]:
        """Yield the partitions of a workflow that anybody has claimed a capture of, each once, in any order."""
        ...

    # -- batches --------------------------------------------------------------------------------------------------

    @property
    def batches(self) -> BatchStore:
        """What it remembers of batches."""
        ...

    # -- engines --------------------------------------------------------------------------------------------------

    def remember_engine_name(self, engine: str, workflow: str, name: str, dimensions: Sequence[str] = ()) -> None:
        """Remember a name under which an engine has a workflow, where it is not the workflow's own.

        Args:
            engine: The engine.
            workflow: The workflow's name.
            name: What the engine calls it, such as the id of a DAG.
            dimensions: The dimensions of its runs there, if they are partitions.
        """
        ...

    def engine_names(self, engine: str, workflow: str) -> dict[str, tuple[str, ...]]:
        """Return the names under which an engine has a workflow, with the dimensions of its runs there."""
        ...

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """Return the time by which leases are measured."""
        ...

    def prune(self, before: datetime, *, versions: int = 1) -> Pruned:
        """Forget what was last heard of before a time, except for what is current or is kept.

        Runs stay that wrote one of the last versions of a partition, or made one again that is not complete any more
        and has nothing newer that is, that belong to a batch that is kept, of which something has read that stays
        itself, or that are under way with a lease beyond that time; and batches of which a run or a young note stays.
        No lock is held for longer than a step can wait.

        Args:
            before: The time.
            versions: How many versions of each partition stay, the current one among them, however old they are.
        """
        ...

    def would_prune(self, before: datetime, *, versions: int = 1) -> tuple[Pruned, set[str]]:
        """Return what :meth:`prune` would forget, and where the artifacts are that would still be referred to."""
        ...

    @property
    def artifact_prefix(self) -> str:
        """What the names of this ledger's artifacts begin with: its own, so that no other ledger removes them."""
        ...

    def artifact_paths(self) -> set[str]:
        """Return where all artifacts are that the ledger refers to, relative to their store."""
        ...

    @property
    def artifacts(self) -> ArtifactIndex:
        """What it knows of the files in its store."""
        ...

    def close(self) -> None:
        """Let go of connections; a later call opens them again."""
        ...
