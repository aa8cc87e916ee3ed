"""Inputs on the command line: what was read, what is missing, and what waits."""

from __future__ import annotations

import sys

import pytest

SOURCE = """
import pathlib
from flowctx import Daily, PartitionScheme, Workflow

DAYS = Daily(start="2026-01-05", end="2026-01-09")
nav = Workflow("nav", partitions=PartitionScheme(date=DAYS, fund=["A", "B"]))

@nav.step(inputs={"yesterday": nav.output("value").previous()})
def value(ctx, *, yesterday):
    if str(ctx.key) == "date=2026-01-06|fund=A" and not pathlib.Path(__file__).with_name("mended").exists():
        raise ValueError("no price")
    return {"n": 1 if yesterday is None else yesterday["n"] + 1}

desk = Workflow("desk", partitions=PartitionScheme(date=DAYS))

@desk.step(inputs={"funds": nav.output("value")})
def total(ctx, *, funds):
    return {"sum": sum(output["n"] for output in funds.values())}

loop = Workflow("loop", partitions=PartitionScheme(date=DAYS))

@loop.step(inputs={"own": loop.output("again")})
def again(ctx, *, own):
    return own
"""


@pytest.fixture
def funds(shell):
    (shell.folder / "cli_funds.py").write_text(SOURCE)
    yield shell
    sys.modules.pop("cli_funds", None)


def test_a_batch_says_what_waits_and_goes_on(funds):
    """Exit code 1, a count, the reason in status and its JSON; the retry runs the failure and what waited."""
    launch = ("backfill", "cli_funds:nav", "--batch", "b", "--workers", "2")
    assert "waiting     3, for what failed" in funds(*launch, exit_code=1)
    why = "waits for date=2026-01-06|fund=A, which failed at step value"
    assert funds("status", "b", "--json")["waits"] == {why: 3}
    shown = funds("status", "b", "--workflow", "cli_funds:nav")
    assert why in " ".join(shown.split())
    assert "◌ waiting" in shown
    assert funds(*launch, "--json", exit_code=1)["waiting"] == 3
    funds.mend()
    assert funds(*launch, "--retry-failed", "--json")["ended"] == {"ok": 4}


def test_show_lists_what_was_read(funds):
    """Each partition with its capture, in words and as JSON."""
    funds.mend()
    for day in ("05", "06"):
        funds("run", "cli_funds:nav", "--partition", f"2026-01-{day}|A", "--batch", "v1")
    run = funds("run", "cli_funds:nav", "--partition", "2026-01-07|A", "--json")["run_id"]
    assert "2026-01-06|A|v1" in funds("show", run)
    [step] = funds("show", run, "--json")["steps"]
    [read] = step["inputs"]["yesterday"]
    assert (read["partition"], read["capture_id"], read["revision"]) == ("date=2026-01-06|fund=A", "2026-01-06|A|v1", 1)


def test_what_is_missing_is_said_with_the_command_that_makes_it(funds):
    """Typed as it stands, the command makes what is missing."""
    failed = funds("run", "cli_funds:desk", "--partition", "2026-01-05", exit_code=1)
    command = 'flowctx backfill cli_funds:nav --batch NEW_ID --select "date=2026-01-05,fund=A|B"'
    assert command in " ".join(failed.split())
    funds("backfill", "cli_funds:nav", "--batch", "n", "--select", "date=2026-01-05,fund=A|B")
    funds("run", "cli_funds:desk", "--partition", "2026-01-05")


def test_what_cannot_be_read_is_refused_before_anything_runs(funds):
    """One sentence, and no run."""
    refused = funds("run", "cli_funds:loop", "--partition", "2026-01-05", exit_code=2)
    assert "is itself of the same date" in " ".join(refused.split())
    funds("ledger", "upgrade")
    assert funds("runs", "--json") == []
