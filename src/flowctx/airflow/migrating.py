"""Make Airflow's database, or migrate it: of several processes that share a file, one at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from flowctx.airflow import _compat

#: How the address of a database in a file begins.
_FILE: Final = "sqlite:///"


def migrate_alone() -> None:
    """Create or migrate the database, once no other process is at it. Airflow itself locks those of servers alone."""
    address = str(_compat.conf.get("database", "sql_alchemy_conn"))
    file = Path(address.removeprefix(_FILE).partition("?")[0])
    if not address.startswith(_FILE) or not file.name:
        _compat.migrate()
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(file.parent, os.O_RDONLY)  # a lock of the folder's leaves no file behind
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        _compat.migrate()
    finally:
        os.close(held)
