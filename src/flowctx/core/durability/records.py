"""What the ledger remembers: runs, steps and captures, as frozen values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Final, NamedTuple, TypeAlias

from flowctx.core.data.plain import ArtifactRef, FrozenDict
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.printable import amount
from flowctx.core.workflow.context import WorkflowContext, engine_of
from flowctx.core.workflow.result import ErrorCategory, QualityMetrics, StepResult, StepStatus
from flowctx.core.workflow.run_request import OnCaptured as OnCaptured

#: A run of an engine has no more instances than this, each of a partition.
MOST_INSTANCES: Final = 10_000


class RunStatus(StrEnum):
    """How a run stands."""

    #: It has begun. If it died, it still says so: only somebody who outlives a run can say that it is over.
    RUNNING = "running"
    #: Every step of the workflow is ok, or was skipped by its own word or that of a step before it.
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    #: It is over, and some steps of the workflow have not run: it was to do only a part, or the rest never began.
    PARTIAL = "partial"
    #: It was stopped on purpose.
    CANCELED = "canceled"


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """What a run is known by: an engine's run id may serve several workflows, and several partitions of one.

    Example:
        >>> RunKey(workflow="prices", run_id="r1").text
        'prices r1'
    """

    #: The workflow's name.
    workflow: str
    #: The engine's run id, or a UUID.
    run_id: str
    #: The partition key.
    partition: PartitionKey | None = None

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal characters, equal for equal keys on every machine."""
        parts = (self.workflow, self.run_id, str(self.partition or ""))
        return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:32]

    @property
    def text(self) -> str:
        """The key in words, for messages."""
        return f"{self.workflow} {self.run_id}{f' ({self.partition})' if self.partition else ''}"


def dag_ids_of(ctx: WorkflowContext) -> tuple[str, ...]:
    """Return the DAGs whose steps have begun in an attempt at a run, of which a ledger remembers this context."""
    engine = engine_of(ctx)
    own = [engine["dag_id"]] if "dag_id" in engine else []
    return tuple(engine.get("dag_ids", own))


@lru_cache(maxsize=256)  # each step of a run asks for it several times
def _key_of(workflow: str, run_id: str, partition: PartitionKey | None) -> RunKey:
    return RunKey(workflow=workflow, run_id=run_id, partition=partition)


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionRead:
    """What a step has read of one partition."""

    #: The workflow that was read.
    workflow: str
    #: Its step.
    step: str
    #: The partition; ``None`` of a workflow without partitions.
    partition: PartitionKey | None
    #: The capture; ``None`` where it was skipped without one.
    capture_id: str
    #: Its revision.
    revision: int
    #: The digest of the key of the run that wrote it.
    run_key: str
    #: The digest of what the step recorded; ``None`` of one that was skipped.
    digest: str | None


