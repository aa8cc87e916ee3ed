"""Options that messages, help and documentation name: whoever types them there is understood."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import flowctx
from flowctx.cli import _MODULES, cli

ROOT = Path(__file__).parents[2]
SOURCE = Path(flowctx.__file__).parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
#: What is typed to other programs.
OTHERS = re.compile(r"(pip|airflow|dagster) [a-z][^;]*")


def options_of(command: click.Command) -> set[str]:
    return {"--help", *(name for param in command.params for name in (*param.opts, *param.secondary_opts))}


def all_options() -> dict[str, set[str]]:
    found = {name: cli.get_command(click.Context(cli), name) for name in _MODULES}
    for name, group in list(found.items()):
        found |= {f"{name} {one}": inner for one, inner in getattr(group, "commands", {}).items()}
    return {name: options_of(command) for name, command in found.items()}


OPTIONS = all_options()
EVERY = set().union(options_of(cli), *OPTIONS.values())
TYPED = re.compile(rf"\bflowctx ({'|'.join(sorted(OPTIONS, key=len, reverse=True))})\b([^;|()`\n]*)")


def texts_of(file: Path) -> Iterator[str]:
    """Yield the texts of a module but for its docstrings; what a value is put into has an X there."""
    tree = ast.parse(file.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def unknown(text: str) -> list[str]:
    """Return the options of commands in a text that these do not have."""
    return [
        f"{command} {option}"
        for command, rest in TYPED.findall(text)
        for option in OPTION.findall(rest)
        if option not in OPTIONS[command]
    ]


def test_an_option_that_a_command_lacks_is_found():
    """The tests below would see it."""
    assert unknown("see: flowctx verify flows:nav --until 2026-01-09 --nosuch; flowctx ledger keep B --batch X") == [
        "verify --nosuch",
        "ledger keep --batch",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_the_documentation_have_their_options(page):
    """What a page says to type is taken."""
    assert unknown(page.read_text().replace("\\\n", " ")) == []


def test_commands_in_messages_have_their_options():
    """What a message or a docstring says to type is taken, and an option that it names alone is one of some command."""
    for file in SOURCE.rglob("*.py"):
        assert unknown(file.read_text()) == [], file
        for text in texts_of(file):
            assert unknown(text) == [], text
            assert set(OPTION.findall(OTHERS.sub("", text))) <= EVERY, text


@pytest.mark.parametrize("module", sorted(set(_MODULES.values())))
def test_a_command_names_options_of_its_own(module):
    """What the module of a command names alone, that command has, or another one there."""
    own = set().union(*(options for name, options in OPTIONS.items() if _MODULES[name.split()[0]] == module))
    for text in texts_of(SOURCE / "cli" / f"{module}.py"):
        alone = OPTION.findall(TYPED.sub("", text))
        assert set(alone) <= own, text


@pytest.mark.parametrize(
    ("which", "needed"),
    [
        ({"--select"}, {"--until"}),  # dates without an end cannot be listed without it
        ({"--run-id"}, {"--partition"}),
        ({"--retry-failed"}, {"--select", "--extend", "--accept-changes", "--from-step"}),
        ({"--from-step"}, {"--accept-changes"}),
    ],
)
def test_options_that_are_advised_together_are_there_together(which, needed):
    """What core says of one option is true of each command that has it."""
    commands = {name for name, options in OPTIONS.items() if which <= options}
    assert commands
    assert [name for name in commands if not needed <= OPTIONS[name]] == []


def test_a_run_that_is_one_of_several_is_told_apart_by_options():
    """Where an id is of several runs, a message says --workflow and --partition: who takes an id takes both."""
    assert [name for name in ("show", "resume", "replay") if not {"--workflow", "--partition"} <= OPTIONS[name]] == []
