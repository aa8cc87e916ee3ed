"""The help, which reads like a page of documentation."""

from __future__ import annotations

import click
import pytest

from flowctx.cli import cli

NAMES = cli.list_commands(click.Context(cli))
COMMANDS = [*NAMES, "ledger prune", "ledger keep", "ledger upgrade"]


@pytest.mark.parametrize("group", [(), ("ledger",)])
def test_short_descriptions_are_whole_sentences(shell, group):
    """The list of commands breaks no description off."""
    listed = shell(*group, "--help").split("Commands:\n")[1].splitlines()
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_commands_are_in_the_order_of_their_use(shell):
    """What one does first is listed first."""
    listed = shell("--help").split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in listed] == NAMES


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_each_command_has_an_example(shell, command):
    """Each help shows how the command is typed, and fits a terminal."""
    said = shell(*command.split(), "--help")
    about = said.split("Options:")[0].splitlines()[1:]
    assert any(line.startswith(f"  flowctx {command}".rstrip()) for line in about)
    assert max(map(len, said.splitlines())) <= 84
