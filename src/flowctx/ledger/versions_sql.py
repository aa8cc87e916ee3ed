"""What other runs have made, in a database: the captures of partitions, and what a step of each recorded."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from sqlalchemy import and_, func, literal, or_, select, true

from flowctx.core.durability.records import CaptureState, RunStatus, StepOutput, StepRecord
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.durability.versions import PrunedVersion, Version
from flowctx.core.errors import FlowctxError, PayloadError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepStatus
from flowctx.ledger.among import Read, chunks, is_one_of, rows_among
from flowctx.ledger.database import Database
from flowctx.ledger.rows import Row, damaged, step_output, step_record, step_status
from flowctx.ledger.standing import FindBatch, standing
from flowctx.ledger.tables import INPUTS, captures, holds, pruned_captures, runs, steps

#: How many partitions are listed at a time.
_PAGE = 5000
_STEPS = steps.c
_T = TypeVar("_T")


class SqlVersions(FindBatch):
    """The captures of other runs; see :class:`~flowctx.core.durability.ledger.RunLedger`."""

    _database: Database

    def versions(
        self, workflow: str, step: str, partitions: Collection[PartitionKey | None], *, batch_id: str | None = None
    ) -> list[Version]:
        """Return all captures of some partitions, complete or not, with how a step of each ended."""
        found = self._captured(workflow, step, partitions)
        if batch_id is None:
            return found
        parts = (
            select(*_PART_COLUMNS)
            .outerjoin(steps, and_(steps.c.run_key == runs.c.run_key, steps.c.step == step))
            .where(runs.c.workflow == workflow, runs.c.batch_id == batch_id, runs.c.selected.is_not(None))
            .where(runs.c.capture_id.is_not(None), runs.c.status != str(RunStatus.OK))
            .where(or_(steps.c.step.is_not(None), runs.c.status == str(RunStatus.RUNNING)))
        )
        keys = _by_text(partitions)
        rows = list(self._of_partitions(parts, runs.c.partition, partitions, self._database.tuples))
        recorded = [(row.step_started_at, 0, row) for row in rows if row.step_status is not None]
        under_way = [(row.begun_at or "", 1, row) for row in rows if row.step_status is None and _is_to_do(row, step)]
        in_order = sorted([*recorded, *under_way], key=lambda part: part[:2])
        return found + [_version(row[: len(_OF_VERSION)], step, keys) for _, _, row in in_order]

    def versions_meant(
        self, workflow: str, step: str, partitions: Collection[PartitionKey | None], choices: Collection[VersionChoice]
    ) -> list[Version]:
        """Return of all captures of some partitions those that one of some choices may mean."""
        keys = _by_text(partitions)
        found = {} if len(keys) == len(partitions) else {v.run_key: v for v in self._captured(workflow, step, [None])}
        for choice, texts in itertools.product(choices, chunks(list(keys))):
            rows = self._database.tuples(_meant(self._database, choice, workflow, step, texts))
            found |= {row.holder: _version(row, step, keys) for row in rows if row.partition in keys}
        return list(found.values())

    def versions_of_runs(self, workflow: str, step: str, run_keys: Collection[str]) -> list[Version]:
        """Return the captures that some runs hold, complete or not, with how a step of each ended."""
        query = _reading(step).where(captures.c.workflow + "" == workflow)  # or SQLite reads all of the workflow
        rows = rows_among(self._database, query, captures.c.holder, run_keys, self._database.tuples)
        return [_version(row, step, {}) for row in rows]

    def _captured(self, workflow: str, step: str, partitions: Collection[PartitionKey | None]) -> list[Version]:
        keys, query = _by_text(partitions), _reading(step).where(captures.c.workflow == workflow)
        rows = self._of_partitions(query, captures.c.partition, partitions, self._database.tuples)
        return [_version(row, step, keys) for row in rows]

    def pruned_versions(self, workflow: str, partitions: Collection[PartitionKey | None]) -> list[PrunedVersion]:
        """Return what is still known of the captures of some partitions that were complete and are pruned."""
        query = select(pruned_captures).where(pruned_captures.c.workflow == workflow)
        return [_pruned_version(row) for row in self._of_partitions(query, pruned_captures.c.partition, partitions)]

    def captured_partitions(self, workflow: str) -> Iterator[PartitionKey]:
        """Yield the partitions of a workflow that anybody has claimed a capture of, in no particular order."""
        query = select(captures.c.partition).where(captures.c.workflow == workflow, captures.c.partition.is_not(None))
        for page in self._database.pages(query.distinct(), {"partition": captures.c.partition}, _PAGE):
            for row in page:
                try:
                    yield PartitionKey.parse(row["partition"])
                except FlowctxError as exc:
                    raise damaged(f"what the ledger holds of the partitions of workflow {workflow}", exc) from exc

    def recorded_steps(
        self, run_keys: Collection[str], *, names: Collection[str] | None = None, reading: bool = False
    ) -> dict[str, list[StepRecord]]:
        """Return the recorded steps of several runs, by the digests of their keys, in the order in which they began."""
        query = select(steps).order_by(steps.c.run_key, steps.c.started_at)
        if names is not None:
            query = query.where(steps.c.step.in_(list(names)))
        if reading:  # for which there is an index
            query = query.where(holds("sqlite" if self._database.sqlite else "postgresql", "payload", INPUTS))
        found: dict[str, list[StepRecord]] = {}
        for row in rows_among(self._database, query, steps.c.run_key, run_keys):
            record = self._of_run(row["run_key"], functools.partial(step_record, row))
            if record.inputs or not reading:
                found.setdefault(row["run_key"], []).append(record)
        return found

    def statuses_of(self, run_keys: Collection[str]) -> dict[str, dict[str, StepStatus]]:
        """Return how the recorded steps of several runs ended, by the digests of their keys."""
        query = select(steps.c.run_key, steps.c.step, steps.c.status)
        found: dict[str, dict[str, StepStatus]] = {}
        for row in rows_among(self._database, query, steps.c.run_key, run_keys):
            found.setdefault(row["run_key"], {})[row["step"]] = step_status(row["status"])
        return found

    def digests_of(
        self, steps: Collection[str], run_keys: Collection[str]
    ) -> dict[tuple[str, str], tuple[StepStatus, str]]:
        """Return how some steps of several runs ended, and the digests of what they recorded."""
        query = select(_STEPS.run_key, _STEPS.step, _STEPS.status, _STEPS.digest).where(_STEPS.step.in_(list(steps)))
        found = rows_among(self._database, query, _STEPS.run_key, run_keys, self._database.tuples)
        return {(run_key, name): (step_status(status), digest) for run_key, name, status, digest in found}

    def step_outputs(self, step: str, run_keys: Collection[str]) -> dict[str, StepOutput]:
        """Return what one step of several runs has returned, by the digests of their keys."""
        query = select(_STEPS.run_key, _STEPS.status, _STEPS.version, _STEPS.payload, _STEPS.digest)
        query = query.where(_STEPS.step == step)
        found: dict[str, StepOutput] = {}
        for run_key, *row in rows_among(self._database, query, _STEPS.run_key, run_keys, self._database.tuples):
            found[run_key] = self._of_run(run_key, functools.partial(step_output, step, *row))
        return found

    def _of_run(self, run_key: str, read: Callable[[str], _T]) -> _T:
        """Return what is read of a run; what is damaged is said of the run as people know it."""
        try:
            return read(run_key)
        except PayloadError:
            ids = self._database.tuples(select(runs.c.run_id).where(runs.c.run_key == run_key))
        return read(*ids[0])

    def _of_partitions(
        self, query: Any, column: Any, partitions: Collection[PartitionKey | None], read: Read | None = None
    ) -> Iterator[Any]:
        """Yield the rows of a query that have one of some partitions in a column, or none; ``read`` as for pages."""
        texts = [str(key) for key in partitions if key is not None]
        yield from rows_among(self._database, query, column, texts, read)
        if len(texts) < len(partitions):
            yield from (read or self._database.rows)(query.where(column.is_(None)))


def _by_text(partitions: Collection[PartitionKey | None]) -> dict[str, PartitionKey]:
    return {str(key): key for key in partitions if key is not None}


_OF_CAPTURE = (
    "partition", "subject", "capture_id", "revision", "state", "holder",
    "completed_at", "first_completed_at", "let_go", "claimed_at", "token",
)  # fmt: skip
_OF_RUN = (
    runs.c.run_id,
    runs.c.batch_id,
    runs.c.status,
    runs.c.error,
    runs.c.steps,
    steps.c.status.label("step_status"),
    steps.c.digest,
)
#: The columns that a version is made of, by their names in the rows.
_OF_VERSION = (*_OF_CAPTURE, *(column.key for column in _OF_RUN))

_PART_COLUMNS = (
    runs.c.partition,
    runs.c.subject,
    runs.c.capture_id,
    literal(0).label("revision"),
    literal(None).label("state"),
    runs.c.run_key.label("holder"),
    *(literal(None).label(name) for name in ("completed_at", "first_completed_at", "let_go", "claimed_at")),
    literal(0).label("token"),
    *_OF_RUN,
    runs.c.selected,
    runs.c.begun_at,
    steps.c.started_at.label("step_started_at"),
)


def _is_to_do(row: Any, step: str) -> bool:
    """Whether a step is one of those that a run of a part is to do."""
    try:
        return step in msgspec.json.decode(row.selected, type=tuple[str, ...])
    except msgspec.DecodeError as exc:
        raise damaged(f"what the ledger holds of run {row.run_id}", exc) from exc


def _reading(step: str, first: Any = captures, captured: Any = captures) -> Any:
    """Return the query for captures, with the runs that hold them and what those recorded of a step.

    Args:
        step: The step.
        first: What the captures are read from.
        captured: What has their columns there.
    """
    of_step = and_(steps.c.run_key == captured.c.holder, steps.c.step == step)
    joined = first.join(runs, runs.c.run_key == captured.c.holder).outerjoin(steps, of_step)
    return select(*(captured.c[name] for name in _OF_CAPTURE), *_OF_RUN).select_from(joined)


def _meant(database: Database, choice: VersionChoice, workflow: str, step: str, partitions: list[str]) -> Any:
    """Return the query for what a choice may mean of some partitions, where it may also find others."""
    # Of a partition there may be many: those of a batch, and the last ones, are found by other indexes.
    of_workflow = captures.c.workflow + "" == workflow
    if choice.batch_id is not None:
        of_batch = (runs.c.batch_id == choice.batch_id, is_one_of(database, runs.c.partition, partitions))
        return _reading(step).where(of_workflow, *of_batch)
    if choice.text == "current":
        return _reading_last(database, workflow, step, partitions)
    query = _reading(step).where(captures.c.workflow == workflow, is_one_of(database, captures.c.partition, partitions))
    if choice.capture_id is not None:
        return query.where(captures.c.capture_id == choice.capture_id)
    return query if choice.revision is None else query.where(captures.c.revision == choice.revision)


def _reading_last(database: Database, workflow: str, step: str, partitions: list[str]) -> Any:
    """Return the query for captures of partitions after which none was completed by a run that has a step."""
    those, newer, recorded = captures.alias("those"), captures.alias("newer"), steps.alias("recorded")
    of_them = (those.c.workflow == workflow, is_one_of(database, those.c.partition, partitions))
    subjects = select(those.c.subject).distinct().where(*of_them).subquery("subjects")
    complete = (newer.c.subject == subjects.c.subject, newer.c.state == str(CaptureState.COMPLETE))
    has_step = and_(recorded.c.run_key == newer.c.holder, recorded.c.step == step)
    last = select(newer.c.revision).join(recorded, has_step).where(*complete).order_by(newer.c.revision.desc()).limit(1)
    since = func.coalesce(last.correlate(subjects).scalar_subquery(), 0)
    of_subject = and_(captures.c.subject == subjects.c.subject, captures.c.revision >= since)
    if database.sqlite:
        return _reading(step, subjects.join(captures, of_subject)).where(captures.c.workflow + "" == workflow)
    # PostgreSQL takes the subjects for many more than they are, and would read all captures, but for the OFFSET.
    found = select(captures).where(of_subject).correlate(subjects).offset(0).lateral("found")
    return _reading(step, subjects.join(found, true()), found).where(found.c.workflow == workflow)


def _version(row: Any, step: str, keys: Mapping[str, PartitionKey]) -> Version:
    """Return the version that the columns of ``_OF_VERSION`` are of.

    Args:
        row: Their values.
        step: The step that is read.
        keys: Partition keys that are there already, by their texts.
    """
    partition, subject, capture_id, revision, state, holder, *times, token = row[: len(_OF_CAPTURE)]
    completed_at, first_completed_at, let_go, claimed_at = times
    run_id, batch_id, status, error, in_workflow, ended, digest = row[len(_OF_CAPTURE) :]
    try:
        known = () if ended is not None else msgspec.json.decode(in_workflow, type=tuple[str, ...])
        has_step = ended is not None or step in known
        return Version(
            partition=keys[partition] if partition in keys else PartitionKey.parse(partition) if partition else None,
            subject=subject or "",
            capture_id=capture_id,
            revision=int(revision),
            run_key=holder,
            run_id=run_id,
            batch_id=batch_id,
            status=_standing(status, state, completed=completed_at is not None),
            part=state is None,
            has_step=has_step,
            other_steps=() if has_step else known,
            error=error,
            completed_at=completed_at,
            first_completed_at=first_completed_at,
            let_go_at=_let_go_at(let_go, claimed_at) if let_go else None,
            claimed_at=claimed_at,
            grants=int(token),
            step_status=step_status(ended) if ended else None,
            digest=digest,
        )
    except (FlowctxError, TypeError, ValueError) as exc:
        raise damaged(f"what the ledger holds of capture {capture_id}", exc) from exc


def _let_go_at(let_go: str, claimed_at: str) -> str | None:
    """Return until when a capture held what was written over since, if it was granted as often as it says."""
    since, _, granted_at = let_go.partition("/")
    return since if granted_at and granted_at == claimed_at else None


@functools.lru_cache(maxsize=64)
def _standing(status: str, state: str | None, *, completed: bool) -> RunStatus:
    """Return how a capture stands; a part has none yet, and stands as its run does."""
    of_run, of_capture = RunStatus(status), CaptureState(state or CaptureState.HELD)
    is_hole = completed if state is not None else of_run is RunStatus.SKIPPED
    return standing(of_run, complete=of_capture is CaptureState.COMPLETE, is_hole=is_hole)


def _pruned_version(row: Row) -> PrunedVersion:
    try:
        return PrunedVersion(
            partition=PartitionKey.parse(row["partition"]) if row["partition"] else None,
            subject=row["subject"],
            capture_id=row["capture_id"],
            revision=int(row["revision"]),
            batch_id=row["batch_id"],
            completed_at=row["completed_at"],
            last_completed_at=row["last_completed_at"],
        )
    except (FlowctxError, TypeError) as exc:
        raise damaged(f"what the ledger holds of the pruned capture {row['capture_id']}", exc) from exc
