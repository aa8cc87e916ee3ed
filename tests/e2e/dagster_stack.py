"""A real Dagster for tests: code server, daemon and web server, on loopback, with its own DAGSTER_HOME."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

_INSTANCE = """
telemetry: {enabled: false}
nux: {enabled: false}
run_retries: {enabled: true, max_retries: 0}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {max_concurrent_runs: 3, dequeue_interval_seconds: 1, dequeue_use_threads: true, dequeue_num_workers: 3}
"""

_BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""

_RUNS = """
query ($tags: [ExecutionTag!], $limit: Int!) {
  runsOrError(filter: {tags: $tags}, limit: $limit) {
    __typename
    ... on Runs { results { runId status jobName tags { key value } } }
    ... on PythonError { message }
  }
}
"""

_LOCATIONS = "{ repositoriesOrError { __typename ... on RepositoryConnection { nodes { name location { name } } } } }"

#: How a run ends.
ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


@dataclass
class DagsterStack:
    """A running Dagster; see :func:`dagster_stack`."""

    #: DAGSTER_HOME, with ``definitions.py`` and a log for each process.
    home: Path
    #: Where the web server listens.
    url: str
    #: The environment of every process and of :meth:`cli`.
    env: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def cli(self, *args: str) -> str:
        """Run ``dagster ...`` to its end and return what it printed; it must succeed."""
        command = _module("dagster", *args)
        done = subprocess.run(command, env=self.env, cwd=self.home, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, f"dagster {' '.join(args)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def graphql(self, query: str, **variables: object) -> dict[str, Any]:
        """Return the data that a GraphQL query or mutation answers; errors of the query itself fail."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=60) as response:
                answer = json.loads(response.read())
        except HTTPError as error:  # Dagster answers 500 with a body that says why
            raise AssertionError(f"{error.code}: {error.read().decode(errors='replace')[:2000]}") from None
        assert not answer.get("errors"), answer["errors"]
        return dict(answer["data"])

    def launch_backfill(self, keys: Sequence[str], *assets: str, tags: Mapping[str, str] | None = None) -> str:
        """Start a backfill of assets over Dagster's partition keys and return its id."""
        params = {
            "partitionNames": list(keys),
            "assetSelection": [{"path": asset.split("/")} for asset in assets],
            "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
        }
        answer = self.graphql(_BACKFILL, params=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return str(answer["backfillId"])

    def runs(self, tags: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Return the runs with these tags, newest first: ``runId``, ``status``, ``jobName`` and ``tags`` as a dict."""
        wanted = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        found = self.graphql(_RUNS, tags=wanted, limit=1000)["runsOrError"]
        assert found["__typename"] == "Runs", found
        return [run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found["results"]]

    def wait_for_runs(self, count: int, tags: Mapping[str, str], *, seconds: float = 180) -> list[dict[str, Any]]:
        """Return the runs with these tags once there are ``count`` of them and all have ended."""

        def ended() -> bool:
            runs = self.runs(tags)
            return len(runs) >= count and all(run["status"] in ENDED for run in runs)

        self.wait_until(ended, f"{count} runs with {tags}", seconds=seconds)
        return self.runs(tags)

    def wait_until(self, holds: Callable[[], object], what: str, *, seconds: float = 120) -> None:
        """Wait until something holds, while every process is alive."""
        end = time.monotonic() + seconds
        while not holds():
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not dead, f"{dead} died while waiting for {what}\n{self.logs()}"
            assert time.monotonic() < end, f"{what}: not after {seconds} s\n{self.logs()}"
            time.sleep(0.5)

    def logs(self, lines: int = 40) -> str:
        """Return the end of each process's log."""
        parts = []
        for path in sorted(self.home.glob("*.log")):
            parts += [f"--- {path.name}", *path.read_text(errors="replace").splitlines()[-lines:]]
        return "\n".join(parts)


@contextmanager
def dagster_stack(home: Path, definitions: str, *, env: Mapping[str, str] | None = None) -> Iterator[DagsterStack]:
    """Start a Dagster, wait until it has loaded the definitions, and end it again.

    Args:
        home: An empty or new folder; it becomes DAGSTER_HOME.
        definitions: The text of the code location, which binds ``defs``.
        env: More environment for every process.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_INSTANCE)
    (home / "definitions.py").write_text(definitions)
    code, web = _free_port(), _free_port()
    (home / "workspace.yaml").write_text(
        f"load_from: [{{grpc_server: {{host: 127.0.0.1, port: {code}, location_name: tests}}}}]"
    )
    stack = DagsterStack(home=home, url=f"http://127.0.0.1:{web}", env=_environment(home) | dict(env or {}))
    file, workspace, local = str(home / "definitions.py"), str(home / "workspace.yaml"), "127.0.0.1"
    try:
        _start(stack, "code", _module("dagster", "api", "grpc", "-f", file, "-h", local, "-p", str(code)))
        stack.wait_until(lambda: _listens(code), "the code server")
        _start(stack, "web", _module("dagster_webserver", "-h", local, "-p", str(web), "-w", workspace))
        _start(stack, "daemon", _module("dagster._daemon", "run", "-w", workspace))
        stack.wait_until(lambda: _answers(stack), "the web server and the definitions")
        yield stack
    finally:
        _end(stack.processes)


def _environment(home: Path) -> dict[str, str]:
    # Each run is a process that imports Dagster: without bytecode that alone takes seconds.
    unwanted = {"PYTHONDONTWRITEBYTECODE"} | {name for name in os.environ if name.startswith("DAGSTER")}
    inherited = {name: value for name, value in os.environ.items() if name not in unwanted}
    inherited.setdefault("PYTHONPYCACHEPREFIX", str(home / "bytecode"))
    return inherited | {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}


def _module(*args: str) -> list[str]:
    return [sys.executable, "-m", *args]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _start(stack: DagsterStack, name: str, command: list[str]) -> None:
    with (stack.home / f"{name}.log").open("wb") as log:
        stack.processes[name] = subprocess.Popen(
            command, env=stack.env, cwd=stack.home, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(stack: DagsterStack) -> bool:
    try:
        found = stack.graphql(_LOCATIONS)["repositoriesOrError"]
    except (URLError, ConnectionError, TimeoutError):
        return False
    return bool(found.get("nodes"))


def _end(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """End the processes, last started first, and whatever they started themselves."""
    for process in reversed(processes.values()):
        process.terminate()
    for process in processes.values():
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        try:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: nobody else is in that group
        except ProcessLookupError:
            continue
