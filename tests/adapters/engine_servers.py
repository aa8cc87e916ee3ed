"""Servers that answer as the engines do, and fail when they are told to: what no real engine does on request.

What they are asked and what they answer is held to the schemas that the engines ship.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, unquote

from adapters.engine_schemas import graphql_answer, operation


class Server:
    """A server on loopback; ``troubles`` are taken one by one by calls whose path or body has their text in it."""

    def __init__(self) -> None:
        self.url = ""
        #: Every call: method and path.
        self.calls: list[str] = []
        #: A text, and what happens: a status, ``"drop"`` before or ``"lose"`` after the call has done its work, a
        #: ``"page"`` for people instead of an answer, or a ``"move"`` to another URL.
        self.troubles: list[tuple[str, int | str]] = []
        #: Runs by id.
        self.runs: dict[str, dict[str, Any]] = {}
        #: What stands after the question mark of the call.
        self.query: dict[str, list[str]] = {}
        #: What the engine would not have been asked, or not have answered.
        self.faults: list[str] = []

    def trouble(self, text: str) -> int | str | None:
        """Take the next trouble for a call, if there is one."""
        for index, (where, what) in enumerate(self.troubles):
            if where in text:
                del self.troubles[index]
                return what
        return None

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Answer a call as the engine would."""
        raise NotImplementedError

    def faults_of_call(self, method: str, url: str, body: Any) -> list[str]:
        """Return what the engine's schema has against a call."""
        return []

    def faults_of_answer(self, method: str, url: str, status: int, data: Any) -> list[str]:
        """Return what the engine's schema has against an answer."""
        return []


