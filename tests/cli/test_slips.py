"""Slips in what is typed: each is refused, and says what to write."""

from __future__ import annotations

import subprocess
import sys

import pytest

DATES = """
from flowctx import Daily, PartitionScheme, Workflow

days = Workflow("days", partitions=PartitionScheme(date=Daily(start="2012-01-02", end="2012-01-06")))
days.step(name="load")(lambda ctx: {})
"""
COUNTS = [
    ("runs", "--limit"),
    ("batches", "--limit"),
    ("captures", "prices", "--limit"),
    ("status", "b", "--failures"),
    ("output", "cli_flows:prices", "fetch", "--revision"),
    ("diff", "cli_flows:prices", "--batch", "b", "--limit"),
    ("verify", "cli_flows:prices", "--limit"),
    ("backfill", "cli_flows:prices", "--batch", "b", "--workers"),
    ("backfill", "cli_flows:prices", "--batch", "b", "--max-failures"),
    ("ledger", "prune", "--days"),
    ("ledger", "prune", "--days", "9", "--keep-versions"),
]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("ledger", "prune", "--days", "99999999"), "--days 99999999 reaches back before the year 1; take fewer days"),
        (
            ("diff", "cli_flows:prices", "--batch", "b", "--key", "a,"),
            "--key 'a,' names a column without a name; write",
        ),
        (("verify", "cli_flows:prices", "--key", ",a"), "--key ',a' names a column without a name; write --key"),
        (("ledger", "prune", "--days", "9", "--grace-days", "1e9"), "--grace-days 1000000000 reaches back before the"),
        (("ledger", "prune", "--days", "9", "--grace-days", "inf"), "--grace-days inf reaches back before the year 1"),
        (
            ("run", "cli_flows:prices", "--partition", "IBM", "-p", "a=1", "-p", "a=2"),
            "'a' is given twice; give it once",
        ),
        (
            (
                "run",
                "cli_flows:prices",
                "--partition",
                "IBM",
                "--step-config",
                "fetch.a=1",
                "--step-config",
                "fetch.a=2",
            ),
            "'fetch.a' is given twice; give it once",
        ),
        *(
            ((*command, str(2**63)), "9223372036854775808 is larger than databases take; the largest is 92")
            for command in COUNTS
        ),
        (
            ("diff", "cli_flows:prices", "--revision", "1", "--with", str(2**63)),
            "revision=9223372036854775808: revisions count from 1 to 9223372036854775807",
        ),
        (
            ("run", "cli_flows:prices", "--partition", "IBM", "--step-config", "max=1"),
            "max=1 is not of the form STEP.NAME=VALUE: write STEP.max=1; the steps are fetch, check, load",
        ),
        (
            ("run", "cli_flows:prices", "--partition", "IBM", "--step-config", "fetch=1"),
            "write fetch.NAME=1; the steps",
        ),
        (
            ("backfill", "cli_flows:prices", "symbol=IBM|AAPL", "--batch", "b"),
            "'symbol=IBM|AAPL' is no workflow; which partitions: --select 'symbol=IBM|AAPL'",
        ),
        (("--debug", "run", "cli_flows:prices", "--partition", "ABM"), "UnknownPartition: the scheme has no key"),
        (("batches", "--limit", "few"), "'few' is not a valid whole number"),
        (("stale", "cli_flows:prices", "--rtol", "few"), "'few' is not a valid number"),
        (
            ("run", "cli_flows.prices"),
            "there is no module 'cli_flows.prices' to import; did you mean cli_flows:prices?",
        ),
        (("status", "b", "--on", "airflow"), "also say whose batch b is: --workflow cli_flows:prices"),
        (("backfill", "cli_flows:prices", "--batch", " x "), "batch_id=' x ' has blanks around it"),
        (("run", "cli_flows:prices", "--partition", "IBM", "--batch", "x "), "batch_id='x ' has blanks around it"),
        (
            ("backfill", "cli_flows:prices", "--batch", "b", "--ledger", "sqlite:///a b?x=1.db"),
            "has an option 'x' that no ledger in SQLite takes",
        ),
        (("resume", "r1", "--url", "http://localhost:1"), "--url is where another engine is"),
        (("resume", "r1", "--location", "market"), "--location is a code location of Dagster's"),
        (("status", "b", "--url", "http://localhost:1"), "--url is where another engine is"),
        (("status", "b", "--on", "local", "--url", "http://localhost:1"), "--url is where another engine is"),
        (("cancel", "b", "--on", "local", "--url", "http://localhost:1"), "--url is where another engine is"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_slip_is_refused(shell, command, says):
    """With exit code 2, and nothing is done."""
    shell.mend()
    shell("backfill", "cli_flows:prices", "--batch", "b", "--select", "symbol=IBM", "--workers", "1")
    shell("run", "cli_flows:prices", "--partition", "IBM", "--run-id", "r1")
    assert says in shell(*command, exit_code=2)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_days_that_fit_are_taken(shell, dry):
    """A long time is no slip."""
    shell.mend()
    shell("run", "cli_flows:prices", "--partition", "IBM")
    assert "0 runs" in shell("ledger", "prune", "--days", "36500", *dry)


def test_a_warning_is_a_line_without_its_source(shell):
    """What a selection leaves out is told as other things are; a warning of somebody's own code keeps its place."""
    source = DATES + "import warnings\nwarnings.warn('mine')\n"
    (shell.folder / "dated.py").write_text(source)
    command = [sys.executable, "-m", "flowctx", "backfill", "dated:days", "--batch", "b", "--select"]
    for select, beyond in (
        ("date=2011-12-20..2012-01-03", "starts 2012-01-02"),
        ("date=last:99", "has 5 up to 2012-01-06"),
    ):
        done = subprocess.run([*command, select, "--dry-run"], capture_output=True, text=True, check=True)
        assert (
            f"Warning: {select} reaches beyond the scheme, which {beyond}; what lies beyond is left out\n"
            in done.stderr
        )
        assert "selection_text.py" not in done.stderr
        assert "dated.py:" in done.stderr
        assert "UserWarning: mine" in done.stderr


def test_a_warning_of_a_worker_is_a_line_too(shell):
    """The processes of a batch tell it as the command does."""
    select = "days.partitions.select('date=2011-12-20..2012-01-03')"
    source = DATES.replace("lambda ctx: {}", "lambda ctx: {'n': len(" + select + ")}")
    (shell.folder / "dated.py").write_text(source)
    command = [sys.executable, "-m", "flowctx", "backfill", "dated:days", "--batch", "b", "--select", "date=2012-01-02"]
    done = subprocess.run([*command, "--workers", "1"], capture_output=True, text=True, check=True)
    assert "Warning: date=2011-12-20..2012-01-03 reaches beyond the scheme, which starts 2012-01-02" in done.stderr
    assert "selection_text.py" not in done.stderr
