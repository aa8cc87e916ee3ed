"""What is known of a batch: what it was asked to run, and what became of each of its partitions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from flowctx.core.data.plain import FrozenDict
from flowctx.core.hashing import sha256
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.run_request import RunRequest

#: So much of a batch's id stands in the ids of its runs.
_LONGEST_IN_IDS = 50
#: What begins so much later than it started has waited, or was over in between.
_WAITED = timedelta(minutes=1)
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_.:+~-]+")
#: The id of a run of a batch, and of one that another try of it made.
_BATCH_RUN_ID = re.compile(r"batch(__.+)__[0-9a-f]{12}(?:__[0-9a-f]{8})?")


class PartitionState(StrEnum):
    """How a partition of a batch stands."""

    #: An engine has been told to run it, and has not said more since.
    LAUNCHED = "launched"
    #: It runs; if what ran it died, it still says so.
    RUNNING = "running"
    OK = "ok"
    SKIPPED = "skipped"
    #: It was captured, or found that there was nothing to do; another version is current, and this one was pruned.
    PRUNED = "pruned"
    FAILED = "failed"
    #: It is over, and some steps of the workflow have not run.
    PARTIAL = "partial"
    #: It was stopped on purpose.
    CANCELED = "canceled"
    #: It has not begun, because what it reads of the same batch failed, or waits itself.
    WAITING = "waiting"

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do: it is captured, or found that there was nothing to do."""
        return self in (PartitionState.OK, PartitionState.SKIPPED, PartitionState.PRUNED)

    @property
    def ended(self) -> bool:
        """Whether nothing is going on."""
        return self not in (PartitionState.LAUNCHED, PartitionState.RUNNING)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionRun:
    """What became of one partition of a batch, as an engine or the ledger tells it."""

    #: The canonical text of its key; empty in a batch of runs without partitions.
    partition: str
    #: What tells a run without a partition from others: its as-of date, else what its capture id begins with.
    occasion: str = ""
    #: How it stands.
    state: PartitionState
    #: The engine's run id.
    run_id: str
    #: The engine.
    engine: str
    #: Counts the attempts at the run; 0 where no run could begin.
    attempt: int = 1
    #: When it started.
    started_at: datetime | None = None
    #: When it last began, of a run that is recorded; one that was cleared or resumed does so long after it started.
    begun_at: datetime | None = None
    #: When it ended.
    ended_at: datetime | None = None
    #: When this was last heard.
    last_seen_at: datetime
    #: The step that failed.
    step: str | None = None
    #: Why it failed or was skipped.
    error: str | None = None
    #: Where it failed, if the step raised.
    traceback: str | None = field(default=None, repr=False)
    #: Whether trying again could have helped.
    category: str | None = None
    #: Why it could not go on when it was launched again, of one that failed before.
    refused: str | None = None
    #: Whether the ledger recorded its steps; otherwise it is an engine's word.
    recorded: bool = False
    #: Whether it is to do only some steps of the workflow.
    part: bool = False
    #: The workflow's name, where the batch has several; empty: that of the batch.
    workflow: str = ""
    #: Which worker process was at it, as runs name their owner, if one was: of the runs of others it knows nothing.
    worker: str | None = field(default=None, repr=False, compare=False)
    #: Whether its engine says that it had other parameters than those of the batch.
    other_params: bool = field(default=False, repr=False, compare=False)
    #: The parameters that its engine says it was given, as JSON; ``None``: nobody knows, or it goes on with another.
    engine_params: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """What it is about, in words: the partition, or else what tells the run from others."""
        return self.partition or self.occasion

    @property
    def title(self) -> str:
        """Its label, and of which workflow it is, where the batch has several."""
        return f"{self.label} of {self.workflow}" if self.workflow else self.label

    @property
    def has_run(self) -> bool:
        """Whether there is a run of it: in the ledger, or else on an engine, whose word this is."""
        return _has_run(self)

    @property
    def seconds(self) -> float | None:
        """How long it took; since it last began, where that is more than a minute after it started."""
        return _seconds(self)


