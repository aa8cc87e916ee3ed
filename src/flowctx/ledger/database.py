"""One connection to a database that may go away: opened when first used and when lost, never shared with a fork.

Everything runs in autocommit mode and says ``BEGIN`` itself where it needs more than one statement: a step is recorded
by one statement, and so by one round trip and one commit.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from flowctx.core.errors import ContextError, LedgerError, LedgerUnavailable, MissingExtra
from flowctx.ledger import schema
from flowctx.ledger.tables import REVISION

_T = TypeVar("_T")

#: How long SQLite itself waits for another process's lock before it says that the file is locked.
SQLITE_WAIT_SECONDS = 10

#: Connections inherited from a parent process: to close them here would release the parent's locks, so nobody may.
_inherited: list[Connection] = []


class Database:
    """A database that a ledger is in.

    Args:
        url: As SQLAlchemy takes it; ``postgresql://`` means psycopg.
        patience_seconds: How long to try again when the database was there and is gone.

    Raises:
        ContextError: It is no URL of a SQLite or PostgreSQL database.
    """

    def __init__(self, url: str, patience_seconds: float) -> None:
        try:
            parsed = make_url(url)
            kind = parsed.get_backend_name()
        except ArgumentError as exc:
            raise ContextError(f"{url!r} is no URL of a ledger; write sqlite:////folder/ledger.db") from exc
        if kind not in ("sqlite", "postgresql", "postgres"):
            raise ContextError(
                f"a ledger lives in SQLite or PostgreSQL, not in {kind!r}; write sqlite:////folder/file.db"
            )
        self.sqlite = kind == "sqlite"
        if self.sqlite and parsed.database in (None, "", ":memory:"):
            raise ContextError(f"{url!r} names no file; write sqlite:////folder/ledger.db, or memory:// for none")
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.url = parsed
        self.shown = parsed.render_as_string(hide_password=True)
        self._patience_seconds = patience_seconds
        self._connection: Connection | None = None
        self._was_there = False
        self._lock = threading.RLock()
        self._pid = os.getpid()

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

    def upgrade(self) -> None:
        """Bring the schema to the newest revision."""

        def work(connection: Connection) -> None:
            with self._transaction(connection):
                self._take_turns(connection)
                schema.upgrade(connection)

        self._patiently(work, check=False)

    def close(self) -> None:
        """Close the connection; the next call opens one."""
        with self._own_lock():
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(DBAPIError, OSError):
                    connection.close()

    def _own_lock(self) -> threading.RLock:
        if self._pid != os.getpid():
            # A fork: the lock may be held by a thread that does not exist here.
            if self._connection is not None:
                _inherited.append(self._connection)
            self._connection, self._lock, self._pid = None, threading.RLock(), os.getpid()
        return self._lock

    def _patiently(self, work: Callable[[Connection], _T], *, check: bool = True) -> _T:
        deadline: float | None = None
        pause = 0.05
        with self._own_lock():
            while True:
                try:
                    return work(self._connected(check))
                except DBAPIError as exc:
                    self.close()
                    error, again = self._translated(exc)
                    now = time.monotonic()
                    deadline = deadline or now + self._patience_seconds
                    if not again or now + pause > deadline:
                        raise error from exc
                time.sleep(pause)
                pause = min(pause * 2, 1.0)

    # -- connecting -----------------------------------------------------------------------------------------------

    def _connected(self, check: bool) -> Connection:
        if self._connection is None:
            connection = self._connect()
            try:
                if check:
                    self._check_schema(connection)
            except BaseException:
                with contextlib.suppress(DBAPIError, OSError):
                    connection.close()
                raise
            self._connection, self._was_there = connection, True
        return self._connection

    def _connect(self) -> Connection:
        wait = min(SQLITE_WAIT_SECONDS, self._patience_seconds)
        arguments = {"timeout": wait, "check_same_thread": False} if self.sqlite else {"connect_timeout": 10}
        try:
            engine = create_engine(self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments)
        except NoSuchModuleError as exc:
            raise ContextError(f"SQLAlchemy has no driver for {self.shown}: {exc}") from exc
        except ImportError as exc:
            raise MissingExtra(f"the ledger {self.shown}", "postgres") from exc
        connection = engine.connect()
        if self.sqlite:
            # FULL: a commit is on the disk, not only in the log's buffer; a step that is recorded survives a power cut.
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                connection.exec_driver_sql(f"PRAGMA {pragma}")
        return connection

    def _check_schema(self, connection: Connection) -> None:
        revision = schema.revision_of(connection)
        if revision is None:
            with self._transaction(connection):
                self._take_turns(connection)
                revision = schema.revision_of(connection)
                if revision is None:
                    schema.upgrade(connection)
                    revision = REVISION
        schema.check(revision, self.shown)

    def _take_turns(self, connection: Connection) -> None:
        """Let one process at a time make the tables; in SQLite, BEGIN IMMEDIATE has seen to that."""
        if not self.sqlite:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended('flowctx schema', 0))")

    @contextmanager
    def _transaction(self, connection: Connection) -> Iterator[None]:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if self.sqlite else "BEGIN")
        try:
            yield
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            with contextlib.suppress(DBAPIError):
                connection.exec_driver_sql("ROLLBACK")
            raise

    # -- errors ---------------------------------------------------------------------------------------------------

    def _translated(self, exc: DBAPIError) -> tuple[LedgerError, bool]:
        """Return what to raise for a database's error, and whether it may pass if the call is made again."""
        detail = " ".join(str(exc.orig).split())
        return self._sqlite_error(detail) if self.sqlite else self._postgres_error(exc, detail)

    def _sqlite_error(self, detail: str) -> tuple[LedgerError, bool]:
        file = Path(str(self.url.database))
        if "locked" in detail or "busy" in detail:
            return LedgerUnavailable(
                f"the ledger {file} is locked by another process ({detail}); end what holds it, or use PostgreSQL "
                "where many processes write"
            ), True
        if "full" in detail or "disk I/O" in detail:
            return LedgerUnavailable(
                f"the ledger {file} cannot be written ({detail}); is the disk full? Free some space and resume the "
                "run: what was recorded is safe"
            ), False
        if "unable to open" in detail:
            why = "it is a folder; name a file in it" if file.is_dir() else f"is {file.parent} a folder to write to?"
            return LedgerUnavailable(f"the ledger {file} cannot be opened; {why}"), False
        if "readonly" in detail:
            return LedgerUnavailable(f"the ledger {file} is read-only ({detail}); let this user write it"), False
        if "not a database" in detail or "malformed" in detail:
            return LedgerError(
                f"{file} is damaged or no ledger ({detail}); restore it from a backup, or name another file in "
                "FLOWCTX_LEDGER_URL"
            ), False
        return LedgerError(f"the ledger {file} refused: {detail}"), False

    def _postgres_error(self, exc: DBAPIError, detail: str) -> tuple[LedgerError, bool]:
        state: str | None = getattr(exc.orig, "sqlstate", None)
        lost = exc.connection_invalidated or state is None or state[:2] in ("08", "57")
        if lost and type(exc).__name__ in ("OperationalError", "InterfaceError"):
            # A database that never answered is more likely misspelt than away.
            return LedgerUnavailable(
                f"the ledger {self.shown} cannot be reached ({detail}); is it up, and is FLOWCTX_LEDGER_URL right?"
            ), self._was_there
        if state is not None and state[:2] in ("40", "55"):
            return LedgerUnavailable(f"the ledger {self.shown} is busy ({detail}); try again"), True
        if state is not None and state[:2] == "53":
            return LedgerUnavailable(
                f"the ledger {self.shown} has run out of something ({detail}); what was recorded is safe"
            ), False
        return LedgerError(f"the ledger {self.shown} refused: {detail}"), False
