"""Run a batch on Airflow, through its REST API v2: one run for each partition, with an id that Airflow takes once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from flowctx.backfill.http import Answer, JsonClient
from flowctx.core.batches import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.encoding import to_json
from flowctx.core.errors import EngineError, FlowctxError
from flowctx.core.scheme import PartitionScheme
from flowctx.core.workflow import Workflow

#: So many runs are under way at a time unless the caller says otherwise, so that the scheduler is not flooded.
MAX_ACTIVE: Final = 16
_POLL_SECONDS = 1.0
_PAGE = 100  # the most that Airflow returns at a time, unless it is configured otherwise
_LIVE = ("queued", "running")


def launcher_from_env(*, url: str | None = None, workers: int | None = None) -> AirflowLauncher:
    """Make a launcher from ``FLOWCTX_AIRFLOW_URL``, ``..._TOKEN``, or else ``..._USER`` and ``..._PASSWORD``."""
    return AirflowLauncher(
        url or os.environ.get("FLOWCTX_AIRFLOW_URL") or "http://localhost:8080",
        token=os.environ.get("FLOWCTX_AIRFLOW_TOKEN"),
        user=os.environ.get("FLOWCTX_AIRFLOW_USER"),
        password=os.environ.get("FLOWCTX_AIRFLOW_PASSWORD"),
        max_active=workers or MAX_ACTIVE,
    )


class AirflowLauncher:
    """Runs partitions as runs of the workflow's DAG (as ``workflow_dag`` makes it, with its partitions).

    A run's id is derived from the batch and the partition, so Airflow itself refuses a second one; a run that failed is
    cleared, and not run beside. Needs no Airflow here.

    Args:
        url: Where the API server is.
        token: A token of its auth manager.
        user: A user that can log in, where there is no token.
        password: The user's password.
        max_active: So many runs are under way at a time.
        dag_id: The DAG, if it is not named as the workflow.

    Raises:
        EngineError: It is no URL.
    """

    engine = "airflow"
    records = False

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        user: str | None = None,
        password: str | None = None,
        max_active: int = MAX_ACTIVE,
        dag_id: str | None = None,
    ) -> None:
        self._token, self._user, self._password = token, user, password
        self._logs_in = token is None or user is not None
        self._client = JsonClient(url, name="Airflow", setting="FLOWCTX_AIRFLOW_URL", headers=self._headers)
        self._max_active, self._dag_id = max_active, dag_id
        self._scheme: PartitionScheme | None = None
        self._taking = self._watching = True

    # -- logging in -------------------------------------------------------------------------------------------------

    def _headers(self, refused: bool) -> Mapping[str, str]:
        if self._token is None or (refused and self._logs_in):
            self._token = self._log_in()
        return {"Authorization": f"Bearer {self._token}"}

    def _log_in(self) -> str:
        if self._user is None:  # an Airflow whose simple auth manager takes everybody for an admin
            answer = self._client.call("GET", "/auth/token", signed=False)
        else:
            body = {"username": self._user, "password": self._password}
            answer = self._client.call("POST", "/auth/token", body=body, signed=False)
        if not isinstance(answer.data, Mapping) or "access_token" not in answer.data:
            how = (
                "FLOWCTX_AIRFLOW_USER and FLOWCTX_AIRFLOW_PASSWORD are right"
                if self._user
                else "FLOWCTX_AIRFLOW_TOKEN is set"
            )
            raise EngineError(
                f"Airflow at {self._client.url} does not log us in ({answer.status}: {answer.said}); see that {how}"
            )
        return str(answer.data["access_token"])

    def _call(self, method: str, path: str, **how: Any) -> Answer:
        answer = self._client.call(method, f"/api/v2{path}", **how)
        if answer.status == 401 or (answer.status == 403 and "JWT" in answer.said):
            raise EngineError(
                f"Airflow at {self._client.url} refuses the token ({answer.said}); it may have expired: set "
                "FLOWCTX_AIRFLOW_TOKEN anew, or FLOWCTX_AIRFLOW_USER and FLOWCTX_AIRFLOW_PASSWORD"
            )
        if answer.status == 403:
            raise EngineError(f"Airflow at {self._client.url} does not allow {method} {path}: {answer.said}")
        return answer

    def _get(self, path: str, **query: Any) -> Any:
        answer = self._call("GET", path, query=query)
        if answer.status != 200:
            raise EngineError(f"Airflow at {self._client.url} answers {answer.status} to GET {path}: {answer.said}")
        return answer.data

    # -- launching --------------------------------------------------------------------------------------------------

    def check(self, workflow: Workflow) -> None:
        """See whether the DAG is there, is partitioned and not paused.

        Raises:
            EngineError: It is not; the message says what to do.
        """
        self._scheme, dag_id = workflow.partitions, self._dag_of(workflow.name)
        answer = self._call("GET", f"/dags/{dag_id}")
        where = f"Airflow at {self._client.url}"
        if answer.status == 404 or (answer.status == 200 and answer.data.get("is_stale")):
            raise EngineError(
                f"{where} has no DAG {dag_id!r}; put dag = workflow_dag({workflow.name}) into its DAG folder, and see "
                "whether it parses: airflow dags list-import-errors"
            )
        if answer.status != 200:
            raise EngineError(f"{where} answers {answer.status}: {answer.said}")
        if answer.data.get("is_paused"):
            raise EngineError(f"DAG {dag_id!r} at {where} is paused; type: airflow dags unpause {dag_id}")
        if self._scheme is not None and not answer.data.get("timetable_partitioned", True):
            raise EngineError(
                f"DAG {dag_id!r} at {where} has no partitions; make it with workflow_dag, or with "
                "schedule=PartitionTimetable(scheme)"
            )

    def launch(self, batch: BatchRecord, jobs: Iterator[Job]) -> Iterator[PartitionRun | None]:
        """Start runs, as many at a time as are allowed, and yield what becomes of them."""
        self._taking = self._watching = True
        self._dag_id = self._dag_of(batch.workflow)
        active: dict[str, Job] = {}
        while self._watching:
            while self._taking and len(active) < self._max_active:
                job = next(jobs, None)
                if job is None:
                    break
                run = self._begin(job)
                if not run.state.ended:
                    active[run.run_id] = job
                yield run
            if not active:
                break
            yield None
            time.sleep(_POLL_SECONDS)
            yield from self._ended(active)

    def stop(self) -> None:
        """Start no more runs."""
        self._taking = False

    def detach(self) -> None:
        """Start no more runs, and leave those under way to Airflow."""
        self._taking = self._watching = False

    def _begin(self, job: Job) -> PartitionRun:
        before = job.before if job.before and job.before.engine == self.engine and job.before.attempt else None
        if before is not None and not before.state.ended:
            return _news(job, before.run_id, PartitionState.LAUNCHED)
        if before is not None and self._clear(before.run_id, whole=before.state is PartitionState.CANCELED):
            return _news(job, before.run_id, PartitionState.LAUNCHED, attempt=before.attempt + 1)
        body = {"dag_run_id": job.run_id, "logical_date": None, "conf": {**to_json(job.params), **job.said}}
        if self._scheme is not None and job.key is not None:
            body["partition_key"] = self._scheme.text(job.key)
        answer = self._call("POST", f"/dags/{self._dag_id}/dagRuns", body=body)
        if answer.status == 409:
            return self._there_already(job, answer)
        if answer.status == 404:
            raise EngineError(f"DAG {self._dag_id!r} at {self._client.url} is gone: {answer.said}")
        if answer.status >= 400:  # Airflow will not run this one; there is no run
            return _news(job, job.run_id, PartitionState.FAILED, attempt=0, error=f"Airflow: {answer.said}")
        return _news(job, job.run_id, PartitionState.LAUNCHED)

    def _there_already(self, job: Job, answer: Answer) -> PartitionRun:
        """Go on with a run that an earlier launch started, of which it could not say so any more."""
        found = self._call("GET", self._path(job.run_id))
        if found.status != 200:
            return _news(job, job.run_id, PartitionState.FAILED, attempt=0, error=f"Airflow: {answer.said}")
        if found.data["state"] == "failed" and self._clear(job.run_id, whole=False):
            return _news(job, job.run_id, PartitionState.LAUNCHED, attempt=2)
        if found.data["state"] in _LIVE:
            return _news(job, job.run_id, PartitionState.LAUNCHED)
        return self._told(found.data, job.partition)

    def _clear(self, run_id: str, *, whole: bool) -> bool:
        body = {"dry_run": False, "only_failed": not whole}
        answer = self._call("POST", f"{self._path(run_id)}/clear", body=body)
        if answer.status not in (200, 404):
            raise EngineError(f"Airflow at {self._client.url} does not clear run {run_id}: {answer.said}")
        return answer.status == 200

    def _ended(self, active: dict[str, Job]) -> Iterator[PartitionRun]:
        """Yield the runs that are under way no more."""
        live = {run["dag_run_id"] for run in self._runs(state=list(_LIVE))}
        for run_id in [run_id for run_id in active if run_id not in live]:
            answer = self._call("GET", self._path(run_id))
            if answer.status == 404:
                job = active.pop(run_id)
                yield _news(job, run_id, PartitionState.FAILED, error="its run was deleted in Airflow")
            elif answer.data["state"] not in _LIVE:  # else it is one that began since we looked
                yield self._told(answer.data, active.pop(run_id).partition)

    # -- what Airflow knows -----------------------------------------------------------------------------------------

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield the runs whose ``conf`` has the batch id, whoever started them: a launcher, a backfill or a person."""
        self._scheme, self._dag_id = workflow.partitions, self._dag_of(workflow.name)
        if self._call("GET", f"/dags/{self._dag_id}").status == 404:
            return
        for run in self._runs(conf_contains=batch.batch_id):
            said = (run.get("conf") or {}).get("batch_id")
            text = run.get("partition_key") or (run.get("conf") or {}).get("partition")
            if said != batch.batch_id or not text or self._scheme is None:
                continue
            try:
                key = self._scheme.check(text)
            except FlowctxError:  # of a time when the scheme was another
                continue
            yield self._told(run, str(key))

    def cancel(self, batch: BatchRecord, runs: Sequence[PartitionRun]) -> Iterator[PartitionRun]:
        """Mark runs as failed, which ends their tasks, and yield them."""
        self._dag_id = self._dag_of(batch.workflow)
        for run in runs:
            answer = self._call("PATCH", self._path(run.run_id), body={"state": "failed"})
            if answer.status == 200:
                now = datetime.now(UTC)
                yield PartitionRun(
                    partition=run.partition,
                    state=PartitionState.CANCELED,
                    run_id=run.run_id,
                    engine=self.engine,
                    attempt=run.attempt,
                    started_at=run.started_at,
                    ended_at=now,
                    heard_at=now,
                )

    def _runs(self, **query: Any) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self._get(f"/dags/{self._dag_id}/dagRuns", limit=_PAGE, offset=offset, order_by="id", **query)[
                "dag_runs"
            ]
            yield from page
            offset += len(page)
            if len(page) < _PAGE:
                return

    def _told(self, run: Mapping[str, Any], partition: str) -> PartitionRun:
        """Return what Airflow says of a run: ok if any task was, and with the step that failed and why."""
        state = PartitionState.RUNNING if run["state"] in _LIVE else PartitionState(_STATES[run["state"]])
        started, ended = _time(run["start_date"]), _time(run["end_date"])
        step = error = None
        if state.ended:
            tasks = self._get(f"{self._path(run['dag_run_id'])}/taskInstances", limit=_PAGE)["task_instances"]
            if state is PartitionState.FAILED:
                step, error = self._failure(run["dag_run_id"], tasks)
            elif tasks and all(task["state"] == "skipped" for task in tasks):
                state = PartitionState.SKIPPED
        return PartitionRun(
            partition=partition,
            state=state,
            run_id=run["dag_run_id"],
            engine=self.engine,
            started_at=started,
            ended_at=ended if state.ended else None,
            heard_at=(ended if state.ended else None) or datetime.now(UTC),
            step=step,
            error=error,
        )

    def _failure(self, run_id: str, tasks: list[dict[str, Any]]) -> tuple[str | None, str]:
        failed = [task for task in tasks if task["state"] == "failed"]
        if not failed:
            return None, "the run failed in Airflow before any of its tasks"
        first = min(failed, key=lambda task: task["end_date"] or "~")
        where = f"{self._path(run_id)}/taskInstances/{quote(first['task_id'])}/xcomEntries/return_value"
        answer = self._call("GET", where, query={"map_index": first["map_index"]})
        envelope = answer.data.get("value") if answer.status == 200 else None
        error = envelope.get("error") if isinstance(envelope, Mapping) else None
        return first["task_id"], str(error or "its task failed; see its log in Airflow")

    def _path(self, run_id: str) -> str:
        return f"/dags/{self._dag_id}/dagRuns/{quote(run_id, safe='')}"

    def _dag_of(self, workflow: str) -> str:
        return self._dag_id or workflow


_STATES = {"success": "ok", "failed": "failed"}


def _news(job: Job, run_id: str, state: PartitionState, *, attempt: int = 1, error: str | None = None) -> PartitionRun:
    return PartitionRun(
        partition=job.partition,
        state=state,
        run_id=run_id,
        engine="airflow",
        attempt=attempt,
        heard_at=datetime.now(UTC),
        error=error,
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
