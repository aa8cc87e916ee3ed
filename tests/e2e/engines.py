"""The engines of the end-to-end tests, with all that tests want of them: ``python -m e2e.engines NAME FOLDER``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from e2e.airflow_stack import airflow_stack
from e2e.dagster_stack import Location, dagster_stack
from e2e.flow_folder import CHAIN, write_flow
from e2e.sharing import host, shared
from planted import CONNECTION
from postgres import postgres_database, postgres_server

HERE = Path(__file__).parent


def _today_in_minutes(minutes: int) -> str:
    """Return a time so many minutes from now, on the day on which the engine starts: shortly before midnight, wait."""
    now = datetime.now(UTC)
    then = now + timedelta(minutes=minutes)
    if then.date() > now.date():
        time.sleep((then.replace(hour=0, minute=0, second=1, microsecond=0) - now).total_seconds())
        return _today_in_minutes(minutes)
    return then.replace(second=0, microsecond=0).isoformat()


def _path(*folders: Path) -> str:
    return os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")])


@contextmanager
def postgres(session: Path) -> Iterator[dict[str, Any]]:
    """Run a server, with the database of a ledger that both engines know."""
    with postgres_server() as server, postgres_database(server) as ledger:
        yield {"server": server, "ledger": ledger}


@contextmanager
def airflow(session: Path) -> Iterator[dict[str, Any]]:
    """Run an Airflow with all DAG files; it finds the flow of launched batches in its folder ``flows``.

    Larger XComs are files.
    """
    home = Path(tempfile.mkdtemp(dir=session / "airflow")) / "home"
    write_flow(home / "flows", "restated")
    write_flow(session / "moved", "moved")
    write_flow(session / "moved", "retried", (HERE / "retried_flow.py").read_text())
    write_flow(session / "moved", "chained", CHAIN)
    write_flow(session / "moved", "planted", (HERE.parent / "planted.py").read_text())
    shutil.copytree(HERE / "airflow_plugins", home / "plugins")
    with shared("postgres", session) as server, postgres_database(server["server"]) as database:
        env = {
            "AIRFLOW__CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": (home / "xcoms").as_uri(),
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "10000",
            "PYTHONPATH": _path(home / "flows", session / "moved", HERE),
            "FLOWCTX_LEDGER_URL": server["ledger"],  # of the scheduler and the API server; DAG files may have others
            "DYING": str(session / "airflow"),
            "AIRFLOW_CONN_LAKE": f"postgresql://me:{CONNECTION}@host/lake",
            "MOVED_LEDGER_URL": f"sqlite:///{session / 'moved' / 'ledger.db'}",
            "DUE": _today_in_minutes(4),
        }
        with airflow_stack(home, database, sorted((HERE / "airflow_files").glob("*.py")), env=env) as stack:
            yield stack.to_dict()


@contextmanager
def dagster(session: Path) -> Iterator[dict[str, Any]]:
    """Run a Dagster with all code locations; it finds the flow of launched batches in its folder ``flows``.

    Its schedules tick some minutes later, at ``TICK``: late enough for a slow machine to be up by then.
    """
    home = Path(tempfile.mkdtemp(dir=session / "dagster")) / "home"
    write_flow(home / "flows", "restated")
    write_flow(session / "moved", "moved")
    write_flow(session / "moved", "retried", (HERE / "retried_flow.py").read_text())
    write_flow(session / "moved", "chained", CHAIN)
    write_flow(session / "moved", "planted", (HERE.parent / "planted.py").read_text())
    files = HERE / "dagster_files"
    (home / "seen").mkdir()
    env = {
        "PYTHONPATH": _path(home / "flows", session / "moved", HERE),
        "DYING": str(session / "dagster"),
        "AIRFLOW_CONN_LAKE": f"postgresql://me:{CONNECTION}@host/lake",
        "FLAG": str(home / "flag"),
        "SEEN": str(home / "seen"),
        "TICK": _today_in_minutes(4),
    }
    with shared("postgres", session) as server:
        locations = {
            "tests": Location(files / "tests.py"),
            "moved": Location(
                files / "moved_here.py", {"FLOWCTX_LEDGER_URL": f"sqlite:///{session / 'moved' / 'ledger.db'}"}
            ),
            "resumed": Location(files / "resumed.py", {"FLOWCTX_LEDGER_URL": server["ledger"]}),
        }
        ours = {"code_server": ["e2e.code_server"], "through": ["e2e.dagster_server"]}
        with dagster_stack(home, locations, env=env, **ours) as stack:
            for name in ("live", "ends_40", "ends_5", "ends_ago_1", "ends_ago_2"):
                stack.start_schedule(f"{name}_schedule", "tests")
            yield stack.to_dict()


#: By name; each yields what is told to those who use it.
ENGINES: dict[str, Callable[[Path], AbstractContextManager[dict[str, Any]]]] = {
    "postgres": postgres,
    "airflow": airflow,
    "dagster": dagster,
}


if __name__ == "__main__":
    NAME, SESSION = sys.argv[1], Path(sys.argv[2])
    host(ENGINES[NAME](SESSION), SESSION / NAME)
