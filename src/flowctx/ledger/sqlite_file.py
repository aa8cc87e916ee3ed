"""The file of a SQLite ledger: readable by its owner alone, on a disk of this machine, and unlocked in time."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sqlite3
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import URL, Connection, ExceptionContext
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from flowctx.core.errors import LedgerError
from flowctx.ledger.file_rights import can_be_written
from flowctx.ledger.refusals import no_ledger
from flowctx.ledger.rows import damaged
from flowctx.ledger.statements import put
from flowctx.ledger.tables import facts

logger = logging.getLogger("flowctx")

#: The fact that holds the latest machines that used the file, and how many of them.
_USERS, _MOST_USERS = "sqlite_machines", 8

_NETWORK = frozenset({"nfs", "nfs3", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "glusterfs"})
_NETWORK_HELPERS = ("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.ceph", "fuse.rclone")


def opened_as(url: URL, shown: str, make: bool) -> URL:
    """Return the URL to open a file by, which is made if it is new: for reading alone, where it cannot be written.

    Args:
        url: The ledger's.
        shown: The same, for messages.
        make: Make the file if it is not there.

    Raises:
        NoLedger: It is not there, and not to be made.
        LedgerError: It cannot be read without writing beside it.
    """
    database = str(url.database)
    if database.startswith("file:"):  # its options say how
        return url
    if os.path.exists(database):
        return url if can_be_written(database) or Path(database).is_dir() else _to_read(url, Path(database))
    if not make:
        raise no_ledger(shown, "no such file")
    # Its owner alone can read it: it holds parameters and outputs.
    with contextlib.suppress(OSError):  # somebody else has just made it, or SQLite says what is wrong
        os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return url


def _to_read(url: URL, file: Path) -> URL:
    """Return the URL to read a file by that cannot be written.

    SQLite reads the log of a file with the help of an index beside it, and makes that if need be. Where it may not, the
    file can be read as it stands while there is no log.
    """
    log, index = (Path(f"{file}{ending}") for ending in ("-wal", "-shm"))
    how = {"mode": "ro", "uri": "true"}
    if not os.access(file.parent, os.W_OK) and not index.exists():
        if log.exists() and log.stat().st_size:
            raise LedgerError(
                f"the ledger {file} cannot be read where it is: its folder cannot be written, and the latest is in "
                f"{log.name}; copy both files to a folder of your own, and read the copy"
            )
        how["immutable"] = "1"
    return url.set(database=f"file:{quote(str(file.absolute()))}").update_query_dict(how)


@cache
def warn_of_network(database: str | None) -> None:
    """Say once that a file is on a network: SQLite's locks and clocks hold on one machine only."""
    if database and _filesystem(Path(database)).startswith((*_NETWORK_HELPERS, *_NETWORK)):
        logger.warning(
            "the ledger %s is on a network filesystem: SQLite is safe only where one machine uses the file; "
            "use PostgreSQL where several do",
            database,
        )


def refuse_second_machine(at: Connection, database: str) -> None:
    """Refuse a file that two machines use in turn: SQLite's locks and our leases hold on one machine only.

    The file keeps the latest machines that used it, each as one start of one kernel and the file's inode. Neither comes
    back once another machine has used the file after them, unless the file has stayed where it is and is used by both.

    Raises:
        LedgerError: Another machine has used the file since this one did.
    """
    ours = f"{_machine()} {Path(database.removeprefix('file:')).stat().st_ino}"
    known = at.execute(select(facts.c.value).where(facts.c.name == _USERS)).scalar()
    users = _users(known, database)
    if users and users[-1] == ours:
        return
    if ours in users and users[-1].partition(" ")[0] != _machine():
        raise LedgerError(
            f"the ledger {database} is used by another machine too, and SQLite is safe only where one machine uses the "
            "file; use PostgreSQL where several do, or copy the file and use the copy"
        )
    with contextlib.suppress(OperationalError):  # it is read-only, or busy: the next connection writes it
        value = msgspec.json.encode([*(user for user in users if user != ours), ours][-_MOST_USERS:]).decode()
        at.execute(put(at, facts), {"name": _USERS, "value": value})


def _users(known: str | None, database: str) -> list[str]:
    try:
        return msgspec.json.decode(known, type=list[str]) if known else []
    except msgspec.DecodeError as exc:
        raise damaged(f"what the ledger {database} holds of the machines that used it", exc) from exc


@cache
def _machine() -> str:
    """Return what tells one start of this machine from all others; containers of one machine share it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return platform.node()


def _filesystem(file: Path) -> str:
    """Return the kind of filesystem that a file is on, as Linux tells it; empty where it does not."""
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
        folder = file.parent.resolve()
    except OSError:
        return ""
    best, kind = -1, ""
    for _, where, name, *_ in (line.split() for line in mounts if line.count(" ") >= 3):
        mount = Path(where.replace("\\040", " "))
        if (mount == folder or mount in folder.parents) and len(mount.parts) >= best:
            best, kind = len(mount.parts), name
    return kind


def roll_back(context: ExceptionContext) -> None:
    """Roll back before SQLAlchemy closes a connection that was interrupted.

    A cursor that a traceback still holds would keep the closed connection's lock until it is collected.
    """
    if context.connection is not None and not isinstance(context.original_exception, Exception):
        # What cannot be rolled back ends with its connection, which is closed next.
        with contextlib.suppress(SQLAlchemyError, sqlite3.Error):
            raw: Any = context.connection.connection.dbapi_connection
            raw.rollback()
