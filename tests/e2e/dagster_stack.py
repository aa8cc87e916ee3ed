"""A real Dagster for tests: code server, daemon and web server, on loopback, with its own DAGSTER_HOME."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from e2e.processes import Stack, free_ports, inherited

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
class DagsterStack(Stack):
    """A running Dagster; see :func:`dagster_stack`."""

    def cli(self, *args: str) -> str:
        """Run ``dagster ...`` to its end and return what it printed; it must succeed."""
        return self.run("dagster", *args)

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

    def wait_for_runs(self, count: int, tags: Mapping[str, str], *, seconds: float = 300) -> list[dict[str, Any]]:
        """Return the runs with these tags once there are ``count`` of them and all have ended."""

        def ended() -> bool:
            runs = self.runs(tags)
            return len(runs) >= count and all(run["status"] in ENDED for run in runs)

        self.wait_until(ended, f"{count} runs with {tags}", seconds=seconds)
        return self.runs(tags)


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
    code, web = free_ports(2)
    (home / "workspace.yaml").write_text(
        f"load_from: [{{grpc_server: {{host: 127.0.0.1, port: {code}, location_name: tests}}}}]"
    )
    stack = DagsterStack(home=home, url=f"http://127.0.0.1:{web}", env=_environment(home) | dict(env or {}))
    file, workspace, local = str(home / "definitions.py"), str(home / "workspace.yaml"), "127.0.0.1"
    try:
        stack.start("code", "dagster", "api", "grpc", "-f", file, "-h", local, "-p", str(code))
        stack.wait_until(lambda: _listens(code), "the code server")
        stack.start("web", "dagster_webserver", "-h", local, "-p", str(web), "-w", workspace)
        stack.start("daemon", "dagster._daemon", "run", "-w", workspace)
        stack.wait_until(lambda: _answers(stack), "the web server and the definitions")
        yield stack
    finally:
        stack.end()


def _environment(home: Path) -> dict[str, str]:
    settings = {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    return {"PYTHONPYCACHEPREFIX": str(home / "bytecode")} | inherited("DAGSTER") | settings


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
