"""Runs commands of dg, each in a process of its own, forked from one that has imported Dagster: a program."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from warm_programs import Ask, answer_all, forked, program, take_place

_SECONDS = 240


class Commands:
    """The program, as its user has it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def __call__(self, *args: str, cwd: Path) -> str:
        """Run a command in a project, without colours and at a width at which nothing is cut; it must succeed."""
        env = os.environ | {"DAGSTER_DISABLE_TELEMETRY": "1", "COLUMNS": "200", "PYTHONPATH": str(cwd / "src")}
        env |= {"DAGSTER_HOME": str(cwd), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        code, printed, errors = self._ask([args, str(cwd), env])
        assert code == 0, printed + errors
        return str(printed)


@contextlib.contextmanager
def commands() -> Iterator[Commands]:
    """Run the program as long as the block."""
    with program("examples.dg_commands", env={}) as ask:
        yield Commands(ask)


def main() -> None:
    """Run commands until there are no more."""
    with contextlib.redirect_stdout(sys.stderr):
        dg = import_module("dagster_dg_cli.cli").cli
        dg.list_commands(click.Context(dg))  # imports them
        for name in ("dagster.components.list", "flowctx.dagster.component", "imports_stay"):
            import_module(name)
    answer_all(_ended)


def _ended(asked: tuple[list[str], str, dict[str, str]]) -> list[Any]:
    """Run a command, and return its exit code and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "out"), Path(folder, "errors")
        code = forked(_run, *asked, *files)
        return [code, *(file.read_text() for file in files)]


def _run(args: list[str], folder: str, env: dict[str, str], out: Path, errors: Path) -> None:
    """Be dg in this process, as its script is."""
    take_place(Path(folder), env, out, errors, seconds=_SECONDS)
    sys.path[:0] = [str(Path(sys.executable).parent), env["PYTHONPATH"]]  # dg takes the script's folder away
    sys.argv = ["dg", *args]
    import_module("dagster_dg_cli.cli").main()


if __name__ == "__main__":
    main()
