"""The command: what it prints, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

RUN = ("run", "cli_flows:prices", "--partition", "symbol=IBM", "--run-id", "r1")


@pytest.fixture
def failed(shell):
    """A shell whose run r1 has failed."""
    shell(*RUN, exit_code=1)
    return shell


def test_a_run_prints_its_steps(shell):
    """A run prints each step and how it ended; it ends with 0 when all is well."""
    shell.mend()
    said = shell(*RUN)
    assert [line.split()[:2] for line in said.splitlines() if line.startswith(("fetch", "check", "load"))] == [
        ["fetch", "ok"],
        ["check", "ok"],
        ["load", "ok"],
    ]


def test_a_failed_run_ends_with_one(shell):
    """A run that failed ends with 1 and says why."""
    assert "too bad" in shell(*RUN, exit_code=1)


def test_a_run_as_json(shell):
    """A run as JSON has its status, its steps and its context."""
    shell.mend()
    data = shell(*RUN, "-p", "limit=4", "-p", "note=two words", "--batch", "b1", "--json")
    assert data["status"] == "ok"
    assert data["context"]["params"] == {"limit": 4, "note": "two words", "cursor": 7}
    assert data["context"]["capture_id"] == "IBM|b1"
    assert [step["name"] for step in data["steps"]] == ["fetch", "check", "load"]


def test_runs_are_listed(failed):
    """The runs that the ledger remembers are listed, all or those asked for."""
    (only,) = failed("runs", "--json")
    assert (only["run_id"], only["status"], only["error"]) == ("r1", "failed", "step 'check': too bad")
    assert failed("runs", "--status", "ok", "--json") == []
    assert "symbol=IBM" in failed("runs", "--partition", "symbol=IBM", "--workflow", "prices")


def test_a_run_is_shown(failed):
    """A run is shown with its steps, those that were not run too, and how to go on."""
    said = failed("show", "r1")
    assert "load   not_run" in said
    assert "to go on: flowctx resume r1" in said
    data = failed("show", "r1", "--json")
    assert data["steps"][0]["output"] == {"rows": [1, 2, 3]}
    assert data["context"]["params"] == {"limit": 3}


def test_a_run_is_resumed_where_it_stopped(failed):
    """A resumed run runs what is left, with new parameters if there are any."""
    failed.mend()
    data = failed("resume", "r1", "-p", "cursor=9", "--json")
    assert data["context"]["step_outputs"]["check"] == {"sum": 6, "cursor": 9}
    assert data["context"]["checkpoint"]["completed"] == ["fetch"]
    assert failed("show", "r1", "--json")["attempt"] == 2


def test_a_changed_workflow_is_explained(failed):
    """A workflow that has changed is explained, and the way on is an option of the same command."""
    failed.file.write_text(failed.file.read_text().replace('[1, 2, ctx.params["limit"]]', "[0]"))
    sys.modules.pop("cli_flows")
    said = failed("resume", "r1", exit_code=1)
    assert "the code of step 'fetch' changed" in said
    assert "--accept-changes" in said
    failed.mend()
    assert failed("resume", "r1", "--from-step", "fetch", "--json")["context"]["step_outputs"]["check"]["sum"] == 0


def test_a_step_is_replayed(failed):
    """A replayed step says that it is the same as recorded, or shows the difference, and writes nothing."""
    assert "the same as recorded" in failed("replay", "r1", "check", exit_code=1)
    failed.mend()
    said = failed("replay", "r1", "check")
    assert '-  "error": "too bad",' in said
    assert '+    "sum": 6' in said
    assert failed("show", "r1", "--json")["status"] == "failed"


def test_a_step_is_replayed_under_the_debugger(failed):
    """With --pdb, the debugger stops at the step's first line, and its commands work."""
    done = subprocess.run(
        [sys.executable, "-m", "flowctx.cli", "replay", "r1", "check", "--pdb"],
        input="p 'params', ctx.params\nc\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "('params', {'limit': 3, 'cursor': 7})" in done.stdout
    assert done.returncode == 1


def test_captures_are_listed(shell):
    """Each partition's revisions are listed, and which one is current."""
    shell.mend()
    for batch in ("b1", "b2"):
        shell("run", "cli_flows:prices", "--partition", "IBM", "--batch", batch)
    found = shell("captures", "prices", "--json")
    assert [(c["revision"], c["capture_id"], c["current"]) for c in found] == [
        (1, "IBM|b1", False),
        (2, "IBM|b2", True),
    ]
    said = shell("run", "cli_flows:prices", "--partition", "IBM", "--on-captured", "skip")
    assert "is captured already by run" in said


def test_old_runs_are_pruned(shell):
    """Pruning says what it forgot."""
    shell.mend()
    shell(*RUN)
    assert shell("ledger", "prune", "--days", "0", "--json") == {"runs": 0, "captures": 0}
    assert "is up to date" in shell("ledger", "upgrade")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("run", "cli_flows:nope"), "Error: 'cli_flows' has no workflow 'nope'; it has prices"),
        (("run", "no_such_module:x"), "Error: there is no module 'no_such_module' to import"),
        (("run", "cli_flows:prices"), "is partitioned; pass partition="),
        (("run", "cli_flows:prices", "--partition", "symbol=XX"), "it has AAPL, IBM"),
        (("show", "nope"), "Error: the ledger remembers no run 'nope' that fits; see: flowctx runs"),
        (("resume", "nope"), "remembers no run 'nope'"),
        (("runs", "--ledger", "nonsense"), "'nonsense' is no URL of a ledger"),
    ],
)
def test_an_error_is_one_line_with_the_remedy(shell, args, why):
    """What goes wrong is one line that says what to do, and the command ends with 1."""
    said = shell(*args, exit_code=1)
    assert why in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "args", [("run",), ("runs", "--status", "good"), ("runs", "--limit", "0"), ("nope",), ("run", "x", "-p", "y")]
)
def test_a_wrong_command_ends_with_two(shell, args):
    """A command that cannot be is the user's error: it ends with 2."""
    shell(*args, exit_code=2)


def test_an_error_in_the_users_module_is_named(shell):
    """An error inside the user's module is named in one line; --debug shows where it is."""
    shell.file.write_text("1 / 0\n")
    assert "ZeroDivisionError: division by zero (flowctx --debug shows where)" in shell(*RUN, exit_code=1)
    with pytest.raises(ZeroDivisionError):
        shell("--debug", *RUN)


def test_the_default_ledger_is_the_users_own(shell, monkeypatch, tmp_path):
    """Without any setting, runs are remembered in a file in the user's state folder."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shell(*RUN, exit_code=1)
    assert (tmp_path / "state" / "flowctx" / "ledger.db").exists()
    assert [found["run_id"] for found in shell("runs", "--json")] == ["r1"]
