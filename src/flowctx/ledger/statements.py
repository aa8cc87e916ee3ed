"""Statements that SQLAlchemy writes differently for SQLite and for PostgreSQL; each is made once."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Integer,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.engine import Connection

from flowctx.ledger.tables import artifacts, attempts, captures, pruned_captures, runs, steps


def put(at: Connection, table: Table) -> Any:
    """Return the statement that inserts a row of a table, or replaces it."""
    return _put(at.dialect.name, table)


def add(at: Connection, table: Table) -> Any:
    """Return the statement that inserts a row of a table, or does nothing if it is there."""
    return _add(at.dialect.name, table)


def remember_pruned(at: Connection, query: Any) -> Any:
    """Return the statement that remembers what a query finds of pruned captures; what is remembered stays as it is.

    Of a capture that was made again, its batch is added, and when it was complete last.
    """
    columns = [column.name for column in pruned_captures.c]
    statement = _insert(at.dialect.name, pruned_captures).from_select(columns, query)
    batch_id = func.coalesce(pruned_captures.c.batch_id, statement.excluded.batch_id)
    again = {"batch_id": batch_id, "last_completed_at": statement.excluded.last_completed_at}
    return statement.on_conflict_do_update(index_elements=["subject", "revision"], set_=again)


@functools.cache
def find_artifact() -> Any:
    """Return the query for the stored tables of a ``digest`` and a ``form``, the newest first."""
    content = (artifacts.c.digest == bindparam("digest"), artifacts.c.form == bindparam("form"))
    newest = select(artifacts.c.path, artifacts.c.reference).where(*content, artifacts.c.removed_at.is_(None))
    return newest.order_by(artifacts.c.intended_at.desc())


def intend_artifact(at: Connection) -> Any:
    """Return the statement that notes that a file is about to be referred to; it touches no row if that is released."""
    statement = _insert(at.dialect.name, artifacts)
    return statement.on_conflict_do_update(
        index_elements=["path"],
        set_={"intended_at": statement.excluded.intended_at},
        where=artifacts.c.removed_at.is_(None),
    ).execution_options(preserve_rowcount=True)


def release_artifact(at: Connection, before: str) -> Any:
    """Return the statement that notes that a file is removed, unless somebody was about to refer to it since a time."""
    statement = _insert(at.dialect.name, artifacts)
    return statement.on_conflict_do_update(
        index_elements=["path"],
        set_={"removed_at": statement.excluded.removed_at},
        where=artifacts.c.intended_at < before,
    )


def record_step(at: Connection) -> Any:
    """Return the statement that puts a step's row if ``fence`` is still the run's; otherwise it touches no row.

    One statement, so that there is no moment between the look at the fence and the write. In PostgreSQL it also locks
    the run's row against whoever is about to take the run over.
    """
    return _record_step(at.dialect.name)


@functools.cache
def put_all(table: Table) -> Any:
    """Return the statement of PostgreSQL's that puts all ``rows``, one JSON text, as :func:`put` puts one.

    A statement for each row costs the driver and the server several times as much.
    """
    columns = table.c.keys()
    rows = _json_rows(*table.c)
    chosen = select(*(rows.c[name] for name in columns))
    return _replacing(_insert("postgresql", table).from_select(columns, chosen), table)


@functools.cache
def record_all() -> Any:
    """Return the statement of PostgreSQL's that does for all ``rows``, one JSON text, what :func:`record_step` does.

    The run of each is looked up by its key: in a join, the plan that is good for an empty table would stay for a while.
    """
    columns = steps.c.keys()
    rows = _json_rows(*steps.c, runs.c.fence)
    owned = (runs.c.run_key == rows.c.run_key, runs.c.fence == rows.c.fence)
    locked = select(literal_column("1").label("owned")).where(*owned).with_for_update(read=True).lateral()
    chosen = select(*(rows.c[name] for name in columns)).join(locked, true())
    return _replacing(_insert("postgresql", steps).from_select(columns, chosen), steps)


def _json_rows(*columns: Column[Any]) -> Any:
    """Return the rows of a JSON text as a table with some columns."""
    typed = [column(one.name, Text if isinstance(one.type, Text) else one.type) for one in columns]
    read = func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
    return read.table_valued(*typed).render_derived(name="json_rows", with_types=True)


@functools.cache
def find_run() -> Any:
    """Return the query for the run of a ``run_key`` with what the first step of its latest attempt saw."""
    return with_context().where(runs.c.run_key == bindparam("run_key"))


@functools.cache
def find_steps() -> Any:
    """Return the query for the recorded steps of the run of a ``run_key`` in the order in which they began."""
    return select(steps).where(steps.c.run_key == bindparam("run_key")).order_by(steps.c.started_at)


@functools.cache
def find_statuses() -> Any:
    """Return the query for how the recorded steps of the run of a ``run_key`` ended."""
    return select(steps.c.step, steps.c.status).where(steps.c.run_key == bindparam("run_key"))


@functools.cache
def find_runs_of(count: int) -> Any:
    """Return the query for those of so many :func:`numbered` keys that runs have."""
    return select(runs.c.run_key).where(runs.c.run_key.in_(_numbers(count)))


@functools.cache
def find_rivals_of(count: int) -> Any:
    """Return the query for all captures of so many :func:`numbered` subjects."""
    return select(captures).where(captures.c.subject.in_(_numbers(count)))


@functools.cache
def find_pruned_of(count: int) -> Any:
    """Return the query for what was pruned of so many :func:`numbered` subjects, and captures.

    Of each subject ("n") that is what comes after a revision ("after") of its own, and the capture ("c") that is named.
    """
    pruned, each = pruned_captures.c, zip(_numbers(count), _numbers(count, "after", Integer), strict=True)
    later = or_(*(and_(pruned.subject == subject, pruned.revision > after) for subject, after in each))
    named = pruned.capture_id.in_(_numbers(count, "c"))
    columns = (pruned.subject, pruned.capture_id, pruned.revision, pruned.completed_at)
    return union_all(*(select(*columns).where(which) for which in (later, named)))


def numbered(values: Iterable[Any], name: str = "n") -> dict[str, Any]:
    """Return values by the names that they have in a statement that takes many."""
    return {f"{name}{number}": value for number, value in enumerate(values)}


def _numbers(count: int, name: str = "n", type_: Any = Text) -> list[Any]:
    return [bindparam(f"{name}{number}", type_=type_) for number in range(count)]


@functools.cache
def lock_subject() -> Any:
    """Return the statement that waits for the lock of a ``subject`` in PostgreSQL, until the transaction ends."""
    return select(
        func.pg_advisory_xact_lock(func.hashtextextended(bindparam("subject", type_=Text), literal_column("0")))
    )


@functools.cache
def lock_all() -> Any:
    """Return the statement that waits for the locks of the subjects in ``rows``, one JSON text, in their order."""
    subject = _json_rows(captures.c.subject).c.subject
    return select(func.pg_advisory_xact_lock(func.hashtextextended(subject, literal_column("0"))))


@functools.cache
def end_run() -> Any:
    """Return the statement that says how the run of a ``key`` ended, if ``token`` is still its fence."""
    ended: dict[str, Any] = {
        name: bindparam(name) for name in ("status", "error", "finished_at", "heard_at", "lease_until")
    }
    return update(runs).where(runs.c.run_key == bindparam("key"), runs.c.fence == bindparam("token")).values(**ended)


@functools.cache
def settle_capture() -> Any:
    """Return the statement that ends the writing of a capture, if ``key`` is still the run that holds it.

    What says so already says since when; what was there and is something else now, says since and until when it was.
    Where it can be read then, too, it counts as granted once more: it was there twice.
    """
    captured = (captures.c.subject == bindparam("of_subject"), captures.c.capture_id == bindparam("of_capture"))
    state, now, known = (cast(bindparam(name), Text) for name in ("state", "lease_until", "completed_at"))
    was, first = captures.c.completed_at, captures.c.first_completed_at
    same = and_(captures.c.state == state, was.is_not(None), known.is_not(None))
    otherwise = and_(captures.c.state != state, was.is_not(None), known.is_not(None))
    changed: dict[str, Any] = {
        "state": state,
        "token": case((otherwise, captures.c.token + literal_column("1")), else_=captures.c.token),
        "lease_until": now,
        "completed_at": case((same, was), else_=known),
        "first_completed_at": case((same, first), else_=func.coalesce(first, was)),
        "claimed_at": case((or_(was.is_(None), same), captures.c.claimed_at), else_=now),
    }
    return update(captures).where(captures.c.holder == bindparam("key"), *captured).values(**changed)


def with_context() -> Any:
    """Return the query for runs with what the first step of their latest attempt saw."""
    latest = and_(attempts.c.run_key == runs.c.run_key, attempts.c.attempt == runs.c.attempt)
    return select(runs, attempts.c.context, attempts.c.digest, attempts.c.reads).join(attempts, latest)


def of_all_times(column: Any, value: str) -> tuple[Any, Any]:
    """Return the conditions that a column of runs is equal to a value, for a query in the order of both.

    Where the column were fixed, PostgreSQL would also think of reading all runs in the order of their starts, until it
    has found enough that fit; of an old batch these are nearly all.
    """
    place = tuple_(column, runs.c.started_at)
    return place >= tuple_(literal(value), literal("")), place <= tuple_(literal(value), literal("9999"))


@functools.cache
def _add(dialect: str, table: Table) -> Any:
    return _insert(dialect, table).on_conflict_do_nothing()


@functools.cache
def _put(dialect: str, table: Table) -> Any:
    return _replacing(_insert(dialect, table), table)


@functools.cache
def _record_step(dialect: str) -> Any:
    values = [bindparam(column.name, type_=column.type).label(column.name) for column in steps.c]
    owned = (runs.c.run_key == bindparam("run_key"), runs.c.fence == bindparam("fence"))
    chosen = select(*values).select_from(runs).where(*owned).with_for_update(read=True)
    return _replacing(_insert(dialect, steps).from_select([column.name for column in steps.c], chosen), steps)


def _insert(dialect: str, table: Table) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql as kind  # which brings six drivers, for nobody who has a file
    else:
        from sqlalchemy.dialects import sqlite as kind  # type: ignore[no-redef]
    return kind.insert(table)


def _replacing(statement: Any, table: Table) -> Any:
    keys = [column.name for column in table.primary_key]
    rest = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    replacing = statement.on_conflict_do_update(index_elements=keys, set_=rest)
    # SQLAlchemy does not ask the driver how many rows an INSERT has touched, unless it is told to.
    return replacing.execution_options(preserve_rowcount=True)


def streamed(at: Connection, query: Any) -> Any:
    """Run a query within a transaction, and return rows that are not in memory all at once.

    psycopg2 is the exception: its cursors on the server know nothing of a transaction that was begun by a statement.
    """
    streams = at.dialect.driver != "psycopg2"
    return at.execute(query.execution_options(yield_per=1000) if streams else query)
