"""Forget old runs, captures and batches, but never what is still current: so many rows in a transaction.

A run beside it waits for one such transaction at most, and is let in before the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, delete, exists, func, literal, or_, select, tuple_
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ColumnElement

from flowctx.core.durability.records import CaptureState, Pruned, RunStatus
from flowctx.ledger.artifacts import referred_paths, rolled_back
from flowctx.ledger.database import Database
from flowctx.ledger.statements import remember_pruned
from flowctx.ledger.tables import attempts, batches, captures, launches, runs, steps

#: How many rows are looked at in one transaction.
_PAGE = 1000
#: For how long at most others are let in after a transaction; it is as long as the transaction was.
_MOST_PAUSE_SECONDS = 0.5


class Pruning(NamedTuple):
    """Forgets what was last heard of before a time.

    A run stays if it wrote the current capture of its subject, or if its lease still runs at that time; a batch stays
    as long as a run or a note of one of its partitions does, or if somebody has launched it since.
    """

    database: Database
    #: The time, as rows have it.
    before: str

    def to_the_end(self) -> Pruned:
        """Forget, and return how much."""
        gone_runs = sum(self._each(self._run_pages(), self._forget_runs))
        gone_captures = sum(self._each(self._capture_pages(), self._forget_captures))
        sum(self._each(self._note_pages(), self._forget_notes))
        return Pruned(runs=gone_runs, captures=gone_captures, batches=self.database.transaction(self._forget_batches))

    def would(self, at: Connection) -> tuple[Pruned, set[str]]:
        """Return what would be forgotten, and which artifacts would still be referred to; nothing is written."""

        def count(*conditions: Any) -> int:
            return int(at.execute(select(func.count()).where(*conditions)).scalar_one())

        with rolled_back(at):
            goes = and_(*self._run_goes())
            young = exists().where(launches.c.batch_id == batches.c.batch_id, launches.c.heard_at >= self.before)
            staying = exists().where(runs.c.batch_id == batches.c.batch_id, ~goes)
            pruned = Pruned(
                runs=count(goes),
                captures=count(*self._capture_goes()),
                batches=count(*self._batch_is_old(), ~young, ~staying),
            )
            return pruned, referred_paths(at, select(runs.c.run_key).where(~goes))

    # -- what goes ----------------------------------------------------------------------------------------------------

    def _run_goes(self) -> tuple[ColumnElement[bool], ...]:
        written = exists().where(captures.c.holder == runs.c.run_key, self._capture_stays())
        return runs.c.heard_at < self.before, ~written

    def _capture_goes(self) -> tuple[ColumnElement[bool], ...]:
        return captures.c.claimed_at < self.before, ~self._capture_stays()

    def _capture_stays(self) -> ColumnElement[bool]:
        newer = captures.alias("newer")
        complete = str(CaptureState.COMPLETE)
        superseded = exists().where(
            newer.c.subject == captures.c.subject,
            newer.c.revision > captures.c.revision,
            newer.c.state == complete,
        )
        live = and_(captures.c.state == str(CaptureState.HELD), captures.c.lease_until > self.before)
        # The last word may be that there is nothing: without it an older capture would be read as the current one.
        writer = runs.alias("writer")
        is_hole = exists().where(writer.c.run_key == captures.c.holder, writer.c.status == str(RunStatus.SKIPPED))
        return or_(live, and_(or_(captures.c.state == complete, is_hole), ~superseded))

    def _batch_is_old(self) -> tuple[ColumnElement[bool], ...]:
        return batches.c.created_at < self.before, ~self._launched_since()

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
        # Nothing was heard of a run before it began, and for that there is an index.
        return self._pages((runs.c.started_at, runs.c.run_key), runs.c.started_at < self.before)

    def _forget_runs(self, at: Connection, page: Sequence[Any]) -> int:
        among = runs.c.run_key.in_([row["run_key"] for row in page])
        # Locked, so that nobody goes on with one while it is forgotten.
        going = select(runs.c.run_key).where(among, *self._run_goes()).with_for_update(of=runs)
        keys = list(at.execute(going).scalars())
        self._remember_pruned(at, captures.c.holder.in_(keys))
        for table in (steps, attempts, runs):
            at.execute(delete(table).where(table.c.run_key.in_(keys)))
        return len(keys)

    def _capture_pages(self) -> Iterator[list[Any]]:
        return self._pages((captures.c.subject, captures.c.revision))

    def _forget_captures(self, at: Connection, page: Sequence[Any]) -> int:
        among = captures.c.subject.between(page[0]["subject"], page[-1]["subject"])
        self._remember_pruned(at, among)
        return at.execute(delete(captures).where(among, *self._capture_goes())).rowcount

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
        return self._pages((launches.c.batch_id, launches.c.partition))

    def _forget_notes(self, at: Connection, page: Sequence[Any]) -> int:
        first, last = (tuple_(literal(row["batch_id"]), literal(row["partition"])) for row in (page[0], page[-1]))
        place = tuple_(launches.c.batch_id, launches.c.partition)
        recorded = exists().where(runs.c.batch_id == launches.c.batch_id, runs.c.partition == launches.c.partition)
        launched = exists().where(batches.c.batch_id == launches.c.batch_id, self._launched_since())
        old = (launches.c.heard_at < self.before, ~recorded, ~launched)
        return at.execute(delete(launches).where(place >= first, place <= last, *old)).rowcount

    def _forget_batches(self, at: Connection) -> int:
        of_run = exists().where(runs.c.batch_id == batches.c.batch_id)
        of_note = exists().where(launches.c.batch_id == batches.c.batch_id)
        return at.execute(delete(batches).where(*self._batch_is_old(), ~of_run, ~of_note)).rowcount
