"""What databases say when they refuse, in our words: what to raise, and whether it may pass."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import DBAPIError

from flowctx.core.errors import ContextError, LedgerError, LedgerUnavailable, MissingExtra
from flowctx.core.masking import mask_text
from flowctx.core.printable import brief

#: What a server says to who knocks when it lets nobody in for the moment: it is there, and worth waiting for.
_COME_AGAIN = (
    "too many clients", "too many connections", "remaining connection slots", "connection limit exceeded",
    "is starting up", "is shutting down", "in recovery mode", "not yet accepting connections",
)  # fmt: skip


def no_driver(shown: str, exc: ImportError) -> MissingExtra | ContextError:
    """Return what to raise where the driver of a database cannot be imported.

    Args:
        shown: The ledger's URL, without the password.
        exc: What the import said.

    Example:
        >>> no_driver("postgresql://db/x", ModuleNotFoundError(name="psycopg")).extra
        'postgres'
    """
    module = (exc.name or "").partition(".")[0]
    if not module and find_spec("psycopg_binary") is None and "pq wrapper" in str(exc):
        module = "psycopg_binary"  # psycopg alone, and no libpq on this machine
    if not module:
        return ContextError(f"the driver of the ledger {shown} cannot be imported: {brief(str(exc))}")
    packages = {"psycopg": None, "psycopg_binary": None, "psycopg2": "psycopg2-binary"}
    return MissingExtra(f"the ledger {shown}", "postgres", package=packages.get(module, module), module=module)


class DatabaseErrors(NamedTuple):
    """Translates the errors of one database."""

    #: Its URL, without the password.
    shown: str
    #: Its file, if it is SQLite.
    file: Path | None

    def translated(self, exc: Exception, *, was_there: bool) -> tuple[LedgerError, bool]:
        """Return what to raise for a database's error, and whether it may pass if the call is made again."""
        if isinstance(exc, (UnicodeError, OverflowError)):
            return LedgerError(f"the ledger {self.shown} cannot hold a value: {_detail(exc)}"), False
        if not isinstance(exc, DBAPIError):  # SQLAlchemy's own, of a connection that was cut
            return LedgerUnavailable(f"the connection to the ledger {self.shown} was lost ({_detail(exc)})"), was_there
        detail = _detail(exc.orig)
        return self._postgres(exc, detail, was_there) if self.file is None else self._sqlite(self.file, detail)

    def _sqlite(self, file: Path, detail: str) -> tuple[LedgerError, bool]:
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
            return LedgerUnavailable(f"the ledger {file} cannot be opened; {_why_not_opened(file)}"), False
        if "readonly" in detail:
            return LedgerUnavailable(f"the ledger {file} is read-only ({detail}); let this user write it"), False
        if "not a database" in detail or "malformed" in detail:
            return LedgerError(
                f"{file} is damaged or no ledger ({detail}); restore it from a backup, or name another file in "
                "FLOWCTX_LEDGER_URL"
            ), False
        return LedgerError(f"the ledger {file} refused: {detail}"), False

    def _postgres(self, exc: DBAPIError, detail: str, was_there: bool) -> tuple[LedgerError, bool]:
        state: str | None = getattr(exc.orig, "sqlstate", None) or getattr(exc.orig, "pgcode", None)
        if state == "53300" or (state is None and any(words in detail for words in _COME_AGAIN)):
            return LedgerUnavailable(f"the ledger {self.shown} lets nobody in ({detail}); try again later"), True
        lost = exc.connection_invalidated or state is None or state[:2] in ("08", "57") or state == "25P03"
        if lost and type(exc).__name__ in ("OperationalError", "InterfaceError", "InternalError", "DatabaseError"):
            # A database that never answered is more likely misspelt than away.
            return LedgerUnavailable(
                f"the ledger {self.shown} cannot be reached ({detail}); is it up, and is FLOWCTX_LEDGER_URL right?"
            ), was_there
        if state is not None and state[:2] in ("40", "55"):
            return LedgerUnavailable(f"the ledger {self.shown} is busy ({detail}); try again"), True
        if state is not None and state[:2] == "53":
            return LedgerUnavailable(
                f"the ledger {self.shown} has run out of something ({detail}); what was recorded is safe"
            ), False
        return LedgerError(f"the ledger {self.shown} refused: {detail}"), False


def _why_not_opened(file: Path) -> str:
    if os.path.isdir(file):
        return "it is a folder; name a file in it"
    if os.path.exists(file) and not os.access(file, os.R_OK):
        return "this user may not read it; grant access to it, or run as a user who may"
    return f"is {file.parent} a folder to write to?"


def _detail(exc: BaseException | None) -> str:
    return brief(mask_text(" ".join(str(exc).split())), 400)
