"""Runs pages, each in a process of its own, forked from one that has made already what takes the engines seconds.

A program: it is asked to run a page in a folder, and answers how that ended.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

from warm_programs import Ask, answer_all, forked, program, take_place

#: Where a page has its Airflow's database, in the folder in which it runs.
DATABASE = "airflow.db"
_SECONDS = 300


class Readers:
    """The program, as its user has it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def read(self, page: str, folder: Path, env: Mapping[str, str]) -> tuple[int, str]:
        """Run a page in a folder, with this environment; return its exit code and what it printed."""
        return self._ask([page, str(folder), dict(env)]), _output(folder).read_text()


@contextlib.contextmanager
def readers(home: Path) -> Iterator[Readers]:
    """Run the program as long as the block, with an empty folder for itself."""
    env = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / DATABASE}",
    }
    with program("documentation.readers", str(home), env=env) as ask:
        yield Readers(ask)


def main(home: Path) -> None:
    """Run pages until there are no more."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
        _make_airflow()
        for name in ("flowctx.testing", "pandas", "pyarrow.parquet", "exchange_calendars", "e2e.warm_dagster"):
            import_module(name)

    def ended(asked: tuple[str, str, dict[str, str]]) -> int | None:
        page, folder, env = asked
        shutil.copy(home / DATABASE, folder)
        return forked(_read, page, Path(folder), env)

    answer_all(ended)


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
    take_place(folder, env, _output(folder), _output(folder), seconds=_SECONDS)
    import_module("flowctx.airflow._compat").read_settings_again()
    import_module("documentation.runner").main(page)


def _output(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.txt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
