"""Runs commands of dg, each in a process of its own, forked from one that has imported Dagster.

A program: each line that it reads is a command's arguments, folder and environment, in JSON, and each one that it
prints is its exit code and what it printed itself.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click


class Commands:
    """The program, as its user has it."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def __call__(self, *args: str, cwd: Path) -> str:
        """Run a command in a project, without colours and at a width at which nothing is cut; it must succeed."""
        env = os.environ | {"DAGSTER_DISABLE_TELEMETRY": "1", "COLUMNS": "200", "PYTHONPATH": str(cwd / "src")}
        env |= {"DAGSTER_HOME": str(cwd), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([args, str(cwd), env]) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "whoever runs commands has ended"
        code, printed, errors = json.loads(answer)
        assert code == 0, printed + errors
        return str(printed)


@contextlib.contextmanager
def commands() -> Iterator[Commands]:
    """Run the program as long as the block."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command, pipe = [sys.executable, "-m", "examples.dg_commands"], subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) as server:
        yield Commands(server)


def main() -> None:
    """Run commands until there are no more."""
    with contextlib.redirect_stdout(sys.stderr):
        dg = import_module("dagster_dg_cli.cli").cli
        dg.list_commands(click.Context(dg))  # imports them
        for name in ("dagster.components.list", "flowctx.dagster.component", "imports_stay"):
            import_module(name)
    fork = multiprocessing.get_context("fork")
    for line in sys.stdin:
        args, folder, env = json.loads(line)
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as errors:
            process = fork.Process(target=_run, args=(args, folder, env, out.name, errors.name))
            process.start()
            process.join()
            print(json.dumps([process.exitcode, out.read(), errors.read()]), flush=True)


def _run(args: list[str], folder: str, env: dict[str, str], out: str, errors: str) -> None:
    """Be dg in this process, as its script is."""
    for name, number, mode in ((os.devnull, 0, "rb"), (out, 1, "wb"), (errors, 2, "wb")):
        with open(name, mode) as file:
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [str(Path(sys.executable).parent), env["PYTHONPATH"]]  # dg takes the script's folder away
    sys.argv = ["dg", *args]
    import_module("dagster_dg_cli.cli").main()


if __name__ == "__main__":
    main()
