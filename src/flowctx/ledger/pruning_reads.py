"""What steps have read, or are to read again: it stays as long as they do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import and_, or_, select
from sqlalchemy.engine import Connection

from flowctx.core.durability.records import Reads, RunStatus
from flowctx.core.errors import FlowctxError
from flowctx.ledger.among import chunks, is_one_of
from flowctx.ledger.artifacts import pages_of_keys
from flowctx.ledger.database import Database
from flowctx.ledger.reads import reads_in, reads_of
from flowctx.ledger.rows import damaged, stamp
from flowctx.ledger.statements import of_all_times
from flowctx.ledger.tables import INPUTS, attempts, holds, runs, steps

#: By how much the clock of who begins a run and that of the ledger, which grants its capture, may differ.
CLOCKS_DIFFER = timedelta(days=1)
#: How long it may take from the time that a transaction writes down to its end.
_COMMIT_TAKES = timedelta(minutes=1)
_SEEN = select(runs.c.run_key, runs.c.heard_at, runs.c.status)


def reads_of_staying(at: Connection, database: Database, goes: Any) -> set[str]:
    """Return the keys of the runs that those that stay have read, or are to read again.

    Args:
        at: The connection, in a transaction.
        database: The database.
        goes: The condition that a run goes.
    """
    found: set[str] = set()

    def staying(keys: list[str]) -> list[str]:
        query = select(runs.c.run_key).where(is_one_of(database, runs.c.run_key, keys), ~goes)
        return list(at.execute(query).scalars())

    for keys in pages_of_keys(at, steps.c.run_key, holds(at.dialect.name, "payload", INPUTS)):
        found |= _of_steps(at, database, staying(keys))
    for status in RunStatus:  # one after the other: of several, SQLite would look through all runs
        if status is RunStatus.OK:  # which does not go on
            continue
        again = dict(map(tuple, at.execute(_again(*of_all_times(runs.c.status, str(status))))))
        for keys in chunks(sorted(again)):
            found |= _read(((key, again[key]) for key in staying(keys)), _reads_again)
    return found


def reads_of_runs(at: Connection, database: Database, run_keys: Collection[str]) -> set[str]:
    """Return the keys of the runs that some runs have read, or are to read again."""
    found: set[str] = set()
    for keys in chunks(sorted(run_keys)):
        not_over = (is_one_of(database, runs.c.run_key, keys), runs.c.status != str(RunStatus.OK))
        found |= _of_steps(at, database, keys) | _read(at.execute(_again(*not_over)), _reads_again)
    return found


class ReadsBeside:
    """What is read beside a prune, by runs that are under way or were since it began.

    Args:
        database: The database.
        begun: When the prune began.
    """

    def __init__(self, database: Database, begun: datetime) -> None:
        self._database, self._begun, self._looked_at = database, begun, begun
        #: Runs that were over when they were looked at, and when they were heard of.
        self._over: set[tuple[str, str]] = set()
        #: Runs that were under way then.
        self._running: set[str] = set()

    @contextmanager
    def look(self, at: Connection) -> Iterator[set[str]]:
        """Give the keys of the runs that were read since the last look; if the block fails, the next one has them too.

        What is under way has recorded it, or is looked at again.
        """
        now = self._database.now(at)
        live = or_(runs.c.lease_until.is_(None), runs.c.lease_until >= stamp(self._begun))
        running = (*of_all_times(runs.c.status, str(RunStatus.RUNNING)), live)
        under_way = set(at.execute(select(runs.c.run_key).where(*running)).scalars())
        began = runs.c.started_at >= stamp(self._begun - CLOCKS_DIFFER)
        heard = runs.c.heard_at >= stamp(self._looked_at - _COMMIT_TAKES)
        keys, over = self._running | under_way, set[tuple[str, str]]()
        for run_key, heard_at, status in at.execute(_SEEN.where(began, heard)):
            if (run_key, heard_at) not in self._over:
                keys.add(run_key)
            if status != str(RunStatus.RUNNING):
                over.add((run_key, heard_at))
        yield reads_of_runs(at, self._database, keys)
        self._looked_at, self._over, self._running = now, over, under_way


def _of_steps(at: Connection, database: Database, run_keys: list[str]) -> set[str]:
    """Return the keys of the runs that steps of some runs have read."""
    reading = holds(at.dialect.name, "payload", INPUTS)
    query = select(steps.c.run_key, steps.c.payload).where(reading, is_one_of(database, steps.c.run_key, run_keys))
    return _read(at.execute(query), lambda payload: [reads_of(msgspec.json.decode(payload).get("inputs") or {})])


def _again(*conditions: Any) -> Any:
    """Return the query for what steps of runs are to read again, of those runs that conditions hold of."""
    latest = and_(attempts.c.run_key == runs.c.run_key, attempts.c.attempt == runs.c.attempt)
    query = select(runs.c.run_key, attempts.c.reads).join_from(runs, attempts, latest)
    return query.where(attempts.c.reads.is_not(None), *conditions)


def _reads_again(text: str) -> Iterable[Reads]:
    return reads_in(text).values()


def _read(rows: Iterable[Any], parse: Callable[[str], Iterable[Reads]]) -> set[str]:
    """Return the keys of the runs that were read, by runs and what is recorded of that."""
    found: set[str] = set()
    for run_key, text in rows:
        try:
            found.update(read.run_key for reads in parse(text) for some in reads.values() for read in some)
        except (FlowctxError, AttributeError, TypeError, ValueError) as exc:
            raise damaged(f"what the ledger holds of what a step of run {run_key} has read", exc) from exc
    return found
