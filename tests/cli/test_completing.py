"""What a shell offers at the tab key."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete

from flowctx.cli import cli


def offered(*typed, begun=""):
    completions = ShellComplete(cli, {}, "flowctx", "_FLOWCTX_COMPLETE").get_completions(list(typed), begun)
    return [item.value for item in completions]


def test_names_of_the_project_are_offered(shell):
    """Names in [tool.flowctx] complete as workflows."""
    (shell.folder / "pyproject.toml").write_text('[tool.flowctx]\nprices = "cli_flows:prices"\nother = "x:y"\n')
    assert offered("run", begun="pr") == ["prices"]


@pytest.mark.parametrize(("command", "begun", "found"), [("show", "r", ["r1"]), ("status", "", ["b1"])])
def test_ids_are_offered(shell, command, begun, found):
    """Ids of runs and batches complete from the ledger."""
    shell.mend()
    shell("run", "cli_flows:prices", "--partition", "IBM", "--run-id", "r1", "--batch", "b1")
    assert offered(command, begun=begun) == found


def test_completion_makes_nothing(shell):
    """Without a ledger nothing is offered, and none is made."""
    assert offered("show") == []
    assert not (shell.folder / "ledger.db").exists()


def test_completion_says_nothing_of_errors(shell, monkeypatch):
    """A ledger that cannot be opened is no message in the middle of a command."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", "nonsense")
    assert offered("show") == []
