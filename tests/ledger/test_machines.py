"""A SQLite file is one machine's: its locks and its clock hold there only."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from flowctx import LedgerError
from flowctx.ledger import open_ledger


def file_of(url):
    return Path(url.removeprefix("sqlite:///"))


def machines(file, change=None):
    """Return which machines have used a file, as it says; first let others use it."""
    with sqlite3.connect(file) as raw:
        (text,) = raw.execute("SELECT value FROM flowctx_fact WHERE name = 'sqlite_machines'").fetchone()
        if change is not None:
            change = json.dumps(change(json.loads(text)))
            raw.execute("UPDATE flowctx_fact SET value = ? WHERE name = 'sqlite_machines'", (change,))
    raw.close()
    return json.loads(text)


def used(url):
    ledger = open_ledger(url)
    ledger.list_runs()
    ledger.close()


def test_a_file_that_another_machine_used_since_is_refused(sqlite_url):
    """This machine, another one, this machine again: the file is shared, and the error says what to use instead."""
    used(sqlite_url)
    used(sqlite_url)
    machines(file_of(sqlite_url), lambda known: [*known, "another-kernel 1"])
    with pytest.raises(LedgerError, match="used by another machine too.* use PostgreSQL .* or copy the file"):
        used(sqlite_url)


def test_a_copy_of_such_a_file_is_used(sqlite_url, tmp_path):
    """A file that was copied here from wherever is this machine's."""
    used(sqlite_url)
    machines(file_of(sqlite_url), lambda known: [*known, "another-kernel 1"])
    copy = tmp_path / "copy.db"
    shutil.copyfile(file_of(sqlite_url), copy)
    used(f"sqlite:///{copy}")
    assert len(machines(copy)) == 3


def test_a_backup_may_come_back(sqlite_url, tmp_path):
    """A copy that was used here, and is copied back over the file, was used by one machine all the time."""
    used(sqlite_url)
    copy = tmp_path / "copy.db"
    shutil.copyfile(file_of(sqlite_url), copy)
    used(f"sqlite:///{copy}")
    shutil.copyfile(copy, file_of(sqlite_url))
    used(sqlite_url)
    assert len(machines(file_of(sqlite_url))) == 2


def test_a_machine_that_was_started_again_goes_on(sqlite_url):
    """A kernel that has not used the file yet may: the machine has started anew, or the file has moved."""
    used(sqlite_url)
    machines(file_of(sqlite_url), lambda known: [f"kernel-{number} 1" for number in range(8)])
    used(sqlite_url)
    assert machines(file_of(sqlite_url))[:2] == ["kernel-1 1", "kernel-2 1"]
    assert len(machines(file_of(sqlite_url))) == 8


def test_a_file_that_cannot_be_written_can_be_read(sqlite_url):
    """Where the fact cannot be written, the ledger is read all the same."""
    used(sqlite_url)
    machines(file_of(sqlite_url), lambda known: ["another-kernel 1"])
    ledger = open_ledger(f"sqlite:///file:{file_of(sqlite_url)}?mode=ro&uri=true")
    assert ledger.list_runs() == []
    ledger.close()
    assert machines(file_of(sqlite_url)) == ["another-kernel 1"]
