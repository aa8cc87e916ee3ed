"""Servers that answer as the engines do, and fail when they are told to: what no real engine does on request."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class Server:
    """A server on loopback; ``troubles`` are taken one by one by calls whose path or body has their text in it."""

    def __init__(self) -> None:
        self.url = ""
        #: Every call: method and path.
        self.calls: list[str] = []
        #: A text, and what happens: a status, ``"drop"`` before or ``"lose"`` after the call has done its work.
        self.troubles: list[tuple[str, int | str]] = []
        #: Runs by id.
        self.runs: dict[str, dict[str, Any]] = {}

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


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Let a server listen."""

    class Handler(BaseHTTPRequestHandler):
        def handle_call(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            method, path = self.command, unquote(self.path.partition("?")[0])
            server.calls.append(f"{method} {path}")
            trouble = server.trouble(f"{method} {path} {data}")
            if trouble == "drop":
                self.connection.close()
                return
            answer = (trouble, {"detail": "busy"}) if isinstance(trouble, int) else None
            status, found = answer or server.answer(method, path, json.loads(data) if data else None)
            if trouble == "lose":
                self.connection.close()
                return
            encoded = json.dumps(found).encode()
            self.send_response(status)
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


class Airflow(Server):
    """The part of Airflow's REST API v2 that launchers use; each run has ended when it is asked for."""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Answer a call as Airflow would."""
        if path == "/auth/token":
            return 201, {"access_token": "secret"}
        if re.fullmatch(r"/api/v2/dags/\w+", path):
            return 200, {"is_paused": False, "timetable_partitioned": True}
        if path.endswith("/dagRuns") and method == "POST":
            run_id = body["dag_run_id"]
            if run_id in self.runs:
                return 409, {"detail": "the run exists already"}
            ended = {"state": "success", "start_date": "2026-01-09T12:00:00Z", "end_date": "2026-01-09T12:00:01Z"}
            self.runs[run_id] = {"dag_run_id": run_id, **body, **ended}
            return 200, self.runs[run_id]
        if path.endswith("/dagRuns"):
            return 200, {"dag_runs": []}
        if path.endswith("/taskInstances"):
            return 200, {"task_instances": [{"task_id": "load", "state": "success"}]}
        run = self.runs.get(path.rpartition("/")[2])
        return (200, run) if run else (404, {"detail": "no such run"})


class Dagster(Server):
    """The part of Dagster's GraphQL that launchers use; each run has ended when it is asked for."""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Answer a query as Dagster would."""
        query, variables = body["query"], body["variables"]
        if "repositoriesOrError" in query:
            node = {"name": "r", "location": {"name": "l"}, "jobs": [{"name": "filled_job"}]}
            return 200, {"data": {"repositoriesOrError": {"nodes": [node]}}}
        if "daemonHealth" in query:
            healthy = {"required": True, "healthy": True}
            return 200, {"data": {"instance": {"daemonHealth": {"daemonStatus": healthy}}}}
        if "launchRun(" in query:
            run_id = f"run-{len(self.runs)}"
            tags = variables["params"]["executionMetadata"]["tags"]
            self.runs[run_id] = _dagster_run(run_id, tags)
            return 200, {"data": {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": run_id}}}}
        wanted = variables["filter"]
        found = [run for run in self.runs.values() if run["runId"] in wanted.get("runIds", [])]
        found += [run for run in self.runs.values() if any(tag in run["tags"] for tag in wanted.get("tags", []))]
        return 200, {"data": {"runsOrError": {"results": found}}}


def _dagster_run(run_id: str, tags: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "runId": run_id,
        "status": "SUCCESS",
        "jobName": "filled_job",
        "startTime": 1.0,
        "endTime": 2.0,
        "updateTime": 2.0,
        "assetSelection": None,
        "tags": tags,
        "stats": {"materializations": 2},
    }