#: What something before the server answers in its place.
_OTHERS: dict[str | int | None, tuple[int, Any]] = {
    "page": (HTTPStatus.OK, "<!doctype html><title>Who are you?</title>"),
    "move": (HTTPStatus.FOUND, {}),
}


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Let a server listen; in the end, no call and no answer was against the engine's schema."""

    class Handler(BaseHTTPRequestHandler):
        def handle_call(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            path, _, query = self.path.partition("?")
            method, path, server.query = self.command, unquote(path), parse_qs(query)
            server.calls.append(f"{method} {path}")
            body = json.loads(data) if data else None
            server.faults += server.faults_of_call(method, self.path, body)
            trouble = server.trouble(f"{method} {path} {data}")
            if trouble == "drop":
                self.connection.close()
                return
            if isinstance(trouble, int):
                status, found = trouble, {"detail": "busy"}
            elif trouble in _OTHERS:
                status, found = _OTHERS[trouble]
            else:
                status, found = server.answer(method, path, body)
                server.faults += server.faults_of_answer(method, self.path, status, found)
            if trouble == "lose":
                self.connection.close()
                return
            encoded = (found if isinstance(found, str) else json.dumps(found)).encode()
            self.send_response(status)
            if status == HTTPStatus.FOUND:
                self.send_header("Location", f"{server.url}/elsewhere")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_POST = do_PATCH = handle_call

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

        def finish(self) -> None:
            """Say nothing of connections that were closed on purpose."""
            with suppress(OSError, ValueError):
                super().finish()

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
    assert not server.faults, "\n".join(server.faults)


class Airflow(Server):
    """The part of Airflow's REST API v2 that launchers use; each run has ended when it is asked for."""

    version = "3.3.2"
    #: What the DAG says of itself.
    dag: Mapping[str, Any] = MappingProxyType({"is_paused": False, "timetable_partitioned": True})
    #: How many runs it lists at a time, whatever it is asked for.
    most = 0
    #: How runs end.
    state = "success"
    #: When they end.
    end_date = "2026-01-09T12:00:01Z"
    #: What it says of its scheduler, and when it last heard of it.
    scheduler: Mapping[str, str | None] = MappingProxyType({"status": "healthy", "latest_scheduler_heartbeat": None})
    #: Whether its tasks say that they have a ledger.
    had_ledger = False
    #: What its tasks hand on.
    handed_on: Mapping[str, Any] = MappingProxyType({"error": "12 rows are missing"})
    #: Where it keeps what its tasks hand on, if that is not in its database.
    xcom_path = ""
    #: The task instances of each run, where they are not one that ends as its run, and what follows each task.
    tasks: Sequence[Mapping[str, Any]] = ()
    structure: Sequence[Mapping[str, Any]] = ()

    def __init__(self) -> None:
        super().__init__()
        #: What clears were asked for.
        self.cleared: list[Any] = []

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Answer a call as Airflow would."""
        fixed = {
            "/auth/token": (201, {"access_token": "secret"}),
            "/api/v2/version": (200, {"version": self.version, "git_version": None}),
            "/api/v2/dags": (200, {"dags": [], "total_entries": 0}),
            "/api/v2/monitor/health": (200, {"metadatabase": {"status": "healthy"}, "scheduler": dict(self.scheduler)}),
        }
        if path in fixed:
            return fixed[path]
        if re.fullmatch(r"/api/v2/dags/\w+", path):
            return 200, dict(self.dag)
        if path.endswith("/dagRuns") and method == "POST":
            run_id = body["dag_run_id"]
            if run_id in self.runs:
                return 409, {"detail": "the run exists already"}
            ended = {"state": self.state, "start_date": "2026-01-09T12:00:00Z", "end_date": self.end_date}
            self.runs[run_id] = {"dag_run_id": run_id, "dag_id": path.split("/")[4], **body, **ended}
            return 200, self.runs[run_id]
        if path.endswith("/~/taskInstances/list"):
            found = [self.runs[run_id] for run_id in body["dag_run_ids"] if run_id in self.runs]
            return 200, {"task_instances": [{"dag_id": run["dag_id"]} for run in found], "total_entries": len(found)}
        if path.endswith("/dagRuns"):
            return self._listed(int(self.query["offset"][0]))
        if path.endswith("/tasks"):
            return 200, {"tasks": [dict(task) for task in self.structure], "total_entries": len(self.structure)}
        if path.endswith("/clearTaskInstances"):
            if body["dag_run_id"] not in self.runs:
                return 404, {"detail": "no such run"}
            self.cleared.append(body)
            return 200, {"task_instances": [], "total_entries": 0}
        if of_run := re.match(r"/api/v2/dags/(\w+)/dagRuns/([^/]+)/", path):
            return self._of_run(of_run[1], of_run[2], path)
        return self._run(path.split("/")[4], path.rpartition("/")[2])

    def _of_run(self, dag_id: str, run_id: str, path: str) -> tuple[int, Any]:
        """Return the tasks of a run of a DAG, or what one of them has handed on."""
        if self.runs.get(run_id, {}).get("dag_id", dag_id) != dag_id:
            return 404, {"detail": "no such run"}
        if path.endswith("/taskInstances"):
            common = {"map_index": -1, "end_date": "2026-01-09T12:00:01Z"}
            found = self.tasks or [{"task_id": "load", "state": self.state, "try_number": 1}]
            return 200, {"task_instances": [{**common, **task} for task in found]}
        if path.endswith("/xcomEntries/return_value"):
            return self._xcom(path.split("/")[-3], int(self.query.get("map_index", ["-1"])[0]))
        return 404, {"detail": "no such thing"}

    def _listed(self, start: int) -> tuple[int, Any]:
        """Return so many of the runs that are asked for, of any DAG."""
        ids, texts = self.query.get("run_id_pattern"), self.query.get("conf_contains", ["nothing"])
        if self.version.startswith("3.0"):  # which does not know the first, and lists the runs of all DAGs
            ids, texts = None, texts if "conf_contains" in self.query else [""]
        found = [run for run in self.runs.values() if ids or texts[0] in json.dumps(run["conf"])]
        found = [run for run in found if run["dag_run_id"] in (ids or [run["dag_run_id"]])]
        found = [run for run in found if run["state"] in self.query.get("state", [run["state"]])]
        return 200, {"dag_runs": found[start : start + self.most], "total_entries": len(found)}

    def _run(self, dag_id: str, run_id: str) -> tuple[int, Any]:
        """Return a run of a DAG, which has ended by now, if there is such a one."""
        run = self.runs.get(run_id)
        if run is None or run.get("dag_id", dag_id) != dag_id:
            return 404, {"detail": "no such run"}
        if run["state"] == "running":
            run["state"] = self.state
        return 200, run

    def _xcom(self, task_id: str, map_index: int) -> tuple[int, Any]:
        """Return what a task instance has handed on, if there is such a one."""
        there = [(task["task_id"], task.get("map_index", -1)) for task in self.tasks]
        if there and (task_id, map_index) not in there:
            return 404, {"detail": "no such XCom"}
        mark = {"ledger": True} if self.had_ledger else {}
        return 200, {"value": self.xcom_path or {**self.handed_on, **mark}}

    def faults_of_call(self, method: str, url: str, body: Any) -> list[str]:
        """Return what Airflow's OpenAPI document has against a call."""
        path, _, query = url.partition("?")
        try:
            return list(operation(method, path).faults_of_call(query, body))
        except LookupError as exc:
            return [str(exc)]

    def faults_of_answer(self, method: str, url: str, status: int, data: Any) -> list[str]:
        """Return what Airflow's OpenAPI document has against an answer."""
        return list(operation(method, url.partition("?")[0]).faults_of_answer(status, data))


class Dagster(Server):
    """The part of Dagster's GraphQL that launchers use; each run has ended when it is asked for."""

    version = "1.13.27"
    #: What happened in each run; told one by one.
    events: Sequence[Mapping[str, Any]] = ()
    #: How runs end.
    status = "SUCCESS"
    #: Whether its daemon is well.
    healthy = True
    #: How often a run that failed is run again by Dagster itself; the last time it ends well.
    retries = 0
    #: Whether a run can be re-executed.
    reexecutes = False
    #: The code locations, and the jobs that each of them has.
    locations: Sequence[str] = ("l",)
    jobs: Sequence[str] = ("filled_job",)
    #: A text, and what the queries that have it are answered.
    instead: Sequence[tuple[str, Any]] = ()

    def knows(self, run_id: str, status: str, tags: Mapping[str, str], steps: Iterable[list[str]], **run: Any) -> None:
        """Know a run of some steps that Dagster has begun by itself."""
        self.runs[run_id] = {
            "runId": run_id,
            "status": status,
            "jobName": "__ASSET_JOB",
            "startTime": 1.0,
            "endTime": 2.0,
            "updateTime": 2.0,
            "assetSelection": [{"path": path} for path in steps],
            "assetCheckSelection": None,
            "stepKeysToExecute": None,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
            "stats": {"__typename": "RunStatsSnapshot", "materializations": 2},
            **run,
        }

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Answer a query as Dagster's schema has it, from the methods below, which have the names of its fields."""
        for text, found in self.instead:
            if text in body["query"]:
                return _status_of(found), found
        answer = graphql_answer(body["query"], body["variables"], self)
        self.faults += [error["message"] for error in answer.get("errors", ())]
        return _status_of(answer), answer

    def repositoriesOrError(self, info: Any) -> Any:
        """Return one repository with the jobs for each code location."""
        jobs = [{"name": name} for name in self.jobs]
        nodes = [{"name": "r", "location": {"name": name}, "jobs": jobs} for name in self.locations]
        return {"__typename": "RepositoryConnection", "nodes": nodes}

    def instance(self, info: Any) -> Any:
        """Return whether the daemon is well."""
        return {"daemonHealth": {"daemonStatus": {"required": True, "healthy": self.healthy}}}

    def launchRun(self, info: Any, executionParams: Any) -> Any:
        """Note a run."""
        run_id = f"run-{len(self.runs)}"
        self.runs[run_id] = _dagster_run(run_id, executionParams["executionMetadata"]["tags"], self.status)
        self.runs[run_id]["config"] = executionParams.get("runConfigData")
        self.runs[run_id]["location"] = executionParams["selector"]["repositoryLocationName"]
        return {"__typename": "LaunchRunSuccess", "run": {"runId": run_id}}

    def launchRunReexecution(self, info: Any, reexecutionParams: Any) -> Any:
        """Note a run with the tags and the configuration of its parent; or refuse, since that is not there any more."""
        parent = self.runs.get(reexecutionParams["parentRunId"]) if self.reexecutes else None
        if parent is None:
            return {"__typename": "PythonError", "className": "DagsterRunNotFoundError", "message": "no parent"}
        run_id = f"run-{len(self.runs)}"
        extra = reexecutionParams.get("extraTags") or []
        inherited = [tag for tag in parent["tags"] if tag["key"] not in {tag["key"] for tag in extra}]
        self.runs[run_id] = {
            **parent,
            **_dagster_run(run_id, inherited + extra, self.status),
            "parentRunId": parent["runId"],
        }
        return {"__typename": "LaunchRunSuccess", "run": {"runId": run_id}}

    def terminateRuns(self, info: Any, runIds: Any, terminatePolicy: Any) -> Any:
        """Do nothing: all runs have ended."""
        return {"__typename": "TerminateRunsResult"}

    def runOrError(self, info: Any, runId: Any) -> Any:
        """Return a run, whose events are told one by one."""

        def page(info: Any, limit: Any, afterCursor: Any = None) -> Any:
            start = int(afterCursor or 0)
            more = start + 1 < len(self.events)
            return {"events": self.events[start : start + 1], "cursor": str(start + 1), "hasMore": more}

        return {"__typename": "Run", "eventConnection": page}

    def runsOrError(self, info: Any, limit: Any, filter: Any, cursor: Any = None) -> Any:
        """Return so many of the runs of some ids or tags, after one of them."""
        found = [run for run in self.runs.values() if run["runId"] in filter.get("runIds", [])]
        found = [self._with_retry(run) if self.retries else run for run in found]
        latest_first = reversed(self.runs.values())
        found += [run for run in latest_first if any(tag in run["tags"] for tag in filter.get("tags", []))]
        found = [run for run in found if run["status"] in filter.get("statuses", [run["status"]])]
        start = next((n + 1 for n, run in enumerate(found) if run["runId"] == cursor), 0)
        results = [{**run, "runConfig": run.get("config") or {}} for run in found[start : start + limit]]
        return {"__typename": "Runs", "results": results}

    def _with_retry(self, run: dict[str, Any]) -> dict[str, Any]:
        """Return a run as it was; if it failed, it says from then on that it is run again, and then by which run."""
        before, tags = {**run, "tags": list(run["tags"])}, {tag["key"] for tag in run["tags"]}
        if run["status"] != "FAILURE" or "dagster/auto_retry_run_id" in tags:
            return before
        if "dagster/will_retry" not in tags:
            run["tags"].append({"key": "dagster/will_retry", "value": "true"})
            run["endTime"] = time.time()
            return before
        number = int(run["runId"].rpartition("~")[2]) + 1 if "~" in run["runId"] else 1
        retry = f"{run['runId'].partition('~')[0]}~{number}"
        own = [tag for tag in run["tags"] if tag["key"] != "dagster/will_retry"]
        status = "SUCCESS" if number == self.retries else "FAILURE"
        of_run = {"config": run["config"], "location": run["location"], "parentRunId": run["runId"]}
        self.runs[retry] = {**_dagster_run(retry, own, status), **of_run}
        run["tags"].append({"key": "dagster/auto_retry_run_id", "value": retry})
        return before


def _status_of(answer: Any) -> int:
    """Return the status that Dagster's web server has for an answer: 500 for what it could not do."""
    fields = [field for field in (answer["data"] or {}).values() if isinstance(field, Mapping)]
    found = any(field.get("__typename") == "PythonError" for field in fields)
    return HTTPStatus.INTERNAL_SERVER_ERROR if found else HTTPStatus.OK


def _dagster_run(run_id: str, tags: list[dict[str, str]], status: str) -> dict[str, Any]:
    return {
        "runId": run_id,
        "status": status,
        "jobName": "filled_job",
        "startTime": 1.0,
        "endTime": 2.0,
        "updateTime": 2.0,
        "assetSelection": None,
        "assetCheckSelection": None,
        "stepKeysToExecute": None,
        "tags": tags,
        "stats": {"__typename": "RunStatsSnapshot", "materializations": 2},
    }
