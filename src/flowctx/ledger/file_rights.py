"""What keeps a user from writing to a SQLite file, found without opening it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


def file_of(url: str) -> Path:
    """Return the file that the URL of a SQLite ledger names.

    Example:
        >>> str(file_of("sqlite:////data/ledger.db?mode=ro"))
        '/data/ledger.db'
    """
    return Path(url.removeprefix("sqlite:///").partition("?")[0].removeprefix("file:")).expanduser()


class Lacking(NamedTuple):
    """What a ledger's user lacks."""

    #: What it is, and what to do about it.
    text: str
    #: Runs are recorded without it.
    harmless: bool = False


def lacking_in_file(file: Path) -> Lacking | None:
    """Return what keeps this user from writing to a SQLite file, or from making it in its folder."""
    folder = file.parent
    if not file.exists():
        if not folder.is_dir():
            return Lacking(f"its folder {folder} is not there; make it")
        return None if os.access(folder, os.W_OK) else Lacking(f"this user may not make a file in {folder}; let it")
    if can_be_written(str(file)):
        return None
    what = file if not os.access(file, os.W_OK) else f"the folder {folder}, where SQLite has its log"
    return Lacking(f"it can only be read: this user may not write {what}; let it, or name a ledger elsewhere")


def can_be_written(database: str) -> bool:
    """Return whether this user can write a file that is there, and the log and the index that SQLite has beside it."""
    if not os.access(database, os.W_OK):
        return False
    beside = [f"{database}{ending}" for ending in ("-wal", "-shm")]
    return os.access(Path(database).parent, os.W_OK) or all(os.access(file, os.W_OK) for file in beside)
