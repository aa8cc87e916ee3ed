"""Run a batch in bulk on Airflow: one run of the bulk DAG, with a mapped task for each slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from http import HTTPStatus
from urllib.parse import quote

from flowctx.backfill.airflow import AirflowLauncher
from flowctx.backfill.airflow import launcher_from_env as native_from_env
from flowctx.backfill.airflow_dag import LIVE
from flowctx.backfill.bulk import LANES, BulkLauncher
from flowctx.core.batches.bulk import BULK, RUN_SLICE, BulkRequest, Slice, bulk_name
from flowctx.core.batches.records import BatchRecord, PartitionRun, id_text
from flowctx.core.errors import EngineError
from flowctx.core.printable import amount
from flowctx.core.workflow.definition import Workflow


def launcher_from_env(*, url: str | None = None, workers: int | None = None) -> AirflowBulkLauncher:
    """Make a launcher; see :func:`flowctx.backfill.airflow.launcher_from_env`."""
    return AirflowBulkLauncher(native_from_env(url=url), workers or LANES)


class AirflowBulkLauncher(BulkLauncher):
    """Runs slices as mapped tasks of the workflow's bulk DAG, as ``workflow_bulk_dag`` makes it.

    How many of them run at a time is Airflow's to say.

    Args:
        airflow: Logs in to that Airflow, and knows what runs there partition by partition.
        lanes: So many slices are meant to run at a time.
        dag_id: The bulk DAG, if it is not named after the workflow.
    """

    def __init__(self, airflow: AirflowLauncher, lanes: int = LANES, *, dag_id: str | None = None) -> None:
        super().__init__(airflow, lanes)
        self._airflow, self._named, self._dag_id, self._run_id = airflow, dag_id, "", ""

    def check(self, workflow: Workflow) -> None:
        """See whether the bulk DAG is there and not paused.

        Raises:
            EngineError: It is not; the message says what to do.
        """
        self._dag_id = self._named or bulk_name(workflow.name)
        self._airflow._api.active_dag(self._dag_id, f"bulk = workflow_bulk_dag({workflow.name})")

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield what ran partition by partition; nothing, where the workflow has its bulk DAG only."""
        dag_id = self._airflow._named or workflow.name
        has_dag = self._airflow._api.call("GET", f"/dags/{dag_id}").status == HTTPStatus.OK
        return super().find(batch, workflow) if has_dag else iter(())

    def launcher_under_way(self, batch: BatchRecord) -> str | None:
        """Return who launched slices of the batch that are queued or running, and follow them."""
        for run in self._airflow._api.pages(self._runs, "dag_runs", order_by="id", state=list(LIVE)):
            bulk = (run.get("conf") or {}).get(BULK) or {}
            if bulk.get("batch_id") == batch.batch_id:
                self._run_id = run["dag_run_id"]
                return str(bulk["launcher"])
        return None

    def start(self, request: BulkRequest, slices: Sequence[Slice]) -> None:
        """Start a run of the bulk DAG.

        Raises:
            EngineError: Airflow does not take it.
        """
        self._run_id = f"bulk__{id_text(request.batch_id)[:50]}__{request.launched_at:%Y%m%dT%H%M%S%f}"
        bulk = {**request.to_dict(), "slices": [asdict(part) for part in slices]}
        body = {"dag_run_id": self._run_id, "logical_date": None, "conf": {BULK: bulk}}
        answer = self._airflow._api.call("POST", self._runs, body=body)
        if answer.status not in (200, 409):  # 409: it has begun, and the answer was lost
            raise EngineError(f"Airflow does not start the slices of batch {request.batch_id!r}: {answer.detail}")

    def obstacle(self) -> str | None:
        """Return what the slices wait for, if Airflow says so."""
        return self._airflow._api.obstacle(self._dag_id)

    def is_over(self) -> bool:
        """Return whether the run has ended."""
        answer = self._airflow._api.call("GET", self._path)
        return answer.status == 404 or answer.data["state"] not in LIVE

    def failure(self) -> str | None:
        """Return which slices did not get through."""
        if self._airflow._api.call("GET", self._path).status == 404:
            return "its run was deleted in Airflow"
        tasks = self._airflow._api.pages(f"{self._path}/taskInstances", "task_instances")
        failed = sum(task["task_id"] == RUN_SLICE and task["state"] != "success" for task in tasks)
        where = f"see their logs in run {self._run_id} of DAG {self._dag_id}"
        return f"{amount(failed, 'slice')} did not get through; {where}" if failed else None

    def detach(self) -> None:
        """Leave the run to Airflow, which has all slices."""

    @property
    def _runs(self) -> str:
        return f"/dags/{self._dag_id}/dagRuns"

    @property
    def _path(self) -> str:
        return f"{self._runs}/{quote(self._run_id, safe='')}"
