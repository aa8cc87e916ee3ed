"""Who only reads a ledger makes none, on either database."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect, text

from flowctx import NoLedger
from flowctx.cli import cli
from flowctx.ledger import open_ledger
from flowctx.ledger.ledger_urls import ledger_url

READING = [
    ("runs",),
    ("batches",),
    ("show", "r1"),
    ("status", "b1"),
    ("captures", "flow"),
    ("output", "reading_flows:flow", "a"),
    ("cancel", "b1"),
    ("resume", "r1"),
    ("ledger", "prune", "--days", "1"),
    ("ledger", "prune", "--days", "1", "--dry-run"),
    ("ledger", "keep", "b1"),
]
FLOW = """
from flowctx import PartitionScheme, Workflow

flow = Workflow("flow", partitions=PartitionScheme(tier=["A", "B"]))
flow.step(name="a")(lambda ctx: {})
"""


def tables_of(url: str) -> list[str]:
    """Return the names of a database's tables."""
    return sorted(inspect(create_engine(ledger_url(url))).get_table_names())


def made_elsewhere(url: str) -> None:
    """Make a table of somebody else's."""
    with create_engine(ledger_url(url)).begin() as at:
        at.execute(text("CREATE TABLE theirs (a int)"))


@pytest.fixture(autouse=True)
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow to be found in the current folder."""
    (tmp_path / "reading_flows.py").write_text(FLOW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_that_reads_makes_no_tables(sql_url: str, command: tuple[str, ...]) -> None:
    """A database without a ledger is refused with exit code 2, and stays as it was."""
    made_elsewhere(sql_url)
    done = CliRunner().invoke(cli, [*command, "--ledger", sql_url])
    assert (done.exit_code, "there is no ledger" in done.output) == (2, True), done.output
    assert "--ledger, FLOWCTX_LEDGER_URL" in done.output
    assert tables_of(sql_url) == ["theirs"]


def test_a_plan_makes_no_tables(sql_url: str) -> None:
    """A batch that is only planned finds nothing done where there is no ledger yet, and makes none."""
    for _ in range(2):
        command = ["backfill", "reading_flows:flow", "--batch", "b1", "--dry-run", "--ledger", sql_url]
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert "would run   2" in done.output
        assert not Path(sql_url.removeprefix("sqlite:///")).exists()
        if not sql_url.startswith("sqlite"):
            assert tables_of(sql_url) == []


def test_a_reader_is_told_that_there_is_none(sql_url: str) -> None:
    """``open_ledger(make=False)`` raises, and makes neither file nor tables; what is there is read."""
    reader = open_ledger(sql_url, make=False)
    for _ in range(2):
        with pytest.raises(NoLedger, match="there is no ledger"):
            reader.list_runs()
    assert not Path(sql_url.removeprefix("sqlite:///")).exists()
    open_ledger(sql_url).list_runs()
    assert reader.list_runs() == []
    reader.close()
