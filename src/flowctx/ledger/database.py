"""One connection to a database that may go away: opened when first used and when lost, never shared with a fork.

Everything runs in autocommit mode and says ``BEGIN`` itself where it needs more than one statement: a step is recorded
by one statement, and so by one round trip and one commit.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine, event, literal, tuple_
from sqlalchemy.engine import Connection
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from flowctx.core.clock import Clock
from flowctx.core.errors import ContextError, FlowctxError, LedgerError, LedgerUnavailable, LedgerVersionError
from flowctx.core.masking import mask_text
from flowctx.ledger import schema, sqlite_file
from flowctx.ledger.database_errors import DatabaseErrors, no_driver
from flowctx.ledger.driver import execute
from flowctx.ledger.ledger_urls import ledger_url
from flowctx.ledger.refusals import no_ledger
from flowctx.ledger.storable import storable
from flowctx.ledger.tables import REVISION

_T = TypeVar("_T")

#: In the URL of a PgBouncer whose connections are for a transaction: pgbouncer=true.
_POOLED = "pgbouncer"

#: How long SQLite itself waits for another process's lock before it says that the file is locked.
SQLITE_WAIT_SECONDS = 10

#: How libpq notices that a server is gone although nothing says so.
_POSTGRES = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

#: A server that has not seen that we were cut off would keep our own locks from us; and to compile a question may
#: take it longer than to answer it. Who waits for another's claim is to see it then, whatever level a server prefers.
_SETTINGS = (
    "idle_in_transaction_session_timeout = '10s'",
    "lock_timeout = '15s'",
    "jit = off",
    "default_transaction_isolation = 'read committed'",
)

#: How long a connection to a server is kept that nothing uses.
_UNUSED_SECONDS = 1.0
#: How long the server's time is known from one look at it.
_TIME_IS_GOOD_SECONDS = 60.0

#: Connections inherited from a parent process: to close them here would release the parent's locks, so nobody may.
_inherited: list[Connection] = []


class Database:
    """A database that a ledger is in.

    Args:
        url: As SQLAlchemy takes it; ``postgresql://`` means psycopg, with SQLAlchemy 1.4 psycopg2.
        patience_seconds: How long to try again when the database was there and is gone.
        clock: Another clock than the database's.
        make: Make the tables where there are none yet; otherwise that is an error.

    Raises:
        ContextError: It is no URL of a SQLite or PostgreSQL database.
    """

    def __init__(self, url: str, patience_seconds: float, clock: Clock | None = None, *, make: bool = True) -> None:
        parsed = ledger_url(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self.url = parsed
        self._pooled = parsed.query.get(_POOLED) == "true"
        self.shown = mask_text(parsed.render_as_string(hide_password=True))
        self._errors = DatabaseErrors(self.shown, Path(str(parsed.database)) if self.sqlite else None)
        self._clock = clock
        self._make = make
        self._time: tuple[datetime, float] | None = None
        self._used_at = 0.0
        self._watched = False
        self._patience_seconds = patience_seconds
        self._connection: Connection | None = None
        self._was_there = False
        self._lock = threading.RLock()
        self._pid = os.getpid()
        #: Called before each call, without the lock: writes what the call is to find.
        self.before_call: Callable[[], None] = lambda: None
        #: How long the last transaction waited for others, and for the disk.
        self.waited_seconds = 0.0
        #: More settings of each connection to PostgreSQL.
        self.settings: tuple[str, ...] = ()

    # -- calls ----------------------------------------------------------------------------------------------------

    def autocommit(self, work: Callable[[Connection], _T]) -> _T:
        """Call ``work`` with a connection on which each statement is a transaction."""
        return self._patiently(work)

    def transaction(self, work: Callable[[Connection], _T]) -> _T:
        """Call ``work`` inside one transaction; it is called again if the database was lost meanwhile."""

        def in_transaction(connection: Connection) -> _T:
            with self._transaction(connection):
                return work(connection)

        return self._patiently(in_transaction)

    def rows(self, query: Any, values: Mapping[str, Any] | None = None) -> list[Any]:
        """Return the rows of a query, by the names of their columns.

        Args:
            query: The query.
            values: Its values, if it is made once and names them: see :func:`~flowctx.ledger.driver.execute`.
        """

        def work(at: Connection) -> list[Any]:
            found: Any = execute(at, query, values) if values is not None else at.execute(query)
            names = tuple(found.keys())
            # A mapping of SQLAlchemy's is read slowly, and so are rows that are fetched one by one.
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

        return self._read(work)

    def tuples(self, query: Any) -> list[Any]:
        """Return the rows of a query as tuples, which takes half as long."""
        return self._read(lambda at: list(at.execute(query).fetchall()))

    def _read(self, work: Callable[[Connection], _T]) -> _T:
        """Call what only reads; behind a pooler, settings are made within a transaction only."""
        return self.transaction(work) if self._pooled else self.autocommit(work)

    def pages(
        self, query: Any, place: Mapping[str, Any], size: int, read: Callable[[Any], list[Any]] | None = None
    ) -> Iterator[list[Any]]:
        """Yield the rows of a query in the order of their places, so many at a time; each page is read anew.

        Args:
            query: The query, without an order.
            place: What no two rows have in common: columns, by their names in the rows.
            size: How many rows a page has.
            read: Reads rows, such as :meth:`tuples`; then the query has the place in its first columns.
        """
        columns = tuple(place.values())
        query = query.order_by(*columns).limit(size)
        names = list(place) if read is None else range(len(place))
        read = read or self.rows
        page = read(query)
        while page:
            yield page
            last = tuple_(*(literal(page[-1][name]) for name in names))
            page = read(query.where(tuple_(*columns) > last)) if len(page) == size else []

    def upgrade(self) -> str | None:
        """Bring the schema to the newest revision, and return the one that was there."""

        def work(connection: Connection) -> str | None:
            with self._transaction(connection):
                self._take_turns(connection)
                before = schema.revision_of(connection)
                schema.upgrade(connection, self.shown)
            return before

        return self._patiently(work, check=False)

    def revision(self) -> str | None:
        """Return the revision of the schema that is there, and make none.

        Raises:
            LedgerVersionError: It is not the one that this flowctx writes.
        """
        found = self.unchecked(schema.revision_of)
        if found is not None:
            schema.check(found, self.shown)
        return found

    def unchecked(self, work: Callable[[Connection], _T]) -> _T:
        """Call ``work``, which only looks, with a connection to a database that may have no tables; it makes none."""
        was_open = self._connection is not None
        found = self._patiently(work, check=False)
        if not was_open:
            self.close()  # its next user is to see that there are tables
        return found

    def now(self, connection: Connection) -> datetime:
        """Return the time that leases are measured by: the database's own, where several machines share it.

        It is read once for each connection, and at most a minute before; a monotonic clock adds what has passed since.
        """
        if self._clock is not None:
            return self._clock.now()
        if self.sqlite:
            return datetime.now(UTC)
        if self._time is None or _ticks() - self._time[1] > _TIME_IS_GOOD_SECONDS:
            asked = _ticks()
            found: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
            self._time = found.astimezone(UTC), (asked + _ticks()) / 2
        return self._time[0] + timedelta(seconds=_ticks() - self._time[1])

    def close(self) -> None:
        """Close the connection; the next call opens one."""
        with self._own_lock():
            self._drop()

    def _drop(self) -> None:
        """Let go of the connection in whatever state it is; the database rolls back what was not committed."""
        connection, self._connection, self._time = self._connection, None, None
        if connection is not None:
            _discard(connection)

    def _own_lock(self) -> threading.RLock:
        if self._pid != os.getpid():
            # A fork: the lock may be held by a thread that does not exist here.
            if self._connection is not None:
                _inherited.append(self._connection)
            self._connection, self._lock, self._pid = None, threading.RLock(), os.getpid()
            self._watched = False
        return self._lock

    def _patiently(self, work: Callable[[Connection], _T], *, check: bool = True) -> _T:
        deadline: float | None = None
        pause = 0.05
        self.before_call()
        with self._own_lock():
            while True:
                try:
                    return self._once(work, check)
                except (SQLAlchemyError, UnicodeError, OverflowError) as exc:
                    error, again = self._errors.translated(exc, was_there=self._was_there)
                    now = time.monotonic()
                    deadline = deadline or now + self._patience_seconds
                    if not again or now + pause > deadline:
                        raise self._with_schema(error) from exc
                time.sleep(pause)
                pause = min(pause * 2, 1.0)

    def _with_schema(self, error: LedgerError) -> LedgerError:
        """Return why a statement was refused: somebody may have upgraded the schema since we connected."""
        if not isinstance(error, LedgerUnavailable):
            try:
                self._connected(check=True)
            except LedgerVersionError as version:
                return version
            except (SQLAlchemyError, LedgerError):
                pass  # what was first is what is said
        return error

    def _once(self, work: Callable[[Connection], _T], check: bool) -> _T:
        try:
            return work(self._connected(check))
        except FlowctxError:
            raise  # the answer to the call; the transaction is rolled back
        except BaseException:
            # Cut, killed or interrupted (Ctrl-C): what it was in the middle of, nobody knows.
            self._drop()
            raise
        finally:
            self._used_at = time.monotonic()

    def _watch(self) -> None:
        """Close the connection when it has not been used for a moment: servers have few, and steps take long."""
        if not self.sqlite and not self._watched:
            self._watched = True
            threading.Thread(target=self._close_unused, name="flowctx-ledger", daemon=True).start()

    def _close_unused(self) -> None:
        while True:
            time.sleep(_UNUSED_SECONDS / 2)
            with self._own_lock():
                if self._connection is not None and time.monotonic() - self._used_at < _UNUSED_SECONDS:
                    continue
                self._drop()
                self._watched = False
                return

    # -- connecting -----------------------------------------------------------------------------------------------

    def _connected(self, check: bool) -> Connection:
        if self._connection is None:
            connection = self._connect()
            try:
                if check:
                    self._check_schema(connection)
                    if self.sqlite:
                        sqlite_file.refuse_second_machine(connection, str(self.url.database))
            except BaseException:
                _discard(connection)
                raise
            self._connection, self._was_there = connection, True
            self._watch()
        return self._connection

    def _connect(self) -> Connection:
        wait = min(SQLITE_WAIT_SECONDS, self._patience_seconds)
        arguments: dict[str, Any] = {"timeout": wait, "check_same_thread": False} if self.sqlite else {**_POSTGRES}
        if self._pooled and self.url.get_driver_name() == "psycopg":
            arguments["prepare_threshold"] = None  # the next transaction may be another server connection's
        url = sqlite_file.opened_as(self.url, self.shown, self._make) if self.sqlite else self.url
        try:
            engine = create_engine(
                url.difference_update_query([_POOLED]),
                future=True,  # SQLAlchemy 1.4 then behaves as 2.0 does
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                connect_args=arguments,
                hide_parameters=True,  # they would stand in tracebacks, and hold what steps were given
            )
        except NoSuchModuleError as exc:
            raise ContextError(f"SQLAlchemy has no driver for {self.shown}: {exc}") from exc
        except ImportError as exc:
            raise no_driver(self.shown, exc) from exc
        if self.sqlite:
            sqlite_file.warn_of_network(self.url.database)
        event.listen(engine, "before_cursor_execute", storable, retval=True)
        if self.sqlite:
            event.listen(engine, "handle_error", sqlite_file.roll_back)
        connection = engine.connect()
        try:
            self._set_up(connection, reading=url.query.get("mode") == "ro")
        except BaseException:  # of a connection that nobody has, nobody would let go
            _discard(connection)
            raise
        return connection

    def _set_up(self, connection: Connection, *, reading: bool) -> None:
        if self.sqlite:
            if reading:
                return
            # FULL: a commit is on the disk, not only in the log's buffer; a step that is recorded survives a power cut.
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                connection.exec_driver_sql(f"PRAGMA {pragma}")
        elif not self._pooled:
            connection.exec_driver_sql("; ".join(f"SET {one}" for one in (*_SETTINGS, *self.settings)))

    def _check_schema(self, connection: Connection) -> None:
        revision = schema.revision_of(connection)
        if revision is None and not self._make:
            raise no_ledger(self.shown)
        if revision is None:
            with self._transaction(connection):
                self._take_turns(connection)
                revision = schema.revision_of(connection)
                if revision is None:
                    schema.upgrade(connection, self.shown)
                    revision = REVISION
        schema.check(revision, self.shown)

    def _take_turns(self, connection: Connection) -> None:
        """Let one process at a time make the tables; in SQLite, BEGIN IMMEDIATE has seen to that."""
        if not self.sqlite:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended('flowctx schema', 0))")

    @contextmanager
    def _transaction(self, connection: Connection) -> Iterator[None]:
        begin = "BEGIN IMMEDIATE" if self.sqlite else "BEGIN ISOLATION LEVEL READ COMMITTED"
        settings = _SETTINGS if self._pooled else ()
        asked = time.monotonic()
        connection.exec_driver_sql("; ".join([begin, *(f"SET LOCAL {one}" for one in settings)]))
        waited = time.monotonic() - asked
        try:
            yield
        except FlowctxError:
            try:
                connection.exec_driver_sql("ROLLBACK")
            except SQLAlchemyError:  # it is lost, and what was begun on it too
                self._drop()
            raise
        asked = time.monotonic()
        connection.exec_driver_sql("COMMIT")
        self.waited_seconds = waited + time.monotonic() - asked


def _discard(connection: Connection) -> None:
    with contextlib.suppress(SQLAlchemyError, OSError):
        connection.invalidate()
    with contextlib.suppress(SQLAlchemyError, OSError):
        connection.close()


def _ticks() -> float:
    """Return seconds that never jump, those of sleep included where the machine counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
