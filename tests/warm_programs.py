"""Programs that import once what takes seconds, and fork a process for each thing that they are asked to do."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Asks a program, and returns its answer; both are what JSON can say.
Ask = Callable[[Any], Any]


@contextmanager
def program(module: str, *args: str, env: Mapping[str, str]) -> Iterator[Ask]:
    """Run a program of the tests as long as the block.

    Args:
        module: Its module, which calls :func:`answer_all`.
        *args: Its arguments.
        env: More environment for it.
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), **env}
    command, pipe = [sys.executable, "-m", module, *args], subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) as server:
        to_it, from_it = server.stdin, server.stdout
        assert to_it is not None
        assert from_it is not None

        def ask(question: Any) -> Any:
            to_it.write(json.dumps(question) + "\n")
            to_it.flush()
            answer = from_it.readline()
            assert answer, f"{module} has ended"
            return json.loads(answer)

        yield ask


def answer_all(answer: Ask) -> None:
    """In a program, answer until nobody asks any more."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def forked(call: Callable[..., None], *args: Any) -> int | None:
    """Call something in a process of its own, and return its exit code; an exception ends the process."""
    process = multiprocessing.get_context("fork").Process(target=call, args=args)
    process.start()
    process.join()
    return process.exitcode


def take_place(folder: Path, env: Mapping[str, str], out: Path, errors: Path, *, seconds: int) -> None:
    """In a forked process, be in a folder, with this environment, and for so long at most.

    Args:
        folder: The folder.
        env: The whole environment.
        out: The new file that standard output goes to.
        errors: The same of standard error; it may be the same file.
        seconds: How long: whatever it does then, it is ended.
    """
    signal.alarm(seconds)
    with out.open("ab") as printed, errors.open("ab") as complaints, open(os.devnull) as nothing:
        for number, file in enumerate((nothing, printed, complaints)):
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
