"""What can go wrong with a database: a clear error each time, and no recorded step lost."""

from __future__ import annotations

import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from durable_flow import STEPS, flow, run_on_a_small_disk
from flowctx import LedgerError, LedgerUnavailable, LedgerVersionError, PayloadError, Workflow, resume, run
from flowctx.core.durability.records import RunStatus
from flowctx.ledger.sql import SqlLedger
from forking import processes

NO_PATIENCE = timedelta(0)


def file_of(url):
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def params(tmp_path):
    return {"effects": str(tmp_path / "effects"), "pause": 0}


@pytest.fixture
def ran(sqlite_url, params):
    """A SQLite ledger that holds a run."""
    ledger = SqlLedger(sqlite_url)
    run(flow, run_id="r1", params=params, ledger=ledger)
    ledger.close()
    return sqlite_url


class Outage:
    """A PostgreSQL database that lets nobody in for a while."""

    def __init__(self, server_url, url):
        self.name = make_url(url).database
        self.server_url = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)

    def begin(self):
        self._admin("false")
        with psycopg.connect(self.server_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name])

    def end(self):
        self._admin("true")

    def _admin(self, allow):
        with psycopg.connect(self.server_url, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {self.name} WITH ALLOW_CONNECTIONS {allow}")


def interrupted_by(outage, back_after_seconds=None):
    """Return a workflow of three steps, in the second of which the database goes away."""
    broken = Workflow("broken")
    broken.step(name="a")(lambda ctx: {"n": 1})

    @broken.step()
    def b(ctx):
        if ctx.checkpoint is None:
            outage.begin()
            if back_after_seconds is not None:
                threading.Timer(back_after_seconds, outage.end).start()
        return {"n": 2}

    broken.step(name="c")(lambda ctx: {"n": 3})
    return broken


def test_a_database_that_comes_back_is_waited_for(postgres_server, postgres_url):
    """A run goes on when the database is away for a moment, and every step is recorded."""
    ledger = SqlLedger(postgres_url)
    result = run(interrupted_by(Outage(postgres_server, postgres_url), 0.3), ledger=ledger)
    assert result.status == "ok"
    assert list(ledger.statuses(ledger.get_run(result.run_id).key)) == ["a", "b", "c"]
    ledger.close()


def test_a_database_that_stays_away_stops_a_strict_run(postgres_server, postgres_url):
    """A strict run stops, says so, and is continued when the database is back; what was recorded is there."""
    outage = Outage(postgres_server, postgres_url)
    broken, ledger = interrupted_by(outage), SqlLedger(postgres_url, patience=NO_PATIENCE)
    with pytest.raises(LedgerUnavailable, match="cannot be reached.*is it up"):
        run(broken, run_id="r1", ledger=ledger)
    outage.end()
    assert list(ledger.statuses(ledger.get_run("r1").key)) == ["a"]
    assert resume("r1", broken, ledger=ledger, take_over=True).status == "ok"
    ledger.close()


def test_a_lenient_run_goes_on_and_is_recorded_later(postgres_server, postgres_url, monkeypatch, caplog):
    """A lenient run goes on while the database is away; what it could not record comes with the next step."""
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "lenient")
    outage = Outage(postgres_server, postgres_url)
    broken, ledger = interrupted_by(outage), SqlLedger(postgres_url, patience=NO_PATIENCE)
    broken.step(name="d")(lambda ctx: outage.end())
    result = run(broken, ledger=ledger)
    assert result.status == "ok"
    assert "step 'b' is not recorded" in caplog.text
    found = ledger.get_run(result.run_id)
    assert (found.status, list(ledger.statuses(found.key))) == (RunStatus.OK, ["a", "b", "c", "d"])
    ledger.close()


def test_a_database_that_never_answered_is_not_waited_for():
    """A URL at which nothing answers is an error at once, and its password is not shown."""
    with pytest.raises(LedgerUnavailable, match="is FLOWCTX_LEDGER_URL right") as caught:
        SqlLedger("postgresql://me:secret@127.0.0.1:1/none").list_runs()
    assert "secret" not in str(caught.value)


