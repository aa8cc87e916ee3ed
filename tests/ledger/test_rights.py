"""What a user may not do with a ledger: doctor says it without writing, and what can be read is read."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner

from flowctx import LedgerError, LedgerUnavailable
from flowctx.cli import cli
from flowctx.ledger import open_ledger
from flowctx.ledger.tables import REVISION
from flowctx.testing.records import a_run
from forking import processes


def ledger_row(url: str) -> tuple[int, str, str]:
    """Return the exit code of doctor, and the state and the note that it has for a ledger."""
    done = CliRunner().invoke(cli, ["doctor", "--json", "--ledger", url], catch_exceptions=False)
    [row] = [row for row in json.loads(done.stdout)["checks"] if row["what"] == "ledger"]
    return done.exit_code, row["state"], row["note"]


# -- PostgreSQL ---------------------------------------------------------------------------------------------------


def with_options(url: str, options: str) -> str:
    """Return the URL of sessions with some options of the server's."""
    return f"{url}{'&' if '?' in url else '?'}options={quote(options)}"


@pytest.fixture
def role(postgres_url: str) -> Iterator[str]:
    """A role that may do nothing."""
    name = f"flowctx_role_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name}")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        admin.execute(f"GRANT USAGE ON SCHEMA public TO {name}")
        yield name
        admin.execute(f"DROP OWNED BY {name}")
        admin.execute(f"DROP ROLE {name}")


def grant(url: str, role: str, rights: str) -> None:
    """Give a role rights on all tables."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {role}")


def test_doctor_says_which_rights_a_role_lacks(postgres_url: str, role: str) -> None:
    """A role that may only read is no role for runs; what the message says to type mends it."""
    open_ledger(postgres_url).list_runs()
    grant(postgres_url, role, "SELECT")
    url = with_options(postgres_url, f"-crole={role}")
    code, state, note = ledger_row(url)
    assert (code, state) == (1, "failed")
    assert f"role {role} may not DELETE, INSERT, UPDATE, as runs do; GRANT SELECT, INSERT, UPDATE, DELETE ON" in note
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(note[note.index("GRANT") :])  # type: ignore[call-overload]
    assert ledger_row(url) == (0, "ok", f"schema {REVISION}")


def test_doctor_warns_of_a_role_that_cannot_delete(postgres_url: str, role: str) -> None:
    """Runs are recorded, but not resumed or pruned."""
    open_ledger(postgres_url).list_runs()
    grant(postgres_url, role, "SELECT, INSERT, UPDATE")
    code, state, note = ledger_row(with_options(postgres_url, f"-crole={role}"))
    assert (code, state) == (0, "warning")
    assert "may not DELETE, as resume and prune do" in note


def test_doctor_says_that_a_session_cannot_write(postgres_url: str) -> None:
    """As on a server that lets nobody write."""
    read_only = with_options(postgres_url, "-cdefault_transaction_read_only=on")
    assert ledger_row(read_only)[:2] == (1, "failed")
    open_ledger(postgres_url).list_runs()
    code, state, note = ledger_row(read_only)
    assert (code, state) == (1, "failed")
    assert "its sessions are read-only" in note


def test_doctor_says_that_a_role_cannot_make_the_tables(postgres_url: str, role: str) -> None:
    """Of an empty database; with the right to make them, there is nothing to say."""
    url = with_options(postgres_url, f"-crole={role}")
    code, state, note = ledger_row(url)
    assert (code, state) == (1, "failed")
    assert f"GRANT CREATE ON SCHEMA public TO {role}" in note
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    assert ledger_row(url) == (0, "-", "reached; it has no tables yet: a first run makes them")
    with psycopg.connect(postgres_url) as admin:
        assert admin.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'flowctx%'").fetchone() == (0,)


# -- SQLite -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user can get to."""
    with tempfile.TemporaryDirectory(prefix="flowctx-rights-") as name:
        place = Path(name)
        place.chmod(0o755)
        yield place
        place.chmod(0o755)


def as_nobody(what: str, url: str, answers: object) -> None:
    """Do something with a ledger as a user that owns nothing, and send what came of it."""
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    try:
        ledger = open_ledger(url, make=False)
        if what == "read":
            found: object = [run.run_id for run in ledger.list_runs()]
        elif what == "write":
            found = ledger.begin(a_run("r2")).run_id
        else:
            found = ledger_row(url)
    except LedgerError as exc:
        found = f"{type(exc).__name__}: {exc}"
    answers.send(found)  # type: ignore[attr-defined]


