"""Run a batch on Airflow, through its REST API v2: one run for each partition, with an id that Airflow takes once."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from flowctx.backfill.again import as_another_run, needs_another_run
from flowctx.backfill.airflow_api import AirflowApi
from flowctx.backfill.airflow_tasks import (
    Task,
    failed_without_task,
    may_wait,
    never_ran,
    state_of_run,
    tasks_by_id,
    tasks_to_run,
)
from flowctx.backfill.http import Answer
from flowctx.backfill.polling import MAX_ACTIVE, PollingLauncher, UnderWay
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.data.encoding import to_json
from flowctx.core.durability.run_ledgers import LEDGER_MARK
from flowctx.core.engine_versions import numbers
from flowctx.core.errors import EngineError, EngineUnavailable, FlowctxError
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_request import read_text

LIVE = ("queued", "running")
_STATES = {"success": "ok", "failed": "failed"}
#: From this version on, a run that is cleared keeps the version of the code that it has, unless the caller asks for the
#: latest; before, it has the latest.
_CHOOSES_CODE: Final = (3, 1, 0)
#: How a PartitionTimetable says which dimensions the DAG's runs have.
_KEYS: Final = re.compile(r"One run for each key ([^:,]+)")
#: What the database may have written otherwise, or takes for a sign of its own, in the text of a ``conf``.
_NOT_SOUGHT: Final = re.compile(r"[^ !#-\[\]-{}~]")


def launcher_from_env(*, url: str | None = None, workers: int | None = None) -> AirflowLauncher:
    """Make a launcher from ``FLOWCTX_AIRFLOW_URL``, ``..._TOKEN``, or else ``..._USER`` and ``..._PASSWORD``."""
    return AirflowLauncher(
        read_text(url, "url") or os.environ.get("FLOWCTX_AIRFLOW_URL") or "http://localhost:8080",
        token=os.environ.get("FLOWCTX_AIRFLOW_TOKEN") or None,
        user=os.environ.get("FLOWCTX_AIRFLOW_USER") or None,
        password=os.environ.get("FLOWCTX_AIRFLOW_PASSWORD"),
        max_active=workers or MAX_ACTIVE,
    )


class AirflowLauncher(PollingLauncher):
    """Runs partitions as runs of the workflow's DAG (as ``workflow_dag`` makes it, with its partitions).

    A run's id is derived from the batch and the partition, so Airflow itself refuses a second one; of a run that failed
    or was canceled, what has not run is cleared, and nothing runs beside it. Needs no Airflow here.

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
        self._api = AirflowApi(url, token=token, user=user, password=password)
        super().__init__(self._api.client, max_active)
        self._named, self._dag_id = dag_id, ""
        self._scheme: PartitionScheme | None = None
        #: The steps that run again, with all that follow them, when their run does.
        self._refreshing: set[str] = set()
        #: The workflow's steps, in order.
        self._steps: list[str] = []
        #: Whether the DAG has no partitions of its own, so that a run's conf says which it is about.
        self._key_in_conf = False
        #: The tasks of each DAG, once somebody had to know.
        self._of_dags: dict[str, dict[str, Task]] = {}
        #: The version of the server, once somebody had to know.
        self._version = ""

    # -- launching --------------------------------------------------------------------------------------------------

    def server_version(self) -> str:
        """Return the version of the Airflow that answers, once it has let us see DAGs."""
        self._api.get("/dags", limit=1)
        return str(self._api.get("/version")["version"])

    def check(self, workflow: Workflow) -> None:
        """See whether the DAG is there, is partitioned and not paused.

        Raises:
            EngineError: It is not; the message says what to do.
        """
        self._scheme, self._dag_id = workflow.partitions, self._named or workflow.name
        self._steps = list(workflow.steps)
        self._refreshing = {step.name for step in workflow.steps.values() if step.refresh}
        dag = self._active_dag(self._dag_id, f"dag = workflow_dag({workflow.name})")
        if self._scheme is not None:
            self._check_partitions(workflow.name, self._scheme, dag)

    def _active_dag(self, dag_id: str, made_by: str) -> Mapping[str, Any]:
        """Return what Airflow has of a DAG whose runs can be started.

        Raises:
            EngineError: It has no such DAG, or it is paused.
        """
        answer = self._api.call("GET", f"/dags/{dag_id}")
        if answer.status == 404 or (answer.status == 200 and answer.data.get("is_stale")):
            raise self._api.no_dag(dag_id, made_by)
        if answer.status != 200:
            raise EngineError(f"Airflow at {self._client.url} answers {answer.status}: {answer.detail}")
        if answer.data.get("is_paused"):
            raise EngineError(self._api.paused(dag_id))
        found: Mapping[str, Any] = answer.data
        return found

    def obstacle(self, dag_id: str | None = None) -> str | None:
        """Return what the runs of a DAG wait for, by default those of the workflow's, if Airflow says so."""
        return self._api.obstacle(dag_id or self._dag_id)

    def _check_partitions(self, workflow: str, scheme: PartitionScheme, dag: Mapping[str, Any]) -> None:
        """Refuse a DAG that has not one run for each key of the scheme."""
        where = f"DAG {self._dag_id!r} at Airflow at {self._client.url}"
        found = _KEYS.match(dag.get("timetable_description") or "")
        partitioned = dag.get("timetable_partitioned", found is not None)  # Airflow before 3.2 does not say
        self._key_in_conf = not partitioned or "timetable_partitioned" not in dag
        if not partitioned and not any(task.get("is_mapped") for task in self._tasks()):
            return  # a run by hand, whose conf says the partition
        if not partitioned:
            raise EngineError(
                f"{where} has no partitions; make it with workflow_dag, without a map_over= of all dimensions, or with "
                "schedule=PartitionTimetable(scheme)"
            )
        theirs, ours = tuple(found[1].split("|")) if found else scheme.dimensions, scheme.dimensions
        if theirs == ours:
            return
        differs = f"{where} has one run for each {'|'.join(theirs)}, not for each {'|'.join(ours)}"
        if set(theirs) < set(ours):
            raise EngineError(
                f"{differs}, as with map_over=, where a run does many partitions; give it another dag_id=, and put "
                f"dag = workflow_dag({workflow}) beside it"
            )
        raise EngineError(f"{differs}; let its DAG file have the workflow as it is here")

    def _prepare(self, batch: BatchRecord) -> None:
        self._dag_id = self._named or batch.workflow

    def _begin(self, batch: BatchRecord, job: Job, before: PartitionRun | None) -> PartitionRun:
        elsewhere = job.before if before is None else None
        # A part may have been a run of a DAG with some of the steps.
        if before is not None and (before.part or needs_another_run(job, before)):
            job, before = as_another_run(job, before), None
        if before is not None and self._run_again(job, before):
            return self._launched(job, before.run_id, before.attempt + 1)
        if before is not None and before.recorded:  # it was deleted since
            job = as_another_run(job, before)
        answer = self._post(job)
        if elsewhere and answer.status == 409 and (elsewhere.run_id != job.run_id or needs_another_run(job, elsewhere)):
            job = as_another_run(job, elsewhere)
            answer = self._post(job)
        if answer.status == 409:
            return self._there_already(job, answer)
        if answer.status == 404:
            raise EngineError(f"DAG {self._dag_id!r} at {self._client.url} is gone: {answer.detail}")
        if answer.status >= 400:
            return self._refused(job, answer.detail)
        return self._launched(job, job.run_id)

    def _post(self, job: Job) -> Answer:
        conf = {**to_json(job.params), **job.request.to_conf()}
        body: dict[str, Any] = {"dag_run_id": job.run_id, "logical_date": None, "conf": conf}
        if job.key is not None and self._key_in_conf:
            conf["partition"] = job.key.to_dict()
        elif self._scheme is not None and job.key is not None:
            body["partition_key"] = self._scheme.text(job.key)
        return self._api.call("POST", f"/dags/{self._dag_id}/dagRuns", body=body)

    def _there_already(self, job: Job, answer: Answer) -> PartitionRun:
        """Go on with a run that an earlier launch started: that could not say so any more, or it went on elsewhere."""
        found = self._api.call("GET", self._path(job.run_id))
        if found.status != 200:
            return self._refused(job, answer.detail)
        if found.data["state"] in LIVE:
            return self._launched(job, job.run_id)
        known = job.before is not None and job.before.run_id == job.run_id and job.before.recorded
        outcome = replace(self._told(found.data, job.partition), recorded=known)
        undone = not outcome.state.done or (known and job.incomplete)
        if undone and self._run_again(job, outcome):
            return self._launched(job, job.run_id, 2)
        return outcome

    def _run_again(self, job: Job, before: PartitionRun) -> bool:
        """Clear what a run needs again to be whole; returns whether the run is still there."""
        run = self._api.call("GET", self._path(before.run_id))
        if run.status == 404:
            return False
        instances = self._instances(before.run_id)
        tasks = set(tasks_to_run(instances, self._never_ran(run.data, instances)))
        if before.state is PartitionState.SKIPPED:
            tasks |= {instance["task_id"] for instance in instances if instance["state"] == "skipped"}
        # Somebody may have marked a task, or the run, as successful, and the step has not run for all that.
        more = {job.from_step} if job.from_step else self._refreshing
        tasks |= {*more, *job.incomplete} & {task["task_id"] for task in instances}
        all_again = before.state is PartitionState.CANCELED or not tasks
        if all_again or not (before.recorded or self._xcom_has_all(before)):
            tasks = {instance["task_id"] for instance in instances}
        return self._clear(before.run_id, tasks)

    def _clear(self, run_id: str, tasks: Collection[str]) -> bool:
        """Clear tasks of a run and what follows them, to run with the latest code; returns whether it is there."""
        body: dict[str, Any] = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": sorted(tasks),
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        self._version = self._version or str(self._api.get("/version")["version"])
        if numbers(self._version) >= _CHOOSES_CODE:
            body["run_on_latest_version"] = True
        answer = self._api.call("POST", f"/dags/{self._dag_id}/clearTaskInstances", body=body)
        if answer.status not in (200, 404):
            raise EngineError(f"Airflow at {self._client.url} does not clear run {run_id}: {answer.detail}")
        return answer.status == 200

    def _changed(self, active: Mapping[str, UnderWay]) -> Iterator[tuple[str, PartitionRun]]:
        live = {run["dag_run_id"] for run in self._runs(state=list(LIVE))}
        for run_id in [run_id for run_id in active if run_id not in live]:
            answer = self._api.call("GET", self._path(run_id))
            if answer.status == 404:
                yield run_id, self._deleted(active[run_id])
            elif answer.data["state"] not in LIVE:  # else it is one that began since we looked
                job, run = active[run_id]
                yield run_id, self._told(answer.data, job.partition, run.attempt)

    # -- what Airflow knows -----------------------------------------------------------------------------------------

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield the runs whose ``conf`` has the batch id, whoever started them: a launcher, a backfill or a person.

        Raises:
            EngineError: There is no such DAG.
        """
        self._scheme, self._dag_id = workflow.partitions, self._named or workflow.name
        self._steps = list(workflow.steps)
        if self._api.call("GET", f"/dags/{self._dag_id}").status == 404:
            raise self._api.no_dag(self._dag_id, f"dag = workflow_dag({workflow.name})")
        piece = max(_NOT_SOUGHT.split(batch.batch_id), key=len)
        for run in self._runs(conf_contains=piece):
            batch_of_run = (run.get("conf") or {}).get("batch_id")
            text = run.get("partition_key") or (run.get("conf") or {}).get("partition")
            if batch_of_run != batch.batch_id or not text or self._scheme is None:
                continue
            try:
                key = self._scheme.check(text)
            except FlowctxError:  # of a time when the scheme was another
                continue
            yield self._told(run, str(key))

    def had_ledger(self, run: PartitionRun) -> bool:
        """Return whether a run says that it had a ledger: whether the first step that handed something on does.

        Raises:
            EngineError: Airflow keeps what they handed on where only a worker can read it.
        """
        elsewhere = ""
        for step in self._steps:
            handed_on = self._handed_on(run.run_id, step)
            if isinstance(handed_on, Mapping):
                return bool(handed_on.get(LEDGER_MARK))
            elsewhere = elsewhere or (f"{step!r} handed on is at {handed_on!r:.200}" if handed_on is not None else "")
        if elsewhere:
            raise EngineError(f"what step {elsewhere}, where workers alone can read it (xcom_backend in [core])")
        return False

    def _xcom_has_all(self, run: PartitionRun) -> bool:
        """Return whether what a run did is in XCom alone; where nobody can tell, it may be missing in a ledger."""
        try:
            return not self.had_ledger(run)
        except EngineUnavailable:
            raise
        except EngineError:
            return False

    def cancel(self, batch: BatchRecord, runs: Sequence[PartitionRun]) -> Iterator[PartitionRun]:
        """Mark runs as failed, which ends their tasks, and yield them."""
        self._dag_id = self._named or batch.workflow
        for run in runs:
            answer = self._api.call("PATCH", self._path(run.run_id), body={"state": "failed"})
            if answer.status in (200, 404):  # 404: it was deleted
                now = datetime.now(UTC)
                # By Airflow's clock, as it will say of the run later on.
                ended = (_time(answer.data.get("end_date")) if answer.status == 200 else None) or now
                yield replace(
                    run, state=PartitionState.CANCELED, ended_at=ended, last_seen_at=now, step=None, error=None
                )

    def _runs(self, **query: Any) -> Iterator[dict[str, Any]]:
        return self._api.pages(f"/dags/{self._dag_id}/dagRuns", "dag_runs", order_by="id", **query)

    def _told(self, run: Mapping[str, Any], partition: str, attempt: int = 1) -> PartitionRun:
        """Return what Airflow says of a run: ok if any task was, and with the step that failed and why."""
        state = PartitionState.RUNNING if run["state"] in LIVE else PartitionState(_STATES[run["state"]])
        started, ended = _time(run["start_date"]), _time(run["end_date"])
        step = error = None
        if state.ended:
            instances = self._instances(run["dag_run_id"])
            unrun = self._never_ran(run, instances)
            state = state_of_run(state, instances, unrun, partial(self._failed_itself, run["dag_run_id"]))
            if state is PartitionState.FAILED:
                step, error = self._failure(run["dag_run_id"], instances)
            elif unrun:
                error = f"not done: {', '.join(sorted(unrun))}"
        return PartitionRun(
            partition=partition,
            state=state,
            run_id=run["dag_run_id"],
            engine=self.engine,
            attempt=attempt,
            started_at=started,
            ended_at=ended if state.ended else None,
            last_seen_at=(ended if state.ended else None) or datetime.now(UTC),
            step=step,
            error=error,
        )

    def _instances(self, run_id: str) -> list[dict[str, Any]]:
        return list(self._api.pages(f"{self._path(run_id)}/taskInstances", "task_instances"))

    def _tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._api.get(f"/dags/{self._dag_id}/tasks")["tasks"]
        return found

    def _never_ran(self, run: Mapping[str, Any], instances: list[dict[str, Any]]) -> set[str]:
        """Return the tasks of which nothing has run, whatever their colour; see :func:`never_ran`."""
        if all(instance.get("try_number", 1) and not may_wait(instance) for instance in instances):
            return set()
        if self._dag_id not in self._of_dags:
            self._of_dags[self._dag_id] = tasks_by_id(self._tasks())

        def choice_of(task_id: str) -> Any:
            return self._handed_on(run["dag_run_id"], task_id, key="skipmixin_key")

        failed_itself = partial(self._failed_itself, run["dag_run_id"])
        return never_ran(run, instances, self._of_dags[self._dag_id], choice_of, failed_itself)

    def _failed_itself(self, run_id: str, instance: Mapping[str, Any]) -> bool:
        """Return whether a step has handed on that it failed: one that was stopped could not."""
        envelope = self._handed_on(run_id, instance["task_id"], map_index=instance["map_index"])
        return isinstance(envelope, Mapping) and envelope.get("status") == StepStatus.FAILED

    def _failure(self, run_id: str, tasks: list[dict[str, Any]]) -> tuple[str | None, str]:
        failed = [task for task in tasks if task["state"] == "failed"]
        if not failed:
            return None, failed_without_task(tasks)
        first = min(failed, key=lambda task: task["end_date"] or "~")
        envelope = self._handed_on(run_id, first["task_id"], map_index=first["map_index"])
        error = envelope.get("error") if isinstance(envelope, Mapping) else None
        return first["task_id"], str(error or "its task failed; see its log in Airflow")

    def _handed_on(self, run_id: str, task_id: str, key: str = "return_value", **query: Any) -> Any:
        """Return what a task of a step handed on, if it did; or where an XCom backend keeps that."""
        where = f"{self._path(run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{key}"
        answer = self._api.call("GET", where, query=query)
        return answer.data.get("value") if answer.status == 200 else None

    def _path(self, run_id: str) -> str:
        return f"/dags/{self._dag_id}/dagRuns/{quote(run_id, safe='')}"


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