class Standing(NamedTuple):
    """How a partition of a batch stands: what is told of it where there are a hundred thousand."""

    #: The canonical text of its key; empty in a batch of runs without partitions.
    partition: str
    #: How it stands.
    state: PartitionState
    #: The engine.
    engine: str
    #: Counts the attempts at the run.
    attempt: int
    #: When it started.
    started_at: datetime | None
    #: When it ended.
    ended_at: datetime | None
    #: Why it was skipped or waits, or which optional steps failed; not why it failed, which its outcome tells.
    error: str | None
    #: Whether the ledger recorded its steps.
    recorded: bool
    #: What tells a run without a partition from others.
    occasion: str = ""
    #: When it last began, of a run that is recorded; ``None`` also where that is in the minute in which it started.
    begun_at: datetime | None = None

    @classmethod
    def of(cls, run: PartitionRun) -> Standing:
        """Return what is told of a run."""
        return cls(
            run.partition,
            run.state,
            run.engine,
            run.attempt,
            run.started_at,
            run.ended_at,
            None if run.state is PartitionState.FAILED else run.error,
            run.recorded,
            run.occasion,
            None if _minute(run.begun_at) == _minute(run.started_at) else run.begun_at,
        )

    @property
    def has_run(self) -> bool:
        """Whether there is a run of it: in the ledger, or else on an engine, whose word this is."""
        return _has_run(self)

    @property
    def seconds(self) -> float | None:
        """How long it took; since it last began, where that is more than a minute after it started."""
        return _seconds(self)


def _has_run(one: PartitionRun | Standing) -> bool:
    return one.recorded or (one.engine != "local" and one.state is not PartitionState.WAITING)