def asked(what: str, file: Path) -> object:
    """Return what came of it for that user."""
    ours, theirs = processes.Pipe()
    child = processes.Process(target=as_nobody, args=(what, f"sqlite:///{file}", theirs))
    child.start()
    theirs.close()
    with contextlib.closing(ours):
        found = ours.recv()
    child.join()
    return found


def make_ledger(file: Path) -> None:
    """Make a ledger with one run."""
    ledger = open_ledger(f"sqlite:///{file}")
    ledger.begin(a_run("r1"))
    ledger.close()
    file.chmod(0o644)


def test_a_file_in_a_folder_that_cannot_be_written_is_read(folder: Path) -> None:
    """Nothing is made beside it; a write is refused, and doctor says so."""
    file = folder / "a b#.db"
    make_ledger(file)
    folder.chmod(0o555)
    assert asked("read", file) == ["r1"]
    assert "is read-only" in str(asked("write", file))
    code, state, note = asked("doctor", file)  # type: ignore[misc]
    assert (code, state) == (1, "failed")
    assert "this user may not write" in note
    assert os.listdir(folder) == [file.name]


def test_a_file_that_may_not_be_read_is_said_to_be_so(folder: Path) -> None:
    """Whoever reads, writes or asks is told about the file, and not about its folder."""
    file = folder / "ledger.db"
    make_ledger(file)
    file.chmod(0)
    for what in ("read", "write", "doctor"):
        assert f"the ledger {file} cannot be opened; this user may not read it; grant access" in str(asked(what, file))


def test_what_is_in_the_log_is_read_or_said(folder: Path) -> None:
    """With the index beside it, the log is read, too; without, the message says what to copy."""
    file = folder / "ledger.db"
    make_ledger(file)
    with contextlib.closing(sqlite3.connect(file)) as busy:
        busy.execute("BEGIN")
        busy.execute("SELECT * FROM flowctx_run").fetchall()  # so that the log stays
        ledger = open_ledger(f"sqlite:///{file}")
        ledger.begin(a_run("r2"))
        for beside in folder.iterdir():
            beside.chmod(0o644)
        folder.chmod(0o555)
        assert sorted(asked("read", file)) == ["r1", "r2"]  # type: ignore[call-overload]
        folder.chmod(0o755)
        copy = folder / "copy"
        copy.mkdir()
        for one in (file, Path(f"{file}-wal")):
            (copy / one.name).write_bytes(one.read_bytes())
        copy.chmod(0o555)
        assert "the latest is in ledger.db-wal; copy both files" in str(asked("read", copy / file.name))
        copy.chmod(0o755)
        ledger.close()


def test_doctor_says_where_no_file_can_be_made(folder: Path) -> None:
    """In a folder that is not there, or that this user cannot write."""
    code, state, note = ledger_row(f"sqlite:///{folder / 'none' / 'ledger.db'}")
    assert (code, state) == (1, "failed")
    assert f"its folder {folder / 'none'} is not there; make it" in note
    folder.chmod(0o555)
    code, state, note = asked("doctor", folder / "ledger.db")  # type: ignore[misc]
    assert (code, state) == (1, "failed")
    assert f"this user may not make a file in {folder}" in note
    assert not os.listdir(folder)


def test_a_refused_write_says_what_to_let(folder: Path) -> None:
    """It is an error that may pass: somebody may let the user write."""
    file = folder / "ledger.db"
    make_ledger(file)
    ledger = open_ledger(f"sqlite:///file:{file}?mode=ro&uri=true")
    with pytest.raises(LedgerUnavailable, match="is read-only"):
        ledger.begin(a_run("r2"))


def test_upgrade_says_that_a_ledger_is_new(sql_url: str) -> None:
    """A slip in the name is seen: what is made is said to be made."""
    first, second = (CliRunner().invoke(cli, ["ledger", "upgrade", "--ledger", sql_url]).output for _ in range(2))
    assert first.startswith("there was no ledger ")
    assert f"made a new one, which is empty, with schema {REVISION}" in first
    assert f"is up to date: schema {REVISION}" in second
