"""Batches in a database: what they were asked to run, who launches them, and what became of their partitions."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import and_, exists, func, or_, select, update
from sqlalchemy.engine import Connection

from flowctx.core.batches.ledger import DecideBatch, LaunchLease, ParamsOfRuns, meant_batch
from flowctx.core.batches.outcomes import winning_outcome
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState, Standing
from flowctx.core.durability.records import RunStatus
from flowctx.ledger.among import is_one_of, rows_among
from flowctx.ledger.batch_rows import (
    batch_of,
    batch_of_runs,
    batch_row,
    failure_of,
    launch_row,
    noted_run,
    params_of_runs,
    pruned_run,
    recorded_run,
)
from flowctx.ledger.database import Database
from flowctx.ledger.outcome_counts import OutcomeCounts, accounts, told_by_run
from flowctx.ledger.refusals import no_batch
from flowctx.ledger.rows import Row, optional_stamp, stamp
from flowctx.ledger.statements import add, of_all_times, put
from flowctx.ledger.tables import attempts, batches, launches, pruned_captures, runs, steps

_T = TypeVar("_T")
_NOTHING: Mapping[str, Any] = {}

#: How many rows are read at a time, so that a batch of a million takes no more memory than one of ten.
_PAGE = 2000


class SqlBatches:
    """Remembers batches in the tables of a ledger; see :class:`~flowctx.core.batches.ledger.BatchStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- what they were asked for -----------------------------------------------------------------------------------

    def put(self, batch: BatchRecord) -> None:
        """Remember a batch, or what has changed about it."""
        row = batch_row(batch)

        def work(at: Connection) -> None:
            at.execute(add(at, batches), row)
            at.execute(update(batches).where(batches.c.batch_id == batch.batch_id).values(**row))

        self._database.transaction(work)

    def get(self, batch_id: str) -> BatchRecord:
        """Return a batch, also one of which only runs are known."""
        found = self.find(batch_id)
        if found is None:
            raise no_batch(batch_id, meant_batch(batch_id, self))
        return found

    def find(self, batch_id: str) -> BatchRecord | None:
        """Return a batch, also one of which only runs are known; ``None`` if nobody remembers it."""
        for row in self._database.rows(select(batches).where(batches.c.batch_id == batch_id)):
            return batch_of(row)
        for row in self._database.rows(_first_run(batch_id)):
            return batch_of_runs(row)
        return None

    def all(self, limit: int = 50) -> list[BatchRecord]:
        """Return batches, the latest first, also those of which only runs are known."""
        planned = self._database.rows(select(batches).order_by(batches.c.created_at.desc()).limit(limit))
        others = [
            row
            for name in self._database.rows(_of_runs_only(limit))
            for row in self._database.rows(_first_run(name["batch_id"]))
        ]
        found = [*map(batch_of, planned), *map(batch_of_runs, others)]
        return sorted(found, key=lambda batch: batch.created_at, reverse=True)[:limit]

    # -- who launches them ------------------------------------------------------------------------------------------

    def lead(self, batch_id: str, launcher: str, lease: timedelta, decide: DecideBatch) -> LaunchLease:
        """Ask to be the one who launches a batch, and say what it asks for."""

        def work(at: Connection) -> LaunchLease:
            now = self._database.now(at)
            of_batch = batches.c.batch_id == batch_id
            row = at.execute(select(batches).where(of_batch).with_for_update()).mappings().first()
            if row is not None and _leads_another(row, launcher, now):
                return _lease_of(row, now)
            known = batch_of(row) if row is not None else None
            if known is None:
                known = next(map(batch_of_runs, at.execute(_first_run(batch_id)).mappings()), None)
            values = {**batch_row(replace(decide(known), canceled_at=None)), "batch_id": batch_id}
            at.execute(add(at, batches), values)
            owned = {**values, "launcher": launcher, "launcher_until": stamp(now + lease)}
            if not at.execute(update(batches).where(of_batch, _free(launcher, now)).values(**owned)).rowcount:
                # Somebody else has made the batch, and leads it, since we found none.
                row = at.execute(select(batches).where(of_batch)).mappings().one()
                return _lease_of(row, now)
            return LaunchLease(launcher, now + lease, lease)

        return self._database.transaction(work)

    def cancel(self, batch_id: str) -> BatchRecord:
        """Say that a batch is canceled, whoever launches it."""
        return self._marked(batch_id, "canceled_at", since_now=True)

    def keep(self, batch_id: str, *, kept: bool = True) -> BatchRecord:
        """Say that nothing of a batch is pruned, however old it is, or that it may be again."""
        return self._marked(batch_id, "kept_at", since_now=kept)

    def _marked(self, batch_id: str, field: str, *, since_now: bool) -> BatchRecord:
        known = self.get(batch_id)

        def work(at: Connection) -> dict[str, Any]:
            now = self._database.now(at) if since_now else None
            at.execute(add(at, batches), batch_row(known))
            at.execute(update(batches).where(batches.c.batch_id == batch_id).values({field: optional_stamp(now)}))
            return {field: now}

        return replace(known, **self._database.transaction(work))

    def acquire_launch_lease(
        self, batch_id: str, launcher: str, lease: timedelta, *, instead_of: str | None = None
    ) -> str:
        """Ask to be the one who launches a batch; returns who does."""

        def work(at: Connection) -> str:
            now = self._database.now(at)
            free = _free(launcher, now, instead_of)
            owned = {"launcher": launcher if lease else None, "launcher_until": stamp(now + lease)}
            of_batch = batches.c.batch_id == batch_id
            while not at.execute(update(batches).where(of_batch, free).values(**owned)).rowcount:
                row = at.execute(select(batches.c.launcher).where(of_batch)).first()
                if row is None:
                    raise no_batch(batch_id)
                if row[0] is not None:  # else whoever led it has let go in between
                    return str(row[0])
            return launcher

        return self._database.transaction(work)

    # -- what became of their partitions ----------------------------------------------------------------------------

    def record_outcomes(self, batch_id: str, runs: Sequence[PartitionRun]) -> None:
        """Remember what an engine said of partitions."""
        rows = [launch_row(batch_id, run) for run in runs]

        def work(at: Connection) -> None:
            first = at.execute(select(batches.c.workflow).where(batches.c.batch_id == batch_id)).scalar()
            for row in rows:
                at.execute(put(at, launches), {**row, "workflow": "" if row["workflow"] == first else row["workflow"]})

        if rows:
            self._database.transaction(work)

    def iter_outcomes(
        self, batch_id: str, partitions: Collection[str] | None = None, *, workflow: str | None = None
    ) -> Iterator[PartitionRun]:
        """Yield what became of each partition, in the order of their texts."""
        texts = None if partitions is None else list(partitions)
        streams = (self._noted, self._recorded, self._pruned)
        found = heapq.merge(*(stream(batch_id, texts, workflow) for stream in streams), key=itemgetter(0))
        for _, some in itertools.groupby(found, key=itemgetter(0)):
            yield winning_outcome(run for _, run in some)

    def iter_standings(self, batch_id: str, workflow: str) -> Iterator[Standing]:
        """Yield how each partition of a workflow stands in a batch."""
        return self._counts(batch_id, workflow).standings()

    def iter_partitions(self, batch_id: str, workflow: str, *, besides: str | None = None) -> Iterator[str]:
        """Yield the text of each partition of which anything is known in a batch, an empty one first."""
        return self._counts(batch_id, workflow).partitions(besides)

    def count_outcomes(self, batch_id: str, workflow: str) -> dict[str, int]:
        """Return how many partitions of a workflow stand how in a batch."""
        return self._counts(batch_id, workflow).counts()

    def _counts(self, batch_id: str, workflow: str) -> OutcomeCounts:
        def weigh(texts: list[str] | None) -> Iterator[PartitionRun]:
            return self.iter_outcomes(batch_id, texts, workflow=workflow)

        return OutcomeCounts(self._database, batch_id, workflow, weigh)

    def params_of_runs(self, batch_id: str, workflow: str, names: Collection[str]) -> list[ParamsOfRuns]:
        """Return which parameters the recorded runs of partitions have that are ok, and which have each."""
        place = {"partition": runs.c.partition, "run_key": runs.c.run_key}
        latest = and_(attempts.c.run_key == runs.c.run_key, attempts.c.attempt == runs.c.attempt)
        ok = (runs.c.batch_id == batch_id, runs.c.workflow == workflow, runs.c.status == str(RunStatus.OK))
        query = select(*place.values(), runs.c.run_id, attempts.c.context).select_from(runs).join(attempts, latest)
        query = query.where(*ok, runs.c.partition.is_not(None))
        pages = self._database.pages(query, place, _PAGE, self._database.tuples)
        return params_of_runs(itertools.chain.from_iterable(pages), names)

    def runs_by_workflow(self, batch_id: str) -> dict[str, dict[str, int]]:
        """Return how many recorded runs of each workflow carry a batch's id, by how they stand."""
        query = select(runs.c.workflow, runs.c.status, func.count().label("runs")).where(runs.c.batch_id == batch_id)
        found: dict[str, dict[str, int]] = {}
        for row in self._database.rows(query.group_by(runs.c.workflow, runs.c.status)):
            found.setdefault(row["workflow"], {})[row["status"]] = row["runs"]
        return dict(sorted(found.items()))

    def _noted(
        self, batch_id: str, texts: list[str] | None, workflow: str | None
    ) -> Iterator[tuple[str, PartitionRun]]:
        """Yield what engines said, but for what runs of a workflow tell as well."""
        query = select(launches).where(launches.c.batch_id == batch_id)
        if texts is not None:
            query = query.where(is_one_of(self._database, launches.c.partition, texts))
        if workflow is not None:
            names = accounts(self._database, batch_id, workflow).names
            query = query.where(~told_by_run(batch_id, workflow))
        else:
            every = select(launches.c.workflow).where(launches.c.batch_id == batch_id).distinct()
            names = sorted(row["workflow"] for row in self._database.rows(every))
        # One workflow after the other, in the order of the table's key: else each page would sort what is left.
        of_each = (self._noted_in(query.where(launches.c.workflow == name)) for name in names)
        return heapq.merge(*of_each, key=itemgetter(0))

    def _noted_in(self, query: Any) -> Iterator[tuple[str, PartitionRun]]:
        for page in self._database.pages(query, {"partition": launches.c.partition}, _PAGE):
            yield from ((row["partition"], noted_run(row)) for row in page)

    def _pruned(
        self, batch_id: str, texts: list[str] | None, workflow: str | None
    ) -> Iterator[tuple[str, PartitionRun]]:
        """Yield the partitions of which a version was pruned."""
        place = {"partition": pruned_captures.c.partition}
        query = select(*place.values(), func.max(pruned_captures.c.completed_at).label("completed_at"))
        query = query.where(pruned_captures.c.batch_id == batch_id, pruned_captures.c.partition.is_not(None))
        if workflow is not None:
            query = query.where(pruned_captures.c.workflow == workflow)
        if texts is not None:
            query = query.where(is_one_of(self._database, pruned_captures.c.partition, texts))
        for page in self._database.pages(query.group_by(*place.values()), place, _PAGE):
            yield from ((row["partition"], pruned_run({**row, "batch_id": batch_id})) for row in page)

    def _recorded(
        self, batch_id: str, texts: list[str] | None, workflow: str | None
    ) -> Iterator[tuple[str, PartitionRun]]:
        of_batch = [runs.c.batch_id == batch_id, *([] if workflow is None else [runs.c.workflow == workflow])]
        if texts is not None:
            return self._in_order(
                batch_id, runs.c.partition, *of_batch, is_one_of(self._database, runs.c.partition, texts)
            )
        # Runs without a partition are told apart by what they are about, for which there is no index; their texts sort
        # by code points, because those of partitions do.
        dated = runs.c.as_of_date + "|" + runs.c.capture_id
        occasion = func.coalesce(runs.c.partition, dated, runs.c.capture_id, "")
        return heapq.merge(
            self._in_order(batch_id, runs.c.partition, *of_batch, runs.c.partition.is_not(None)),
            self._in_order(batch_id, occasion, *of_batch, runs.c.partition.is_(None)),
            key=itemgetter(0),
        )

    def _in_order(self, batch_id: str, key: Any, *conditions: Any) -> Iterator[tuple[str, PartitionRun]]:
        """Yield runs in the order of a key, so many at a time."""
        columns = (runs.c[name] for name in _OF_RUN)
        query = select(key.label("about"), *columns).where(*conditions)
        for page in self._database.pages(query, {"about": key, "run_key": runs.c.run_key}, _PAGE):
            why = self._failed_steps([row["run_key"] for row in page if row["status"] == PartitionState.FAILED])
            yield from ((row["about"], recorded_run(row, why.get(row["run_key"], _NOTHING))) for row in page)

    def _failed_steps(self, run_keys: list[str]) -> dict[str, Mapping[str, Any]]:
        """Return which step failed first in each run, and how."""
        failed = select(steps.c.run_key, steps.c.step, steps.c.payload).where(steps.c.status == "failed")
        found: dict[str, Mapping[str, Any]] = {}
        for row in rows_among(self._database, failed.order_by(steps.c.started_at), steps.c.run_key, run_keys):
            if row["run_key"] not in found:
                found[row["run_key"]] = failure_of(row)
        return found


_OF_RUN = (
    "run_key", "partition", "status", "run_id", "engine", "attempt", "started_at", "begun_at", "finished_at",
    "heard_at", "error", "selected", "as_of_date", "capture_id", "batch_id",
)  # fmt: skip


def _of_runs_only(limit: int) -> Any:
    """Return the query for the latest batches of which only runs are known.

    Each id is found from the one before it, by the index: to read all runs for that takes as long as there are runs.
    """
    first = select(func.min(runs.c.batch_id).label("batch_id")).cte("ids", recursive=True)
    following = select(func.min(runs.c.batch_id)).where(runs.c.batch_id > first.c.batch_id).scalar_subquery()
    ids = first.union_all(select(following).where(first.c.batch_id.is_not(None)))
    started = select(func.min(runs.c.started_at)).where(runs.c.batch_id == ids.c.batch_id).scalar_subquery()
    unplanned = ~exists().where(batches.c.batch_id == ids.c.batch_id)
    return select(ids.c.batch_id).where(ids.c.batch_id.is_not(None), unplanned).order_by(started.desc()).limit(limit)


def _first_run(batch_id: str) -> Any:
    """Return the query for the first run of a batch, which tells what is known of a batch without a plan."""
    columns = (runs.c.batch_id, runs.c.workflow, runs.c.target, runs.c.engine, runs.c.started_at.label("created_at"))
    in_batch = of_all_times(runs.c.batch_id, batch_id)
    return select(*columns).where(*in_batch).order_by(runs.c.batch_id, runs.c.started_at).limit(1)


def _free(launcher: str, now: datetime, instead_of: str | None = None) -> Any:
    return or_(
        batches.c.launcher.is_(None),
        batches.c.launcher.in_([launcher, instead_of or launcher]),
        batches.c.launcher_until <= stamp(now),
    )


def _leads_another(row: Row, launcher: str, now: datetime) -> bool:
    return row["launcher"] not in (None, launcher) and row["launcher_until"] > stamp(now)


def _lease_of(row: Row, now: datetime) -> LaunchLease:
    until = datetime.fromisoformat(row["launcher_until"] or stamp(now))
    return LaunchLease(str(row["launcher"]), until, until - now)
