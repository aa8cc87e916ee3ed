"""Forget old runs, captures and batches, but never what is still current: so many rows in a transaction.

A run beside it waits for one such transaction at most, and is let in before the next one.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import and_, delete, exists, func, literal, or_, select
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ColumnElement

from flowctx.core.durability.records import CaptureState, Pruned, PrunedRuns, RunStatus
from flowctx.core.errors import FlowctxError
from flowctx.ledger.artifacts import pages_of_keys, referred_paths, rolled_back
from flowctx.ledger.database import Database
from flowctx.ledger.reads import reads_of
from flowctx.ledger.rows import damaged
from flowctx.ledger.statements import remember_pruned
from flowctx.ledger.tables import INPUTS, attempts, batches, captures, holds, launches, runs, steps
from flowctx.ledger.versions_sql import chunks

#: How many rows are looked at in one transaction.
_PAGE = 1000
#: For how long at most others are let in after a transaction; it is as long as the transaction was.
_MOST_PAUSE_SECONDS = 0.5


class Pruning(NamedTuple):
    """Forgets what was last heard of before a time.

    A run stays if it wrote one of the last versions of its subject, if its batch is kept, if something has read it that
    stays itself, or if its lease still runs at that time; a batch stays as long as a run or a note of one of its
    partitions does, or if somebody has launched it since.
    """

    database: Database
    #: The time, as rows have it.
    before: str
    #: How many versions of each subject stay, however old they are.
    versions: int = 1
    #: The runs that stay only because something has read them.
    needed: frozenset[str] = frozenset()

    def to_the_end(self) -> Pruned:
        """Forget, and return how much."""
        return self._replace(needed=self.database.autocommit(self._needed))._to_the_end()

    def _to_the_end(self) -> Pruned:
        gone_runs = sum(self._each(self._run_pages(), self._forget_runs))
        gone_captures = sum(self._each(self._capture_pages(), self._forget_captures))
        sum(self._each(self._note_pages(), self._forget_notes))
        return Pruned(runs=gone_runs, captures=gone_captures, batches=self.database.transaction(self._forget_batches))

    def would(self, at: Connection) -> tuple[Pruned, set[str]]:
        """Return what would be forgotten, and which artifacts would still be referred to; nothing is written."""

        def count(*conditions: Any) -> int:
            return int(at.execute(select(func.count()).where(*conditions)).scalar_one())

        needed = self._needed(at)
        some = list(chunks(sorted(needed)))
        with rolled_back(at):
            goes = and_(*self._run_goes())
            of, gone_captures = self._by_batch(at, goes, some)
            going: Counter[str] = Counter()
            for one in of:
                going[one.batch_id or ""] += one.runs
            gone_batches = sum(going[name] == number for name, number in self._old_batches(at).items())
            runs_gone = sum(one.runs for one in of)
            pruned = Pruned(runs=runs_gone, captures=gone_captures, batches=gone_batches, of=of)
            paths = referred_paths(at, select(runs.c.run_key).where(~goes))
            for keys in some:
                paths |= referred_paths(at, select(runs.c.run_key).where(runs.c.run_key.in_(keys)))
            return pruned, paths

    def _old_batches(self, at: Connection) -> dict[str, int]:
        """Return how many runs each batch has that goes with its last run."""
        young = exists().where(launches.c.batch_id == batches.c.batch_id, launches.c.heard_at >= self.before)
        number = select(func.count()).where(runs.c.batch_id == batches.c.batch_id).scalar_subquery()
        query = select(batches.c.batch_id, number).where(*self._batch_is_old(), ~young)
        return {str(name): int(count) for name, count in at.execute(query)}

    def _by_batch(
        self, at: Connection, goes: ColumnElement[bool], needed: list[list[str]]
    ) -> tuple[tuple[PrunedRuns, ...], int]:
        """Return how many runs of each workflow and batch would be forgotten, and how many captures.

        A run that goes has no capture that stays: all of them go that are old. Others have lost their run.
        """
        own = select(func.count()).where(captures.c.holder == runs.c.run_key, captures.c.claimed_at < self.before)
        numbers = (func.count(), func.sum(own.scalar_subquery()))
        query = select(runs.c.workflow, runs.c.batch_id, *numbers).group_by(runs.c.workflow, runs.c.batch_id)
        found: Counter[tuple[str, str | None]] = Counter()
        old = (captures.c.claimed_at < self.before, ~exists().where(runs.c.run_key == captures.c.holder))
        lost = at.execute(select(literal(1)).where(*old).limit(1)).first() is not None
        gone = int(at.execute(select(func.count()).where(*old, ~self._capture_stays())).scalar_one()) if lost else 0
        for sign, condition in [(1, goes), *((-1, runs.c.run_key.in_(keys)) for keys in needed)]:
            for workflow, batch_id, number, of_captures in at.execute(query.where(condition)):
                found[workflow, batch_id] += sign * number
                gone += sign * int(of_captures)
        order = sorted(found.items(), key=lambda one: (one[0][0], one[0][1] or ""))
        return tuple(PrunedRuns(workflow=w, batch_id=b, runs=number) for (w, b), number in order if number), gone

    # -- what goes ----------------------------------------------------------------------------------------------------

    def _needed(self, at: Connection) -> frozenset[str]:
        """Return the runs that would go, but were read by what stays, however far."""
        found: set[str] = set()
        with rolled_back(at):
            goes = and_(*self._run_goes())
            reading = holds(at.dialect.name, "payload", INPUTS)
            query = select(steps.c.run_key, steps.c.payload).where(reading)
            read: set[str] = set()
            for keys in pages_of_keys(at, steps.c.run_key, reading):
                staying = select(runs.c.run_key).where(runs.c.run_key.in_(keys), ~goes)
                left = at.execute(staying).scalars().all()
                read |= self._read_in(at.execute(query.where(steps.c.run_key.in_(left))))
            while read:
                new: list[str] = []
                for keys in chunks(sorted(read - found)):
                    new += at.execute(select(runs.c.run_key).where(runs.c.run_key.in_(keys), goes)).scalars()
                found.update(new)
                read = set()
                for keys in chunks(new):
                    read |= self._read_in(at.execute(query.where(steps.c.run_key.in_(keys))))
        return frozenset(found)

    def _read_in(self, rows: Any) -> set[str]:
        """Return the keys of the runs that steps have read."""
        found: set[str] = set()
        for run_key, payload in rows:
            try:
                reads = reads_of(msgspec.json.decode(payload).get("inputs") or {})
            except (FlowctxError, AttributeError, TypeError, ValueError) as exc:
                raise damaged(f"what the ledger holds of what a step of run {run_key} has read", exc) from exc
            found.update(read.run_key for some in reads.values() for read in some)
        return found

    def _run_goes(self) -> tuple[ColumnElement[bool], ...]:
        written = exists().where(captures.c.holder == runs.c.run_key, self._capture_stays())
        kept = exists().where(batches.c.batch_id == runs.c.batch_id, batches.c.kept_at.is_not(None))
        # Nothing was heard of a run before it began, and for that there is an index.
        return runs.c.started_at < self.before, runs.c.heard_at < self.before, ~written, ~kept

    def _capture_goes(self) -> tuple[ColumnElement[bool], ...]:
        writer = runs.alias("keeper")
        kept = exists().where(
            writer.c.run_key == captures.c.holder,
            batches.c.batch_id == writer.c.batch_id,
            batches.c.kept_at.is_not(None),
        )
        return captures.c.claimed_at < self.before, ~self._capture_stays(), ~kept

    def _capture_stays(self) -> ColumnElement[bool]:
        newer = captures.alias("newer")
        complete = str(CaptureState.COMPLETE)
        after = (newer.c.subject == captures.c.subject, newer.c.revision > captures.c.revision)
        superseded: ColumnElement[bool] = exists().where(*after, newer.c.state == complete)
        if self.versions > 1:
            later = select(func.count()).where(*after, newer.c.state == complete).scalar_subquery()
            superseded = later >= self.versions
        live = and_(captures.c.state == str(CaptureState.HELD), captures.c.lease_until > self.before)
        # The last word may be that there is nothing: without it an older capture would be read as the current one.
        writer = runs.alias("writer")
        is_hole = exists().where(writer.c.run_key == captures.c.holder, writer.c.status == str(RunStatus.SKIPPED))
        return or_(live, and_(or_(captures.c.state == complete, is_hole), ~superseded))

    def _batch_is_old(self) -> tuple[ColumnElement[bool], ...]:
        return batches.c.created_at < self.before, ~self._launched_since(), batches.c.kept_at.is_(None)

    def _launched_since(self) -> ColumnElement[bool]:
        return and_(batches.c.launcher.is_not(None), batches.c.launcher_until > self.before)

    # -- forgetting, a page at a time ---------------------------------------------------------------------------------

    def _each(
        self, pages: Iterator[Sequence[Any]], forget: Callable[[Connection, Sequence[Any]], int]
    ) -> Iterator[int]:
        for page in pages:
            began = time.monotonic()
            forgotten = self.database.transaction(lambda at, page=page: forget(at, page))  # type: ignore[misc]
            yield forgotten
            if forgotten:
                time.sleep(min(time.monotonic() - began, _MOST_PAUSE_SECONDS))

    def _pages(self, place: tuple[Any, ...], *conditions: Any) -> Iterator[list[Any]]:
        """Yield the places of rows in their order, so many at a time; what is forgotten meanwhile does not matter."""
        return self.database.pages(select(*place).where(*conditions), {c.name: c for c in place}, _PAGE)

    def _run_pages(self) -> Iterator[list[Any]]:
        return self._pages((runs.c.started_at, runs.c.run_key), runs.c.started_at < self.before)

    def _forget_runs(self, at: Connection, page: Sequence[Any]) -> int:
        among = runs.c.run_key.in_([row["run_key"] for row in page])
        # Locked, so that nobody goes on with one while it is forgotten.
        going = select(runs.c.run_key).where(among, *self._run_goes()).with_for_update(of=runs)
        keys = [key for key in at.execute(going).scalars() if key not in self.needed]
        self._remember_pruned(at, captures.c.holder.in_(keys))
        for table in (steps, attempts, runs):
            at.execute(delete(table).where(table.c.run_key.in_(keys)))
        return len(keys)

    def _capture_pages(self) -> Iterator[list[Any]]:
        return self._pages((captures.c.subject, captures.c.revision), captures.c.claimed_at < self.before)

    def _forget_captures(self, at: Connection, page: Sequence[Any]) -> int:
        among = captures.c.subject.in_(sorted({row["subject"] for row in page}))
        # Runs went before: one that is left is needed, and so is its capture.
        writer = runs.alias("left")
        left = exists().where(writer.c.run_key == captures.c.holder)
        self._remember_pruned(at, and_(among, ~left))
        return at.execute(delete(captures).where(among, ~left, *self._capture_goes())).rowcount

    def _remember_pruned(self, at: Connection, among: ColumnElement[bool]) -> None:
        """Keep of captures that go, and were complete, that they were: nothing older is what was known then."""
        known_since = func.coalesce(captures.c.first_completed_at, captures.c.completed_at)
        query = (
            select(
                captures.c.subject,
                captures.c.revision,
                captures.c.capture_id,
                captures.c.workflow,
                captures.c.partition,
                runs.c.batch_id,
                known_since,
            )
            .outerjoin(runs, runs.c.run_key == captures.c.holder)
            .where(among, captures.c.workflow.is_not(None), known_since.is_not(None), *self._capture_goes())
        )
        at.execute(remember_pruned(at, query))

    def _note_pages(self) -> Iterator[list[Any]]:
        place = (launches.c.batch_id, launches.c.workflow, launches.c.partition)
        return self._pages(place, launches.c.heard_at < self.before)

    def _forget_notes(self, at: Connection, page: Sequence[Any]) -> int:
        recorded = exists().where(runs.c.batch_id == launches.c.batch_id, runs.c.partition == launches.c.partition)
        launched = exists().where(batches.c.batch_id == launches.c.batch_id, self._launched_since())
        old = (launches.c.heard_at < self.before, ~recorded, ~launched)
        forgotten = 0
        for (batch_id, workflow), rows in itertools.groupby(page, key=itemgetter("batch_id", "workflow")):
            among = launches.c.partition.in_([row["partition"] for row in rows])
            of_batch = (launches.c.batch_id == batch_id, launches.c.workflow == workflow)
            forgotten += at.execute(delete(launches).where(*of_batch, among, *old)).rowcount
        return forgotten

    def _forget_batches(self, at: Connection) -> int:
        of_run = exists().where(runs.c.batch_id == batches.c.batch_id)
        of_note = exists().where(launches.c.batch_id == batches.c.batch_id)
        return at.execute(delete(batches).where(*self._batch_is_old(), ~of_run, ~of_note)).rowcount
