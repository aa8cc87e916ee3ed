"""A real Dagster for tests: code server, daemon and web server, on loopback, with its own DAGSTER_HOME."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from e2e.processes import Stack, free_ports, inherited, listens

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

_START_SENSOR = """
mutation ($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) {
    __typename
    ... on Sensor { sensorState { id } }
    ... on PythonError { message }
  }
}
"""

_STOP_SENSOR = "mutation ($id: String!) { stopSensor(id: $id) { __typename ... on PythonError { message } } }"

_START = """
mutation ($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) { __typename ... on PythonError { message } }
}
"""

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
            with urlopen(request, timeout=120) as response:
                answer = json.loads(response.read())
        except HTTPError as error:  # Dagster answers 500 with a body that says why
            raise AssertionError(f"{error.code}: {error.read().decode(errors='replace')[:2000]}") from None
        assert not answer.get("errors"), answer["errors"]
        return dict(answer["data"])

    def start_schedule(self, name: str, location: str) -> None:
        """Turn a schedule on."""
        where = {"repositoryName": "__repository__", "repositoryLocationName": location}
        answer = self.graphql(_START, selector={**where, "scheduleName": name})["startSchedule"]
        assert answer["__typename"] == "ScheduleStateResult", answer

    @contextmanager
    def sensor_on(self, name: str, location: str) -> Iterator[None]:
        """Have a sensor on as long as the block: its ticks take time from all others."""
        where = {"repositoryName": "__repository__", "repositoryLocationName": location}
        answer = self.graphql(_START_SENSOR, selector={**where, "sensorName": name})["startSensor"]
        assert answer["__typename"] == "Sensor", answer
        try:
            yield
        finally:
            answer = self.graphql(_STOP_SENSOR, id=answer["sensorState"]["id"])["stopSensor"]
            assert answer["__typename"] == "StopSensorMutationResult", answer

    def launch_backfill(
        self, keys: Sequence[str], *assets: str, tags: Mapping[str, str] | None = None, config: object = None
    ) -> str:
        """Start a backfill of assets over Dagster's partition keys and return its id."""
        params = {
            "partitionNames": list(keys),
            "assetSelection": [{"path": asset.split("/")} for asset in assets],
            "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
            "runConfigData": config or {},
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


def by_status(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how runs ended, sorted."""
    return sorted(run["status"] for run in runs)


def contexts(dagster: DagsterStack, asset: str) -> dict[str, dict[str, Any]]:
    """Return what each run of an asset saw, by run id."""
    found = [json.loads(path.read_text()) for path in Path(dagster.env["SEEN"]).glob(f"{asset} *.json")]
    return {str(one["run_id"]): one for one in found}


@dataclass(frozen=True)
class Location:
    """A code location."""

    #: The file, which binds ``defs``.
    file: Path
    #: More environment for its code server and its runs.
    env: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def dagster_stack(
    home: Path,
    locations: Mapping[str, Location],
    *,
    env: Mapping[str, str] | None = None,
    code_server: Sequence[str] = ("dagster", "api", "grpc"),
    through: Sequence[str] = (),
) -> Iterator[DagsterStack]:
    """Start a Dagster, wait until it has loaded the definitions, and end it again.

    Args:
        home: An empty or new folder; it becomes DAGSTER_HOME.
        locations: The code locations by name.
        env: More environment for every process.
        code_server: The module that runs a code server, and what comes first of its arguments.
        through: A module that runs those of all servers; by default they run as they do for users.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_INSTANCE)
    web, *ports = free_ports(1 + len(locations))
    servers = [
        f"  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: {name}}}\n"
        for name, port in zip(locations, ports, strict=True)
    ]
    (home / "workspace.yaml").write_text("load_from:\n" + "".join(servers))
    stack = DagsterStack(home=home, url=f"http://127.0.0.1:{web}", env=_environment(home) | dict(env or {}))
    workspace, local = str(home / "workspace.yaml"), "127.0.0.1"
    try:
        for (name, location), port in zip(locations.items(), ports, strict=True):
            where = ("-f", str(location.file), "-h", local, "-p", str(port))
            stack.start(f"code {name}", *through, *code_server, *where, env=location.env)
            # One after the other: the first makes the instance's tables.
            stack.wait_until(partial(listens, port), f"the code server of {name}")
        stack.start("web", *through, "dagster_webserver", "-h", local, "-p", str(web), "-w", workspace)
        stack.start("daemon", *through, "dagster._daemon", "run", "-w", workspace)
        stack.wait_until(lambda: _loaded(stack) == set(locations), "the web server and the definitions")
        yield stack
    finally:
        stack.end()


def _environment(home: Path) -> dict[str, str]:
    settings = {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    return {"PYTHONPYCACHEPREFIX": str(home / "bytecode")} | inherited("DAGSTER") | settings


def _loaded(stack: DagsterStack) -> set[str]:
    try:
        found = stack.graphql(_LOCATIONS)["repositoriesOrError"]
    except (URLError, ConnectionError, TimeoutError):
        return set()
    return {node["location"]["name"] for node in found.get("nodes", ())}