def test_a_full_disk_stops_a_run_and_loses_nothing(sqlite_url, params):
    """A run stops when the disk is full, says so, and is continued when there is space again."""
    run(flow, params=params, ledger=sqlite_url)
    ours, theirs = processes.Pipe()
    params = {**params, "padding": 20_000}
    size = file_of(sqlite_url).stat().st_size + 200_000
    child = processes.Process(target=run_on_a_small_disk, args=(sqlite_url, "r1", params, size, theirs))
    child.start()
    assert (ours.recv(), ours.recv().partition("(")[0]) == (
        "begun",
        f"LedgerUnavailable: the ledger {file_of(sqlite_url)} cannot be written ",
    )
    child.join()
    ledger = SqlLedger(sqlite_url)
    recorded = ledger.statuses(ledger.get_run("r1").key)
    assert 0 < len(recorded) < STEPS
    assert resume("r1", flow, ledger=ledger, take_over=True).status == "ok"
    assert len(Path(params["effects"]).read_text().split()) <= 2 * STEPS + 1
    ledger.close()


def test_a_locked_file_is_named_as_such(ran):
    """A file that another process keeps locked is an error that says so."""
    other = sqlite3.connect(file_of(ran), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="is locked by another process"):
        run(flow, ledger=SqlLedger(ran, patience=NO_PATIENCE))
    other.close()


def test_a_truncated_file_is_named_as_such(ran):
    """A file that lost its end is an error that says so, and not an empty ledger."""
    file = file_of(ran)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    ledger = SqlLedger(ran)
    with pytest.raises(LedgerError, match="is damaged or no ledger .*restore it from a backup"):
        ledger.steps(ledger.get_run("r1").key)


def test_a_file_that_is_no_database_is_named_as_such(sqlite_url):
    """A file of something else is an error that says so, and stays as it is."""
    file_of(sqlite_url).write_text("symbol,close\n" * 1000)
    with pytest.raises(LedgerError, match="is damaged or no ledger"):
        SqlLedger(sqlite_url).list_runs()
    assert file_of(sqlite_url).read_text().startswith("symbol")


def test_a_folder_that_is_not_there_is_named_as_such(tmp_path):
    """A SQLite file in a folder that does not exist is an error that names the folder."""
    with pytest.raises(LedgerUnavailable, match="nowhere a folder to write to"):
        SqlLedger(f"sqlite:///{tmp_path}/nowhere/ledger.db").list_runs()


def test_a_folder_in_place_of_a_file_is_named_as_such(tmp_path):
    """A SQLite URL that names a folder is an error that says so."""
    with pytest.raises(LedgerUnavailable, match="it is a folder; name a file in it"):
        SqlLedger(f"sqlite:///{tmp_path}").list_runs()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE flowctx_step SET payload = '{' WHERE step = 's3'", "step 's3' of run r1 is damaged"),
        (
            "UPDATE flowctx_step SET payload = replace(payload, '6', '7') WHERE step = 's3'",
            "it is not what was written",
        ),
        ("UPDATE flowctx_attempt SET context = '[]'", "run r1 is damaged"),
    ],
)
def test_a_corrupt_row_is_named(ran, change, what):
    """A row that is not what was written is an error that names the step or the run; nothing is guessed."""
    ledger = SqlLedger(ran)
    with sqlite3.connect(file_of(ran)) as raw:
        raw.execute(change)
    with pytest.raises(PayloadError, match=what):
        resume("r1", flow, from_step="s5", ledger=ledger)
    ledger.close()


def test_an_older_schema_says_what_to_type(ran):
    """Tables of an older flowctx are an error that names the command."""
    with sqlite3.connect(file_of(ran)) as raw:
        raw.execute("UPDATE flowctx_schema SET version_num = '0000'")
    with pytest.raises(LedgerVersionError, match="type: flowctx ledger upgrade"):
        SqlLedger(ran).list_runs()


def test_a_schema_that_is_upgraded_meanwhile_says_what_to_type(ran):
    """A worker that has the ledger open while a newer flowctx upgrades it hears so, not which column is missing."""
    ledger = SqlLedger(ran)
    ledger.list_runs()
    with sqlite3.connect(file_of(ran)) as raw:
        raw.execute("ALTER TABLE flowctx_run RENAME COLUMN workflow TO flow")
        raw.execute("UPDATE flowctx_schema SET version_num = '9999'")
    with pytest.raises(LedgerVersionError, match="has schema 9999, newer than .*pip install --upgrade flowctx"):
        ledger.list_runs()
    ledger.close()


def test_a_newer_schema_says_what_to_type(ran):
    """Tables of a newer flowctx are an error that says to upgrade it."""
    with sqlite3.connect(file_of(ran)) as raw:
        raw.execute("UPDATE flowctx_schema SET version_num = '9999'")
    with pytest.raises(LedgerVersionError, match="pip install --upgrade flowctx"):
        SqlLedger(ran).list_runs()
