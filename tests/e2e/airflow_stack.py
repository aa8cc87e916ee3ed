"""A real Airflow for tests: api-server, scheduler (LocalExecutor), dag-processor and triggerer, on loopback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from e2e.processes import Stack, free_ports, inherited

#: The order matters: tasks that are dispatched before the api-server listens fail.
COMPONENTS = (
    ("api-server",),
    ("dag-processor",),
    ("scheduler", "--skip-serve-logs"),
    ("triggerer", "--skip-serve-logs"),
)


@dataclass
class AirflowStack(Stack):
    """A running Airflow; see :func:`airflow_stack`."""

    token: str = ""

    def cli(self, *args: str) -> str:
        """Run ``airflow ...`` to its end and return what it printed; it must succeed."""
        return self.run("airflow", *args)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the REST API v2 (``/dags/...``) and return the status and the decoded answer, errors included."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/api/v2{path}", data, headers, method=method)
        try:
            with urlopen(request, timeout=120) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def get(self, path: str, **query: object) -> Any:
        """Return what a GET answers; it must succeed."""
        status, answer = self.request("GET", f"{path}?{urlencode(query, doseq=True)}" if query else path)
        assert status == 200, f"GET {path}: {status} {answer}"
        return answer

    def trigger(self, dag_id: str, **body: object) -> dict[str, Any]:
        """Start a run (``partition_key=``, ``conf=``, ``dag_run_id=``, ...); it must be accepted."""
        status, answer = self.request("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, **body})
        assert status == 200, f"trigger {dag_id} {body}: {status} {answer}"
        return dict(answer)

    def backfill(self, dag_id: str, first: str, last: str, **body: object) -> None:
        """Start a backfill over dates (``dag_run_conf=``, ``reprocess_behavior=``, ...); it must be accepted."""
        dates = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        status, answer = self.request("POST", "/backfills", {"dag_id": dag_id, **dates, **body})
        assert status == 200, f"backfill {dag_id} {dates} {body}: {status} {answer}"

    def runs(self, dag_id: str, **query: object) -> list[dict[str, Any]]:
        """Return all runs of a DAG, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(f"/dags/{dag_id}/dagRuns", order_by="id", limit=100, offset=len(found), **query)
            found += page["dag_runs"]
            if not page["dag_runs"] or len(found) >= page["total_entries"]:
                return found

    def wait_for_run(self, dag_id: str, run_id: str, *, seconds: float = 300) -> dict[str, Any]:
        """Return a run once it has ended."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
        self.wait_until(lambda: self.get(path)["state"] in ("success", "failed"), f"run {run_id}", seconds=seconds)
        return dict(self.get(path))


@contextmanager
def airflow_stack(
    home: Path, database: str, dags: Sequence[Path], *, env: Mapping[str, str] | None = None
) -> Iterator[AirflowStack]:
    """Start an Airflow, wait until it is healthy and has read every DAG file, and end it again.

    Args:
        home: An empty folder.
        database: The URL of an empty database on PostgreSQL: with SQLite, a scheduler that finds it locked for five
            seconds dies.
        dags: DAG files, which are copied. Each is expected to parse.
        env: More environment, for instance ``{"AIRFLOW__CORE__PARALLELISM": "2"}``.
    """
    (port,) = free_ports(1)
    (home / "dags").mkdir(parents=True)
    for file in dags:
        shutil.copy(file, home / "dags")
    stack = AirflowStack(
        home=home, url=f"http://127.0.0.1:{port}", env=_environment(home, port, database) | dict(env or {})
    )
    try:
        stack.cli("db", "migrate")
        for command in COMPONENTS:
            stack.start(command[0], "airflow", *command)
            if command[0] == "api-server":
                stack.wait_until(lambda: _logs_in(stack), "the api-server")
        stack.wait_until(lambda: _healthy(stack), "the health of all components")
        stack.wait_until(lambda: _parsed(stack) >= {file.name for file in dags}, "the DAG files to be parsed")
        errors = stack.get("/importErrors")["import_errors"]
        assert not errors, "\n".join(error["stack_trace"] for error in errors)
        yield stack
    finally:
        stack.end()


def _environment(home: Path, port: int, database: str) -> dict[str, str]:
    database = database.replace("postgresql://", "postgresql+psycopg://")
    return inherited("AIRFLOW") | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": database,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": "not a secret: a test on loopback",
        "AIRFLOW__API_AUTH__JWT_SECRET": "not a secret: a test on loopback, and long enough for HS512 to be content",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        # A file that changed is read all the same.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    }


def _logs_in(stack: AirflowStack) -> bool:
    try:
        with urlopen(f"{stack.url}/auth/token", timeout=30) as answer:
            stack.token = json.loads(answer.read())["access_token"]
    except (URLError, ConnectionError, TimeoutError):
        return False
    return True


def _healthy(stack: AirflowStack) -> bool:
    health = stack.get("/monitor/health")
    return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))


def _parsed(stack: AirflowStack) -> set[str]:
    found = {dag["relative_fileloc"] for dag in stack.get("/dags", limit=100)["dags"]}
    return found | {error["filename"] for error in stack.get("/importErrors")["import_errors"]}
