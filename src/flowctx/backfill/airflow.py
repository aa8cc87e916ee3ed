"""Run a batch on Airflow, through its REST API v2: one run for each partition, with an id that Airflow takes once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from flowctx.backfill.again import as_another_run, had_params_of_batch, needs_another_run
from flowctx.backfill.airflow_api import AirflowApi, run_path
from flowctx.backfill.airflow_dag import LIVE, AirflowDag, time_of
from flowctx.backfill.http import Answer
from flowctx.backfill.polling import MAX_ACTIVE, PollingLauncher, UnderWay, WhichPartition, under_way_otherwise
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.errors import EngineError, EngineUnavailable, FlowctxError
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import read_text

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
        self._named = dag_id
        #: The DAGs of workflows that were checked, or whose runs were looked for.
        self._dags: dict[str, AirflowDag] = {}
        #: The DAGs of runs of workflows that those do not have.
        self._elsewhere: dict[tuple[str, str], str] = {}

    # -- launching --------------------------------------------------------------------------------------------------

    def server_version(self) -> str:
        """Return the version of the Airflow that answers, once it has let us see DAGs."""
        self._api.get("/dags", limit=1)
        return self._api.version

    def check(self, workflow: Workflow) -> None:
        """See whether the DAG is there, is partitioned and not paused.

        Raises:
            EngineError: It is not; the message says what to do.
        """
        dag = self._dag_of(workflow)
        found = self._api.active_dag(dag.dag_id, f"dag = workflow_dag({workflow.name})")
        self._dags[workflow.name] = replace(dag, key_in_conf=dag.check_partitions(found))

    def _dag_of(self, workflow: Workflow) -> AirflowDag:
        return AirflowDag(self._api, self._named or workflow.name, workflow)

    def _obstacle(self, batch: BatchRecord) -> str | None:
        dags = [self._dags[name].dag_id for name in batch.workflows if name in self._dags]
        return next((why for dag_id in dags if (why := self._api.obstacle(dag_id)) is not None), None)

    def _begin(self, batch: BatchRecord, job: Job, before: PartitionRun | None) -> PartitionRun:
        dag = self._dags[job.workflow or batch.workflow]
        there = self._run(batch, dag, before.run_id) if before is not None else None
        if there is not None and there["state"] in LIVE:
            return self._under_way(dag, job, there, before)  # somebody has cleared it
        # A part may have been a run of a DAG with some of the steps.
        if before is not None and (before.part or needs_another_run(job, before)):
            return self._post(dag, as_another_run(job, before), is_other=True)
        if before and there and there["dag_id"] == dag.dag_id and dag.run_again(job, before, there):
            return self._launched(job, before.run_id, before.attempt + 1)
        if before is not None and before.recorded:  # it was deleted since
            return self._post(dag, as_another_run(job, before), is_other=True)
        return self._post(dag, job)

    def _post(self, dag: AirflowDag, job: Job, *, is_other: bool = False) -> PartitionRun:
        answer = dag.post(job)
        if answer.status == 409:
            return self._there_already(dag, job, answer, is_other=is_other)
        if answer.status == 404:
            raise EngineError(f"DAG {dag.dag_id!r} at {self._client.url} is gone: {answer.detail}")
        if answer.status >= 400:
            return self._refused(job, answer.detail)
        return self._launched(job, job.run_id)

    def _there_already(self, dag: AirflowDag, job: Job, answer: Answer, *, is_other: bool) -> PartitionRun:
        """Go on with a run that an earlier launch started: that could not say so any more, or it went on elsewhere."""
        found = dag.run(job.run_id)
        if found.status != 200:
            return self._refused(job, answer.detail)
        if found.data["state"] in LIVE:
            return self._under_way(dag, job, found.data)
        there, before = dag.partition_run(found.data, job.partition), job.before
        is_older = before is not None and _is_older(there, before)
        known = before is not None and before.run_id == job.run_id and before.recorded
        has_params = dag.has_params(found.data, job, recorded=known)
        is_done = there.state.done and not (known and job.incomplete) and has_params
        if is_done and not is_older:
            return there
        goes_on = before is None or not is_older or (before.run_id == job.run_id and not needs_another_run(job, before))
        if (goes_on or is_other) and dag.run_again(job, replace(there, recorded=known), found.data):
            return self._launched(job, job.run_id, 2)
        return there if is_other else self._post(dag, as_another_run(job, before or there), is_other=True)

    def _under_way(
        self, dag: AirflowDag, job: Job, run: Mapping[str, Any], before: PartitionRun | None = None
    ) -> PartitionRun:
        """Follow a run; beside one that has other parameters, no other one is started."""
        if dag.has_params(run, job, recorded=before is not None and before.recorded):
            return self._launched(job, run["dag_run_id"], before.attempt + 1 if before else 1)
        return self._refused(job, under_way_otherwise(run["dag_run_id"]))

    def _changed(
        self, batch: BatchRecord, active: Mapping[WhichPartition, UnderWay]
    ) -> Iterator[tuple[WhichPartition, PartitionRun]]:
        for name in dict.fromkeys(job.workflow or batch.workflow for job, _ in active.values()):
            dag = self._dags[name]
            live = {run["dag_run_id"] for run in dag.runs(state=list(LIVE))}
            for which, (job, run) in active.items():
                if run.run_id in live or (job.workflow or batch.workflow) != name:
                    continue
                found = self._run(batch, dag, run.run_id)
                if found is None:
                    yield which, self._deleted(active[which])
                elif found["state"] not in LIVE:  # else it is one that began since we looked
                    of_run = replace(dag, dag_id=found["dag_id"])
                    yield which, of_run.partition_run(found, job.partition, run.attempt)

    def _run(self, batch: BatchRecord, dag: AirflowDag, run_id: str) -> Mapping[str, Any] | None:
        """Return a run of a batch, of a workflow's DAG or else of any other; ``None``, if it was deleted."""
        workflow = dag.workflow.name
        answer = self._api.call("GET", run_path(self._elsewhere.get((workflow, run_id), dag.dag_id), run_id))
        return self._found_elsewhere(batch, workflow, run_id) if answer.status == 404 else answer.data

    def _found_elsewhere(self, batch: BatchRecord, workflow: str, run_id: str) -> Mapping[str, Any] | None:
        """Return a run of a workflow, whatever its DAG is called; ``None``, where there is none that we may see."""
        others = {dag.dag_id for name, dag in self._dags.items() if name != workflow}  # runs there may have the same id
        try:
            for run in self._api.runs_named(run_id):
                if (run.get("conf") or {}).get("batch_id") == batch.batch_id and run["dag_id"] not in others:
                    self._elsewhere[workflow, run_id] = run["dag_id"]
                    return run
        except EngineUnavailable:
            raise
        except EngineError:
            return None
        return None

    # -- what Airflow knows -----------------------------------------------------------------------------------------

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield the runs whose ``conf`` has the batch id, whoever started them: a launcher, a backfill or a person.

        Raises:
            EngineError: There is no such DAG.
        """
        dag, scheme = self._dags.setdefault(workflow.name, self._dag_of(workflow)), workflow.partitions
        if self._api.call("GET", f"/dags/{dag.dag_id}").status == 404:
            raise self._api.no_dag(dag.dag_id, f"dag = workflow_dag({workflow.name})")
        piece = max(_NOT_SOUGHT.split(batch.batch_id), key=len)
        for run in dag.runs(conf_contains=piece):
            conf = run.get("conf") or {}
            text = run.get("partition_key") or conf.get("partition")
            if conf.get("batch_id") != batch.batch_id or not text or scheme is None:
                continue
            try:
                key = scheme.check(text)
            except FlowctxError:  # of a time when the scheme was another
                continue
            # What goes on with another run is no new one: the ledger that has that one tells what it has done.
            params = None if "resume_from" in conf else conf
            counts = params is None or had_params_of_batch(workflow, params, batch)
            yield replace(dag.partition_run(run, str(key)), other_params=not counts, engine_params=params)

    def had_ledger(self, run: PartitionRun) -> bool:
        """Return whether a run says that it had a ledger; see :meth:`AirflowDag.had_ledger`."""
        dag = self._dags.get(run.workflow)
        if dag is None:
            return False
        return replace(dag, dag_id=self._elsewhere.get((run.workflow, run.run_id), dag.dag_id)).had_ledger(run.run_id)

    def cancel(self, batch: BatchRecord, runs: Sequence[PartitionRun]) -> Iterator[PartitionRun]:
        """Mark runs as failed, which ends their tasks, and yield them; one that has ended meanwhile stays as it is."""
        for run in runs:
            workflow = run.workflow or batch.workflow
            dag_id = self._named or workflow
            answer = self._api.call("GET", run_path(dag_id, run.run_id))
            if answer.status == 404 and (found := self._found_elsewhere(batch, workflow, run.run_id)) is not None:
                answer = Answer(200, found)
            if answer.status == 200:
                if answer.data["state"] not in LIVE:
                    continue
                path = run_path(answer.data["dag_id"], run.run_id)
                answer = self._api.call("PATCH", path, body={"state": "failed"})
            if answer.status in (200, 404):  # 404: it was deleted
                now = datetime.now(UTC)
                # By Airflow's clock, as it will say of the run later on.
                ended = (time_of(answer.data.get("end_date")) if answer.status == 200 else None) or now
                yield replace(
                    run, state=PartitionState.CANCELED, ended_at=ended, last_seen_at=now, step=None, error=None
                )


def _is_older(there: PartitionRun, before: PartitionRun) -> bool:
    """Return whether a run that is there had ended before a job was last tried, elsewhere."""
    ended = there.ended_at
    return before.attempt > 0 and (ended is None or ended < (before.ended_at or before.last_seen_at))
