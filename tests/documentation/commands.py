"""Looks at the commands of console blocks that are not run: each is parsed by the program that it is for."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator

import click

from documentation.pages import ROOT, Block

#: What the shell itself and its companions do; nothing of ours can be wrong in it.
SHELL = {"cd", "mkdir", "export", "eval", "git", "cat", "ls", "python", "source", "#"}


def check_commands(block: Block) -> None:
    """Parse each command of a block.

    Raises:
        AssertionError: A command, an option or a value that the program does not know.
    """
    for command in _commands(block.text):
        words = shlex.split(command, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # settings before a command
            words.pop(0)
        if not words:
            continue
        name, *args = words
        parser = PARSERS.get(name)
        assert parser or name in SHELL, f"{block.where}: nothing can say whether {command!r} is right"
        try:
            if parser:
                parser(args)
        except (click.ClickException, SystemExit) as exc:
            detail = exc.format_message() if isinstance(exc, click.ClickException) else exc
            raise AssertionError(f"{block.where}: {command}: {detail}") from exc


def _commands(text: str) -> Iterator[str]:
    """Yield the commands, one a line; a backslash continues one."""
    for line in text.replace("\\\n", " ").splitlines():
        for command in re.split(r"\s*(?:&&|\|)\s+", line):
            yield command.strip().replace("…", "date=2026-01-09")


def _click(root: Callable[[], click.Command]) -> Callable[[list[str]], None]:
    """Return what parses the arguments of a program that is made with click, and runs nothing."""

    def parse(args: list[str]) -> None:
        command, context = root(), None
        name: str | None = command.name
        while True:
            context = command.make_context(name, args, parent=context, ignore_unknown_options=False)
            if not isinstance(command, click.Group):
                return
            rest = [*getattr(context, "_protected_args", ()), *context.args]  # click 8 and click 9
            if not rest:
                return
            name, found, args = command.resolve_command(context, rest)
            assert found is not None
            command = found

    return parse


def _flowctx() -> click.Command:
    from flowctx.cli import cli

    return cli


def _dagster() -> click.Command:
    from dagster._cli import create_dagster_cli

    return create_dagster_cli()


def _dg() -> click.Command:
    from dagster_dg_cli.cli import create_dg_cli

    return create_dg_cli()


def _airflow(args: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    get_parser().parse_args(args)


def _make(args: list[str]) -> None:
    targets = re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    wrong = [name for name in args if "=" not in name and name not in targets]
    assert not wrong, f"the Makefile has no {', '.join(wrong)}"


def _pip(args: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name in re.findall(r"flowctx\[([^\]]+)\]", " ".join(args)):
        for extra in name.split(","):
            assert extra in extras, f"there is no extra {extra!r}"


PARSERS: dict[str, Callable[[list[str]], None]] = {
    "flowctx": _click(_flowctx),
    "dagster": _click(_dagster),
    "dg": _click(_dg),
    "airflow": _airflow,
    "make": _make,
    "pip": _pip,
}
