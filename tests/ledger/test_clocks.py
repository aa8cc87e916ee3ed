"""Machines whose clocks are five minutes apart: who holds what is decided by the database's clock, not by theirs."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from click.testing import CliRunner

from flowctx.cli import cli
from flowctx.core.durability.records import RunStatus
from flowctx.ledger import open_ledger
from flowctx.testing.records import a_run
from wrong_clocks import started


@pytest.mark.parametrize("minutes", [-5, 5])
def test_no_clock_but_the_databases_takes_anything_over(postgres_url, minutes):
    """Whoever comes second is refused, whether its clock is five minutes fast or slow of that of who was first."""
    holder, line = started(-minutes / 2, postgres_url, is_first=True)
    assert abs(line.recv() - datetime.now(UTC)) < timedelta(minutes=1)
    second, answer = started(minutes / 2, postgres_url, is_first=False)
    assert answer.recv() == {
        "claims the capture": "CaptureHeld",
        "resumes the run": "RunAlive",
        "takes the run's capture": "CaptureHeld",
        "launches the batch": "first",
    }
    line.send("go home")
    for process in (holder, second):
        process.join()


@pytest.mark.parametrize("minutes", [-5, 5])
def test_what_ran_out_is_taken_over_on_any_clock(postgres_url, minutes):
    """A lease that has run out by the database's clock holds nobody up, whatever time it is where it was taken."""
    holder, line = started(-minutes / 2, postgres_url, is_first=True)
    line.recv()
    ledger = open_ledger(postgres_url)
    ended = [
        f"UPDATE flowctx_{table} SET {column} = '2020-01-01T00:00:00.000000+00:00'"
        for table, column in (("capture", "lease_until"), ("run", "lease_until"), ("batch", "launcher_until"))
    ]
    ledger._database.transaction(lambda at: [at.exec_driver_sql(statement) for statement in ended])
    second, answer = started(minutes / 2, postgres_url, is_first=False)
    assert answer.recv() == {
        "claims the capture": "token 2",
        "resumes the run": "2",
        "takes the run's capture": "CaptureHeld",  # of the run that was just resumed
        "launches the batch": "second",
    }
    line.send("go home")
    for process in (holder, second):
        process.join()
    ledger.close()


@pytest.mark.parametrize("days", [-400, 400])
def test_a_prune_goes_by_the_databases_clock(postgres_url, days):
    """What is young by it stays, and what is old goes, whatever time it is where the command is typed."""
    with closing(open_ledger(postgres_url)) as ledger:
        for number in (1, 2):
            ledger.finish(ledger.begin(a_run(f"r{number}", batch_id=f"b{number}")), RunStatus.OK)
        with time_machine.travel(datetime.now(UTC) + timedelta(days=days), tick=True):
            CliRunner().invoke(cli, ["ledger", "prune", "--days", "90", "--ledger", postgres_url])
            assert {run.run_id for run in ledger.list_runs()} == {"r1", "r2"}
            CliRunner().invoke(cli, ["ledger", "prune", "--days", "0", "--ledger", postgres_url])
        assert {run.run_id for run in ledger.list_runs()} == {"r2"}
