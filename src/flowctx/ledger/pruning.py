"""Forget old runs, captures and batches, but never what is still current: so many rows in a transaction.

A run beside it waits for one such transaction at most, a second or less, and is let in before the next one.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import and_, delete, exists, func, or_, select
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ColumnElement

from flowctx.core.durability.records import CaptureState, Pruned, RunStatus
from flowctx.core.errors import noting
from flowctx.ledger.among import chunks, is_one_of
from flowctx.ledger.artifacts import rolled_back
from flowctx.ledger.database import Database
from flowctx.ledger.pruning_reads import ReadsBeside, reads_of_runs, reads_of_staying
from flowctx.ledger.rows import stamp
from flowctx.ledger.statements import remember_pruned
from flowctx.ledger.tables import attempts, batches, captures, launches, runs, steps

#: How many rows are forgotten in one transaction at most, and how many at least.
MOST, _LEAST = 1000, 50
#: How long a transaction may take; the next one forgets as much as fits. Many short ones cost a file more.
_SECONDS = 1.0
#: For how long at most others are let into a file after a transaction; it is as long as the transaction was.
_MOST_PAUSE_SECONDS = 0.5

_Row: TypeAlias = Any


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
    #: When it began: what was current then stays, since what is recorded beside it may be built from that.
    begun: str | None = None

    def to_the_end(self) -> Pruned:
        """Forget, and return how much."""
        # In a transaction: in a file, all that was written by then is there.
        begun = self.database.transaction(self.database.now)
        return self._replace(begun=stamp(begun))._to_the_end(ReadsBeside(self.database, begun))

    def _to_the_end(self, beside: ReadsBeside) -> Pruned:
        gone: Counter[str] = Counter()
        # What was under way before it was asked what is needed is looked at again when that is over.
        needed = self.database.autocommit(lambda at: self._look_beside(at, set(), beside))
        needed |= self.database.autocommit(self.runs_needed)
        self.database.autocommit(lambda at: self._look_beside(at, needed, beside))
        with noting(lambda: f"forgot before that: {_pruned(gone).amounts}" if gone.total() else ""):
            forget = functools.partial(self._forget_runs, needed=needed, beside=beside)
            self._a_little_at_a_time(self._runs_to_forget(needed), forget, gone)
            self._a_little_at_a_time(self._captures_to_forget(), self._forget_captures, gone)
            self._a_little_at_a_time(self._notes_to_forget(), self._forget_notes, Counter())
            gone["batches"] = self.database.transaction(self._forget_batches)
        return _pruned(gone)

    # -- what goes ----------------------------------------------------------------------------------------------------

    def runs_needed(self, at: Connection) -> set[str]:
        """Return the runs that would go, but were read by what stays, or are to be read again, however far."""
        found: set[str] = set()
        with rolled_back(at):
            self._add_needed(at, found, reads_of_staying(at, self.database, and_(*self.run_goes())))
        return found

    def _look_beside(self, at: Connection, found: set[str], beside: ReadsBeside) -> set[str]:
        """Add the runs that would go, but were read beside this since it was last looked."""
        with beside.look(at) as read:
            self._add_needed(at, found, read)
        return found

    def _add_needed(self, at: Connection, found: set[str], read: set[str]) -> None:
        """Add those of the runs that were read that would go, and what those have read that would, however far."""
        goes = self.run_goes()
        while read := read - found:
            new: list[str] = []
            for keys in chunks(sorted(read)):
                going = select(runs.c.run_key).where(is_one_of(self.database, runs.c.run_key, keys), *goes)
                new += at.execute(going).scalars()
            found.update(new)
            read = reads_of_runs(at, self.database, new)

    def run_goes(self) -> tuple[ColumnElement[bool], ...]:
        """Return the conditions that a run goes, unless something that stays has read it."""
        written = exists().where(captures.c.holder == runs.c.run_key, self.capture_stays())
        return *self.run_is_old(), ~self.run_is_live(), ~written, ~self.run_is_kept()

    def run_is_old(self) -> tuple[ColumnElement[bool], ...]:
        """Return the conditions that nothing was heard of a run since the time."""
        # Nothing was heard of it before it began, and for that there is an index.
        return runs.c.started_at < self.before, runs.c.heard_at < self.before

    def run_is_live(self) -> ColumnElement[bool]:
        """Return the condition that a run is under way, as far as is known; of a part, no capture says so."""
        until = runs.c.lease_until
        return and_(runs.c.status == str(RunStatus.RUNNING), until.is_not(None), until > self.before)

    def run_is_kept(self) -> ColumnElement[bool]:
        """Return the condition that a run's batch is kept."""
        return exists().where(batches.c.batch_id == runs.c.batch_id, batches.c.kept_at.is_not(None))

    def _capture_goes(self) -> tuple[ColumnElement[bool], ...]:
        writer = runs.alias("keeper")
        kept = exists().where(
            writer.c.run_key == captures.c.holder,
            batches.c.batch_id == writer.c.batch_id,
            batches.c.kept_at.is_not(None),
        )
        return self._capture_is_old(), ~self.capture_stays(), ~kept

    def _capture_is_old(self) -> ColumnElement[bool]:
        """Return the condition that a capture was granted or let go before the time, for captures of some holders."""
        # As it is, PostgreSQL might look through the index of all that are as old, too.
        return captures.c.claimed_at + "" < self.before

    def capture_stays(self) -> ColumnElement[bool]:
        """Return the condition that a capture stays, and so does its run."""
        newer = captures.alias("newer")
        complete = str(CaptureState.COMPLETE)
        after = [newer.c.subject == captures.c.subject, newer.c.revision > captures.c.revision]
        after.append(newer.c.state == complete)
        if self.begun is not None:
            after.append(newer.c.completed_at <= self.begun)
        superseded: ColumnElement[bool] = exists().where(*after)
        if self.versions > 1:
            later = select(func.count()).where(*after).scalar_subquery()
            superseded = later >= self.versions
        return or_(self.capture_is_live(), and_(self.capture_tells(), ~superseded))

    def capture_is_live(self) -> ColumnElement[bool]:
        """Return the condition that a capture is written, as far as is known."""
        return and_(captures.c.state == str(CaptureState.HELD), captures.c.lease_until > self.before)

    def capture_tells(self) -> ColumnElement[bool]:
        """Return the condition that a capture tells what there is or was, or that there is or was nothing."""
        # Where that is the last word, an older one would be current without it, or what is older and current now would
        # not be what is known to be so now: of what is pruned, nobody knows until when it was there.
        return or_(captures.c.completed_at.is_not(None), captures.c.first_completed_at.is_not(None))

    def batch_is_old(self) -> tuple[ColumnElement[bool], ...]:
        """Return the conditions that a batch goes with the last of its runs and notes."""
        return batches.c.created_at < self.before, ~self._launched_since(), batches.c.kept_at.is_(None)

    def _launched_since(self) -> ColumnElement[bool]:
        return and_(batches.c.launcher.is_not(None), batches.c.launcher_until > self.before)

    # -- forgetting, a little at a time -------------------------------------------------------------------------------

    def _a_little_at_a_time(
        self,
        pages: Iterator[list[_Row]],
        forget: Callable[[Connection, list[_Row]], Mapping[str, int]],
        gone: Counter[str],
    ) -> None:
        """Forget what pages have, so much in a transaction as takes a moment, and count how much of what is gone."""
        size = MOST
        for page in pages:
            while page:
                some, page = page[:size], page[size:]
                began = time.monotonic()
                gone.update(self.database.transaction(lambda at, some=some: forget(at, some)))  # type: ignore[misc]
                took = time.monotonic() - began
                size = max(_LEAST, min(MOST, int(len(some) * _SECONDS / took)))
                if self.database.sqlite:  # where nobody else can write meanwhile, and who waits looks again and again
                    time.sleep(min(took, _MOST_PAUSE_SECONDS))

    def _pages(self, place: tuple[Any, ...], *conditions: Any) -> Iterator[list[_Row]]:
        """Yield the places of rows in their order, so many at a time; what is forgotten meanwhile does not matter."""
        return self.database.pages(select(*place).where(*conditions), {c.name: c for c in place}, MOST)

    def _runs_to_forget(self, needed: set[str]) -> Iterator[list[_Row]]:
        """Yield pages of what goes: of most pages nothing does, and no transaction begins for that."""
        for page in self._pages((runs.c.started_at, runs.c.run_key), runs.c.started_at < self.before):
            keys = [row["run_key"] for row in page]
            found = self.database.rows(
                select(runs.c.run_key).where(is_one_of(self.database, runs.c.run_key, keys), *self.run_goes())
            )
            yield [row for row in found if row["run_key"] not in needed]

    def _forget_runs(
        self, at: Connection, page: list[_Row], *, needed: set[str], beside: ReadsBeside
    ) -> Mapping[str, int]:
        self._look_beside(at, needed, beside)
        going_still = [row["run_key"] for row in page if row["run_key"] not in needed]
        among = is_one_of(self.database, runs.c.run_key, going_still)
        # Locked, so that nobody goes on with one while it is forgotten.
        going = select(runs.c.run_key).where(among, *self.run_goes()).with_for_update(of=runs)
        keys = list(at.execute(going).scalars())
        # None of their captures is one that stays, or they would.
        own = (is_one_of(self.database, captures.c.holder, keys), self._capture_is_old())
        self._remember_pruned(at, is_one_of(self.database, captures.c.holder, keys))
        gone = at.execute(delete(captures).where(*own)).rowcount
        for table in (steps, attempts, runs):
            at.execute(delete(table).where(is_one_of(self.database, table.c.run_key, keys)))
        return {"runs": len(keys), "captures": gone}

    def _captures_to_forget(self) -> Iterator[list[_Row]]:
        """Yield pages of what has lost its run, found by an index: those of runs that go went with them."""
        lost = select(captures.c.holder).where(~_has_run()).distinct()
        return self.database.pages(lost, {"holder": captures.c.holder}, MOST)

    def _forget_captures(self, at: Connection, page: list[_Row]) -> Mapping[str, int]:
        among = is_one_of(self.database, captures.c.holder, [row["holder"] for row in page])
        self._remember_pruned(at, and_(among, ~_has_run()))
        goes = (self._capture_is_old(), ~self.capture_stays())
        return {"captures": at.execute(delete(captures).where(among, ~_has_run(), *goes)).rowcount}

    def _remember_pruned(self, at: Connection, among: ColumnElement[bool]) -> None:
        """Keep of captures that go, and were complete, that they were: nothing older is what was known then.

        With their batch, in which the partition is done: something newer is current.
        """
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
                func.coalesce(captures.c.completed_at, captures.c.claimed_at),
            )
            .outerjoin(runs, runs.c.run_key == captures.c.holder)
            .where(among, captures.c.workflow.is_not(None), known_since.is_not(None), *self._capture_goes())
        )
        at.execute(remember_pruned(at, query))

    def _notes_to_forget(self) -> Iterator[list[_Row]]:
        place = (launches.c.batch_id, launches.c.workflow, launches.c.partition)
        return self._pages(place, *self._note_goes())

    def _note_goes(self) -> tuple[ColumnElement[bool], ...]:
        recorded = exists().where(runs.c.batch_id == launches.c.batch_id, runs.c.partition == launches.c.partition)
        launched = exists().where(batches.c.batch_id == launches.c.batch_id, self._launched_since())
        return launches.c.heard_at < self.before, ~recorded, ~launched

    def _forget_notes(self, at: Connection, page: list[_Row]) -> Mapping[str, int]:
        forgotten = 0
        for (batch_id, workflow), rows in itertools.groupby(page, key=itemgetter("batch_id", "workflow")):
            among = is_one_of(self.database, launches.c.partition, [row["partition"] for row in rows])
            of_batch = (launches.c.batch_id == batch_id, launches.c.workflow == workflow)
            forgotten += at.execute(delete(launches).where(*of_batch, among, *self._note_goes())).rowcount
        return {"notes": forgotten}

    def _forget_batches(self, at: Connection) -> int:
        of_run = exists().where(runs.c.batch_id == batches.c.batch_id)
        of_note = exists().where(launches.c.batch_id == batches.c.batch_id)
        return at.execute(delete(batches).where(*self.batch_is_old(), ~of_run, ~of_note)).rowcount


def _pruned(gone: Counter[str]) -> Pruned:
    return Pruned(runs=gone["runs"], captures=gone["captures"], batches=gone["batches"])


def _has_run() -> ColumnElement[bool]:
    """Return the condition that the run of a capture is still there."""
    writer = runs.alias("left")
    return exists().where(writer.c.run_key == captures.c.holder)