def _minute(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(second=0, microsecond=0)


def _seconds(one: PartitionRun | Standing) -> float | None:
    if one.started_at is None or one.ended_at is None:
        return None
    again = one.begun_at is not None and one.started_at + _WAITED < one.begun_at <= one.ended_at
    return (one.ended_at - (one.begun_at if again and one.begun_at else one.started_at)).total_seconds()


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchWorkflow:
    """A further workflow of a batch: what the batch was asked to run of it."""

    #: The workflow's name.
    workflow: str
    #: Where to import it from, if that is known.
    import_path: str | None = None
    #: The canonical text of the selected partitions.
    selection: str
    #: The digest of the selected partitions.
    digest: str
    #: How many partitions are selected.
    total: int
    #: Parameters of its runs; secrets are hidden, with a digest of each.
    params: Mapping[str, Any] = field(default_factory=FrozenDict)
    #: The function that makes further parameters for each partition, and the version of its code.
    params_from: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRecord:
    """What a batch was asked to run."""

    #: Its id, which every run of it carries.
    batch_id: str
    #: The workflow's name.
    workflow: str
    #: Where to import the workflow from, if that is known.
    import_path: str | None = None
    #: The canonical text of the selected partitions; ``None`` for a batch that an engine started by itself.
    selection: str | None = None
    #: The digest of the selected partitions.
    digest: str | None = None
    #: How many partitions are selected.
    total: int | None = None
    #: Parameters of its runs; secrets are hidden, with a digest of each.
    params: Mapping[str, Any] = field(default_factory=FrozenDict)
    #: The function that makes further parameters for each partition, and the version of its code.
    params_from: str | None = None
    #: When it was made.
    created_at: datetime
    #: The engine that it was last launched on.
    engine: str | None = None
    #: When it was canceled, if it was and has not been launched since.
    canceled_at: datetime | None = None
    #: Since when its versions are kept, however old they are.
    kept_at: datetime | None = None
    #: The workflows after the first, where it has several.
    others: tuple[BatchWorkflow, ...] = ()

    @property
    def workflows(self) -> tuple[str, ...]:
        """The names of its workflows, in order."""
        return (self.workflow, *(other.workflow for other in self.others))

    @property
    def total_of_all(self) -> int | None:
        """How many partitions are selected of all its workflows; ``None`` where nobody knows of one."""
        totals = [self.total, *(other.total for other in self.others)]
        return None if None in totals else sum(filter(None, totals))

    def by_workflow(self) -> list[BatchRecord]:
        """Return it as it is for each of its workflows.

        Example:
            >>> from datetime import UTC, datetime
            >>> desk = BatchWorkflow(workflow="desk", selection="date=2013-01-02", digest="d", total=1)
            >>> now = datetime(2026, 1, 9, tzinfo=UTC)
            >>> batch = BatchRecord(batch_id="b", workflow="nav", created_at=now, others=(desk,))
            >>> [(one.workflow, one.total) for one in batch.by_workflow()]
            [('nav', None), ('desk', 1)]
        """
        first = replace(self, others=())
        return [first, *(replace(first, **{f.name: getattr(o, f.name) for f in fields(o)}) for o in self.others)]

    def of(self, workflow: str) -> BatchRecord | None:
        """Return it as it is for one workflow; ``None`` if it has no such workflow."""
        return next((one for one in self.by_workflow() if one.workflow == workflow), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One partition that is to run."""

    #: The partition key; ``None`` for a run without partitions.
    key: PartitionKey | None
    #: The run's id, equal on every engine that can choose one.
    run_id: str
    #: The run's parameters, on top of the workflow's.
    params: Mapping[str, Any]
    #: What the batch says of the run beside its parameters.
    request: RunRequest
    #: What is known of an earlier attempt.
    before: PartitionRun | None = None
    #: A step that is to run again although it is complete, with all that follow it.
    from_step: str | None = None
    #: Whether the earlier attempt had other parameters, so that no engine can run it again just as it was.
    other_params: bool = False
    #: Whether it goes on although the workflow has changed since the earlier attempt.
    accept_changes: bool = False
    #: The steps that the ledger has not as complete in the earlier attempt, if it has a record of that.
    incomplete: tuple[str, ...] = ()
    #: The workflow's name, where the batch has several; empty: that of the batch.
    workflow: str = ""

    @property
    def partition(self) -> str:
        """The canonical text of its key; empty if it has none."""
        return "" if self.key is None else str(self.key)


def batch_run_id(workflow: str, batch_id: str, key: PartitionKey, text: str) -> str:
    """Return the run id of a partition in a batch: the same whoever launches it, so that engines see duplicates.

    Args:
        workflow: The workflow's name.
        batch_id: The batch.
        key: The partition key.
        text: The key's positional text, for people to read.

    Returns:
        At most 150 of the characters that Airflow takes and that can stand in a file name.

    Example:
        >>> batch_run_id("prices", "restate", PartitionKey(date="2012-01-03", symbol="IBM"), "2012-01-03|IBM")
        'batch__restate__2012-01-03~IBM__7fa2fc5286c5'
    """
    parts = "\0".join((workflow, batch_id, str(key)))
    digest = sha256(parts)[:12]
    return f"{run_ids_begin(batch_id)}{_values_in_id(text)}__{digest}"


def may_run_one_of(run_id: str, texts: Iterable[str]) -> bool | None:
    """Return whether a run may be about one of some keys, by its id; ``None`` if no launcher of a batch gave it the id.

    Example:
        >>> run_id = "batch__restate__2012-01-03~IBM__7fa2fc5286c5"
        >>> [may_run_one_of(run_id, [text]) for text in ("2012-01-03|IBM", "2012-01-03|AAPL")]
        [True, False]
    """
    found = _BATCH_RUN_ID.fullmatch(run_id)
    return None if found is None else found[1].endswith(tuple(f"__{_values_in_id(text)}" for text in texts))


def _values_in_id(text: str) -> str:
    return id_text(text.replace("|", "~"))[:70]


def run_ids_begin(batch_id: str) -> str:
    """Return how the ids of runs begin that whoever launches a batch makes, where the engine lets it choose.

    Example:
        >>> run_ids_begin("restate")
        'batch__restate__'
    """
    return f"batch__{id_text(batch_id)[:_LONGEST_IN_IDS]}__"


def shares_run_ids(batch_id: str) -> tuple[str, ...]:
    """Return patterns of all batches whose runs may have ids that begin as those of one do, for ``LIKE … ESCAPE '/'``.

    Example:
        >>> shares_run_ids("restate-2")
        ('restate%2', 'restate%2/_%')
    """
    text = id_text(batch_id)
    wild = {"-": "%", ".": ".%", "_": "/_"}  # what an id may have in place of these
    like = "".join(wild.get(one, one) for one in text[:_LONGEST_IN_IDS])
    return (f"{like}%",) if len(text) >= _LONGEST_IN_IDS else (like, f"{like}/_%")


def id_text(text: str) -> str:
    """Return text as it can stand in the id of a run, and in the name of a file."""
    # Airflow refuses an id with two dots in a row: it becomes the name of a folder.
    return re.sub(r"\.{2,}", ".", _NOT_IN_IDS.sub("-", text))