#: The versions that steps have read, by the names of their inputs.
Reads: TypeAlias = Mapping[str, tuple[VersionRead, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run, as the ledger remembers it."""

    #: The workflow's name.
    workflow: str
    #: What the first step of its latest attempt saw: identity, parameters, no outputs.
    context: WorkflowContext
    #: How it stands.
    status: RunStatus = RunStatus.RUNNING
    #: Which attempt at the run this is, from 1; each resumption is one more.
    attempt: int = 1
    #: The steps of its workflow in order; empty where nobody knows them, such as in a DAG of loose steps.
    steps: tuple[str, ...] = ()
    #: The steps that it is to do, where those are not all: the run is a part.
    selected: tuple[str, ...] = ()
    #: Where to import the workflow from, such as ``flows:prices``, if that is known.
    import_path: str | None = None
    #: When its latest attempt ended.
    finished_at: datetime | None = None
    #: Why it failed or was skipped; of one that is ok, which optional step failed.
    error: str | None = None
    #: Counts the owners that the run has had; a write with another number comes too late and is refused.
    fencing_token: int = 1
    #: The id of the run that goes on with it, in the same workflow and partition.
    continued_by: str | None = None
    #: The versions that steps of this attempt read again, because an earlier attempt at them did, by step.
    reads: Mapping[str, Reads] = field(default_factory=FrozenDict)
    #: When it last gave a sign of life; says how long a run that is "running" has been silent.
    last_seen_at: datetime | None = field(default=None, compare=False)
    #: Who began its latest attempt, for people to read.
    owner: str | None = field(default=None, compare=False)
    #: When that was.
    begun_at: datetime | None = field(default=None, compare=False)
    #: Until when it counts as alive without another sign of life.
    lease_until: datetime | None = field(default=None, compare=False)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.context.run_id

    @property
    def key(self) -> RunKey:
        """What the run is known by."""
        return _key_of(self.workflow, self.context.run_id, self.context.partition)

    def is_alive(self, now: datetime) -> bool:
        """Return whether it is under way, as far as its signs of life tell."""
        return self.status is RunStatus.RUNNING and self.lease_until is not None and self.lease_until > now

    @property
    def is_part(self) -> bool:
        """Whether it is to do only some steps of its workflow."""
        return bool(self.selected)

    @property
    def engine(self) -> str:
        """The name of the engine on which its latest attempt ran."""
        return str(engine_of(self.context).get("name", "local"))

    def joined_by(self, run: RunRecord) -> RunRecord:
        """Return this run as it is from a step on that another engine, or another DAG's run of the same id, begins.

        Whether it is under way, that engine then says of that DAG's run.

        Args:
            run: The run as that step has it.
        """
        was, now = engine_of(self.context), engine_of(run.context)
        if not now or all(was.get(name) == now.get(name) for name in ("name", "dag_id")):
            return self
        dag_ids = list(dict.fromkeys([*dag_ids_of(self.context), *dag_ids_of(run.context)]))
        facts = {**now, "started_at": run.context.started_at, "dag_ids": dag_ids}
        return replace(self, context=replace(self.context, metadata={**self.context.metadata, "engine": facts}))

    @property
    def engine_started_at(self) -> datetime:
        """When the run of the engine started whose step has begun last."""
        found = engine_of(self.context).get("started_at")
        return found if isinstance(found, datetime) else self.context.started_at

    @property
    def capture(self) -> CaptureKey | None:
        """The capture that it writes."""
        idempotency_key, capture_id = self.context.idempotency_key, self.context.capture_id
        return (
            CaptureKey(idempotency_key=idempotency_key, capture_id=capture_id)
            if idempotency_key and capture_id
            else None
        )


#: How a step ended that need not run again.
COMPLETE = (StepStatus.OK, StepStatus.SKIPPED, StepStatus.TOLERATED)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """How one step of a run ended, as the ledger remembers it."""

    #: The step's name.
    step: str
    #: How it ended.
    status: StepStatus
    #: The steps it directly followed.
    after: tuple[str, ...] = ()
    #: Its output, or where that is.
    output: FrozenDict | ArtifactRef = field(default_factory=FrozenDict)
    #: The parameters that it wrote itself.
    updates: Mapping[str, object] = field(default_factory=FrozenDict)
    #: What it found out about its data.
    quality: QualityMetrics | None = None
    #: Why it failed or was skipped.
    error: str | None = None
    #: Where it failed, if it raised: bounded, and without secrets.
    traceback: str | None = None
    #: Whether trying again could have helped.
    category: ErrorCategory | None = None
    #: The configuration that it was given.
    config: Mapping[str, object] = field(default_factory=FrozenDict)
    #: The version of its code.
    version: str | None = None
    #: What it read of other partitions and workflows, by the names of its inputs.
    inputs: Reads = field(default_factory=FrozenDict)
    #: How many times it was tried.
    attempts: int = 1
    #: When its first try began, since it was last told to run.
    started_at: datetime
    #: How long all tries since then and the waits between them took.
    seconds: float = 0.0
    #: The attempt at the run in which it ran.
    run_attempt: int = 1
    #: The digest of what it recorded; ``None`` before the ledger has it, and from a ledger that does not say it.
    digest: str | None = field(default=None, compare=False)

    @property
    def complete(self) -> bool:
        """Whether it need not run again: it is ok, found that there was nothing to do, or may fail."""
        return self.status in COMPLETE

    def result(self, output: FrozenDict) -> StepResult:
        """Return the result that the step had, with the output that it had."""
        return StepResult(
            status=self.status,
            output=output,
            context_updates=self.updates,
            quality=self.quality,
            error=self.error,
            category=self.category,
        )


class StepOutput(NamedTuple):
    """What a step of a run has returned, as whoever reads nothing else of it needs to know it."""

    #: How the step ended.
    status: StepStatus
    #: Its output, or where that is.
    output: FrozenDict | ArtifactRef
    #: The version of its code.
    version: str | None
    #: The digest of what it recorded; ``None`` from a ledger that does not say it.
    digest: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureKey:
    """What a capture is known by."""

    #: What is captured: the run's idempotency key, equal for all captures of one partition of one workflow.
    idempotency_key: str
    #: Which version of it.
    capture_id: str


class CaptureState(StrEnum):
    """How a capture stands."""

    #: Somebody is writing it, or was when it died.
    HELD = "held"
    #: The run that wrote it failed, was skipped, or let go of it.
    RELEASED = "released"
    #: It is there to be read.
    COMPLETE = "complete"


@dataclass(frozen=True, kw_only=True, slots=True)
class Capture:
    """One version of a partition's outputs: who writes or wrote it, and how it stands."""

    #: What it is known by.
    key: CaptureKey
    #: Counts the captures of one subject, from 1.
    revision: int
    #: Counts the grants of this capture, from 1: the fencing token, to be passed on to systems that can check it.
    fencing_token: int
    #: Who holds it or held it last: the digest of a run's key, or any text of the caller's.
    holder: str
    #: How it stands.
    state: CaptureState
    #: The workflow's name.
    workflow: str | None = None
    #: The partition key.
    partition: PartitionKey | None = None
    #: The run that writes or wrote it.
    run_id: str | None = None
    #: Until when nobody else may take it over.
    lease_until: datetime
    #: When it was granted, or what it held was let go of, to be written again.
    claimed_at: datetime
    #: When it was completed, or found that there is nothing.
    completed_at: datetime | None = None
    #: When it was completed first, if what it held then was written over since.
    first_completed_at: datetime | None = None
    #: Since when it was not complete any more when it was granted last, where that was before; and when it was granted.
    let_go: tuple[datetime, datetime] | None = None

    @property
    def let_go_at(self) -> datetime | None:
        """Until when at the latest it held what was written over since, if it did."""
        if self.first_completed_at is None:
            return None
        since, granted_at = self.let_go or (self.claimed_at, self.claimed_at)
        return since if granted_at == self.claimed_at else self.claimed_at  # else an older flowctx has granted it since

    @property
    def is_hole(self) -> bool:
        """Whether it says that there is nothing, because its run was skipped."""
        return self.state is CaptureState.RELEASED and self.completed_at is not None

    @property
    def can_be_read(self) -> bool:
        """Whether it is complete, or says that there is nothing."""
        return self.state is CaptureState.COMPLETE or self.is_hole


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunedRuns:
    """How many runs of a batch are forgotten."""

    #: The workflow's name.
    workflow: str
    #: The batch, if they are of one.
    batch_id: str | None
    #: How many.
    runs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """How much was forgotten."""

    #: Runs, with their steps.
    runs: int
    #: Captures that newer ones had superseded.
    captures: int
    #: Batches, with what engines said of their partitions.
    batches: int = 0
    #: What would be forgotten, by workflow and batch; nothing of what was.
    of: tuple[PrunedRuns, ...] = field(default=(), compare=False)

    @property
    def amounts(self) -> str:
        """How much it is, in words.

        Example:
            >>> Pruned(runs=2, captures=1).amounts
            '2 runs, 1 capture, 0 batches'
        """
        of_each = amount(self.runs, "run"), amount(self.captures, "capture"), amount(self.batches, "batch")
        return ", ".join(of_each)
