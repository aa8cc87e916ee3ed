"""The REST API v2 of an Airflow: it logs in, renews its token, and says what is refused or does not run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from flowctx.backfill.http import Answer, JsonClient
from flowctx.backfill.polling import PAGE
from flowctx.core.engine_versions import numbers
from flowctx.core.errors import EngineError

#: From this version on, runs of all DAGs can be looked for by their id; before, all are listed whatever is asked for.
_FINDS_RUNS: Final = (3, 1, 0)


class AirflowApi:
    """Calls one Airflow.

    Args:
        url: Where the API server is.
        token: A token of its auth manager.
        user: A user that can log in, where there is no token.
        password: The user's password.

    Raises:
        EngineError: It is no URL.
    """

    def __init__(
        self, url: str, *, token: str | None = None, user: str | None = None, password: str | None = None
    ) -> None:
        self._token, self._user, self._password = token, user, password
        self._logs_in = token is None or user is not None
        self.client = JsonClient(url, name="Airflow", setting="FLOWCTX_AIRFLOW_URL", headers=self._headers)

    def _headers(self, refused: bool) -> Mapping[str, str]:
        if self._token is None or (refused and self._logs_in):
            self._token = self._log_in()
        return {"Authorization": f"Bearer {self._token}"}

    def _log_in(self) -> str:
        if self._user is None:  # an Airflow whose simple auth manager takes everybody for an admin
            answer = self.client.call("GET", "/auth/token", signed=False)
        else:
            body = {"username": self._user, "password": self._password}
            answer = self.client.call("POST", "/auth/token", body=body, signed=False)
        if "access_token" not in answer.data:
            how = (
                "FLOWCTX_AIRFLOW_USER and FLOWCTX_AIRFLOW_PASSWORD are right"
                if self._user
                else "FLOWCTX_AIRFLOW_TOKEN is set"
            )
            raise EngineError(
                f"Airflow at {self.client.url} does not log us in ({answer.status}: {answer.detail}); see that {how}"
            )
        return str(answer.data["access_token"])

    def call(self, method: str, path: str, **how: Any) -> Answer:
        """Make a call and return what was answered; see :meth:`~flowctx.backfill.http.JsonClient.call`.

        Raises:
            EngineError: The token is refused, or the call is not allowed.
        """
        answer = self.client.call(method, f"/api/v2{path}", **how)
        if answer.status == 401 or (answer.status == 403 and "JWT" in answer.detail):
            raise EngineError(
                f"Airflow at {self.client.url} refuses the token ({answer.detail}); it may have expired: set "
                "FLOWCTX_AIRFLOW_TOKEN anew, or FLOWCTX_AIRFLOW_USER and FLOWCTX_AIRFLOW_PASSWORD"
            )
        if answer.status == 403:
            raise EngineError(f"Airflow at {self.client.url} does not allow {method} {path}: {answer.detail}")
        return answer

    def get(self, path: str, **query: Any) -> Any:
        """Return what Airflow has there.

        Raises:
            EngineError: It has nothing there, or does not say.
        """
        answer = self.call("GET", path, query=query)
        if answer.status != 200:
            raise EngineError(f"Airflow at {self.client.url} answers {answer.status} to GET {path}: {answer.detail}")
        return answer.data

    @cached_property
    def version(self) -> str:
        """The version of the server."""
        return str(self.get("/version")["version"])

    def pages(self, path: str, field: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield what a list has; Airflow may be configured to return less of it at a time than it is asked for."""
        offset, total = 0, 1
        while offset < total:
            answer = self.get(path, limit=PAGE, offset=offset, **query)
            yield from answer[field]
            offset += len(answer[field])
            total = answer.get("total_entries") or 0 if answer[field] else 0

    def runs_named(self, run_id: str) -> Iterator[Mapping[str, Any]]:
        """Yield the runs that have an id, of any DAG that we may see.

        Raises:
            EngineError: It does not say.
        """
        if numbers(self.version) >= _FINDS_RUNS:
            found = self.pages("/dags/~/dagRuns", "dag_runs", run_id_pattern=run_id)
            yield from (run for run in found if run["dag_run_id"] == run_id)
            return
        wanted = {"dag_run_ids": [run_id], "page_limit": PAGE}
        answer = self.call("POST", "/dags/~/dagRuns/~/taskInstances/list", body=wanted)
        for dag_id in sorted({instance["dag_id"] for instance in answer.data.get("task_instances", ())}):
            if (run := self.call("GET", run_path(dag_id, run_id))).status == HTTPStatus.OK:
                yield run.data

    def no_dag(self, dag_id: str, made_by: str) -> EngineError:
        """Say that there is no such DAG, and what to do."""
        return EngineError(
            f"Airflow at {self.client.url} has no DAG {dag_id!r}; put {made_by} into its DAG folder, and see whether "
            "it parses: airflow dags list-import-errors"
        )

    def active_dag(self, dag_id: str, made_by: str) -> Mapping[str, Any]:
        """Return what Airflow has of a DAG whose runs can be started.

        Args:
            dag_id: The DAG.
            made_by: What makes it, for messages.

        Raises:
            EngineError: It has no such DAG, or it is paused.
        """
        answer = self.call("GET", f"/dags/{dag_id}")
        if answer.status == 404 or (answer.status == 200 and answer.data.get("is_stale")):
            raise self.no_dag(dag_id, made_by)
        if answer.status != 200:
            raise EngineError(f"Airflow at {self.client.url} answers {answer.status}: {answer.detail}")
        if answer.data.get("is_paused"):
            raise self.paused(dag_id)
        found: Mapping[str, Any] = answer.data
        return found

    def paused(self, dag_id: str) -> EngineError:
        """Say that a DAG is paused, and what to do."""
        return EngineError(
            f"DAG {dag_id!r} at Airflow at {self.client.url} is paused; type: airflow dags unpause {dag_id}"
        )

    def obstacle(self, dag_id: str) -> str | None:
        """Return what the runs of a DAG wait for, if Airflow says so."""
        dag = self.call("GET", f"/dags/{dag_id}")
        if dag.status == HTTPStatus.OK and dag.data.get("is_paused"):
            return str(self.paused(dag_id))
        health = self.call("GET", "/monitor/health")
        scheduler = health.data.get("scheduler") or {} if health.status == HTTPStatus.OK else {}
        if scheduler.get("status") != "unhealthy":
            return None
        heard = scheduler.get("latest_scheduler_heartbeat")
        since = f"has not been heard of since {heard}" if heard else "was never heard of"
        return f"the scheduler of Airflow at {self.client.url} {since}; see whether it runs: airflow scheduler"


def run_path(dag_id: str, run_id: str) -> str:
    """Return where the API has a run."""
    return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
