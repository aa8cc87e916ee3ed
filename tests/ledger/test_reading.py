"""Who only reads a ledger makes none, on either database."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect, text

from flowctx import (
    NoLedger,
    PartitionScheme,
    VersionChoice,
    Workflow,
    diff,
    outputs,
    read_input,
    replay,
    run,
    stale,
)
from flowctx.cli import cli
from flowctx.ledger import open_ledger, shared_ledger
from flowctx.ledger.ledger_urls import ledger_url
from flowctx.parity.verifying import verify
from flowctx.testing import make_context
from flowctx.versions import diff_replay
from flowctx.versions.outputs import output_pages

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
FUNCTIONS: dict[str, Callable[[Workflow, dict[str, Any]], Any]] = {
    "outputs": lambda flow, ledger: outputs(flow, "a", **ledger),
    "output_pages": lambda flow, ledger: list(output_pages(flow, "a", **ledger)),
    "diff": lambda flow, ledger: diff(flow, VersionChoice(revision=1), **ledger),
    "diff_replay": lambda flow, ledger: diff_replay(flow, "r1", **ledger),
    "stale": lambda flow, ledger: stale(flow, **ledger),
    "verify": lambda flow, ledger: verify(reads(flow), "tier=A", on=["dagster"], **ledger),
    "read_input": lambda flow, ledger: read_input(make_context(partition={"tier": "A"}), flow.output("a"), **ledger),
    "replay": lambda flow, ledger: replay("r1", "a", flow, **ledger),
}
FLOW = """
from flowctx import PartitionScheme, Workflow

flow = Workflow("flow", partitions=PartitionScheme(tier=["A", "B"]))
flow.step(name="a")(lambda ctx: {})
"""


def reads(flow: Workflow) -> Workflow:
    """Return a workflow that reads another one's outputs."""
    reader = Workflow("reader", partitions=flow.partitions)
    reader.step(name="b", inputs={"all": flow.output("a")})(lambda ctx, all: {})
    return reader


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


@pytest.mark.parametrize("named", ["given", "by the environment"])
@pytest.mark.parametrize("read", FUNCTIONS, ids=FUNCTIONS)
def test_a_function_that_reads_makes_no_tables(
    sql_url: str, read: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Python as in the commands: ``NoLedger``, and neither file nor tables."""
    if named != "given":
        monkeypatch.setenv("FLOWCTX_LEDGER_URL", sql_url)
    flow = Workflow("flow", partitions=PartitionScheme(tier=["A", "B"]))
    flow.step(name="a")(lambda ctx: {})
    with pytest.raises(NoLedger, match="there is no ledger"):
        FUNCTIONS[read](flow, {"ledger": sql_url} if named == "given" else {})
    assert not Path(sql_url.removeprefix("sqlite:///")).exists()
    if not sql_url.startswith("sqlite"):
        assert tables_of(sql_url) == []


def test_a_function_reads_what_the_process_has_just_made(sql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that the environment names is made by the first run, and read from then on."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", sql_url)
    flow = Workflow("flow", partitions=PartitionScheme(tier=["A", "B"]))
    flow.step(name="a")(lambda ctx: {"n": 1})
    with pytest.raises(NoLedger):
        outputs(flow, "a")
    assert run(flow, partition="tier=A").status == "ok"
    assert len(outputs(flow, "a")) == 1
    shared_ledger(sql_url).close()


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
