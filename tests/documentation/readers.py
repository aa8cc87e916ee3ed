"""Runs pages, each in a process of its own, forked from one that has made already what takes the engines seconds.

A program: each line that it reads is a page and where it is run, in JSON, and each one that it prints how that ended.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

#: Where a page has its Airflow's database, in the folder in which it runs.
DATABASE = "airflow.db"
_SECONDS = 300


class Readers:
    """The program, as its user has it."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def read(self, page: str, folder: Path, env: Mapping[str, str]) -> tuple[int, str]:
        """Run a page in a folder, with this environment; return its exit code and what it printed."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([page, str(folder), dict(env)]) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "whoever runs pages has ended"
        return int(answer), _output(folder).read_text()


@contextlib.contextmanager
def readers(home: Path) -> Iterator[Readers]:
    """Run the program as long as the block, with an empty folder for itself."""
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / DATABASE}",
    }
    command, pipe = [sys.executable, "-m", "documentation.readers", str(home)], subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) as server:
        yield Readers(server)


def main(home: Path) -> None:
    """Run pages until there are no more."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
        _make_airflow()
        for name in ("flowctx.testing", "pandas", "pyarrow.parquet", "exchange_calendars", "e2e.warm_dagster"):
            import_module(name)
    fork = multiprocessing.get_context("fork")
    for line in sys.stdin:
        page, folder, env = json.loads(line)
        shutil.copy(home / DATABASE, folder)
        process = fork.Process(target=_read, args=(page, Path(folder), env))
        process.start()
        process.join()
        print(process.exitcode, flush=True)


def _make_airflow() -> None:
    """Make Airflow's database and its API for tasks, which no thread serves yet."""
    import_module("migrations_once")
    from airflow.sdk.api.datamodels._generated import API_VERSION
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    from flowctx.airflow import _compat, running  # noqa: F401
    from flowctx.airflow.api_versions import speak_to_one_client

    _compat.migrate()
    app = in_process_api_server().app
    speak_to_one_client(app, API_VERSION)
    app._cadwyn_initialize()


def _read(page: str, folder: Path, env: Mapping[str, str]) -> None:
    """Run a page in this process; an exception of its code is one of the process."""
    signal.alarm(_SECONDS)  # ends it, if nothing else does
    with _output(folder).open("wb") as output, open(os.devnull) as nothing:
        for file, number in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    import_module("flowctx.airflow._compat").read_settings_again()
    import_module("documentation.runner").main(page)


def _output(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.txt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
