"""A DAG of an Airflow that runs a workflow: its runs, how they are asked for and cleared, and what they did."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, Final
from urllib.parse import quote

from flowctx.backfill.again import had_params
from flowctx.backfill.airflow_api import AirflowApi, run_path
from flowctx.backfill.airflow_tasks import (
    Marker,
    Task,
    failed_without_task,
    ids_of_steps,
    marker_of,
    markers,
    may_wait,
    never_ran,
    state_of_run,
    tasks_by_id,
    to_run,
)
from flowctx.backfill.http import Answer
from flowctx.core.batches.records import Job, PartitionRun, PartitionState
from flowctx.core.data.encoding import to_json
from flowctx.core.durability.run_ledgers import LEDGER_MARK
from flowctx.core.engine_versions import numbers
from flowctx.core.errors import EngineError, EngineUnavailable
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.result import StepStatus

#: The states of a run that has not ended.
LIVE = ("queued", "running")
_STATES = {"success": "ok", "failed": "failed"}
#: Why a run is successful in which nothing has run.
_NO_TASKS: Final = "Airflow made no task for it; its logical date may lie outside of the DAG's start_date and end_date"
#: From this version on, a run that is cleared keeps the version of the code that it has, unless the caller asks for the
#: latest; before, it has the latest.
_CHOOSES_CODE: Final = (3, 1, 0)
#: How a PartitionTimetable says which dimensions the DAG's runs have.
_KEYS: Final = re.compile(r"One run for each key ([^:,]+)")


@dataclass(frozen=True)
class AirflowDag:
    """The DAG of a workflow."""

    #: Asks the Airflow that has it.
    api: AirflowApi
    #: Its id.
    dag_id: str
    #: The workflow.
    workflow: Workflow
    #: Whether it has no partitions of its own, so that a run's conf says which it is about.
    key_in_conf: bool = False

    def check_partitions(self, dag: Mapping[str, Any]) -> bool:
        """Refuse a DAG that has not one run for each key of the scheme; returns whether a run's conf says the key.

        Args:
            dag: What Airflow has of it.

        Raises:
            EngineError: Its runs are of other keys.
        """
        scheme = self.workflow.partitions
        if scheme is None:
            return False
        where = f"DAG {self.dag_id!r} at Airflow at {self.api.client.url}"
        found = _KEYS.match(dag.get("timetable_description") or "")
        partitioned = dag.get("timetable_partitioned", found is not None)  # Airflow before 3.2 does not say
        key_in_conf = not partitioned or "timetable_partitioned" not in dag
        if not partitioned:
            return key_in_conf  # a run by hand, whose conf says the partition; one that does all values refuses it
        theirs, ours = tuple(found[1].split("|")) if found else scheme.dimensions, scheme.dimensions
        if theirs == ours:
            return key_in_conf
        differs = f"{where} has one run for each {'|'.join(theirs)}, not for each {'|'.join(ours)}"
        if set(theirs) < set(ours):
            raise EngineError(
                f"{differs}, as with map_over=, where a run does many partitions; give it another dag_id=, and put "
                f"dag = workflow_dag({self.workflow.name}) beside it"
            )
        raise EngineError(f"{differs}; let its DAG file have the workflow as it is here")

    def post(self, job: Job) -> Answer:
        """Ask for the run of a job."""
        scheme = self.workflow.partitions
        conf = {**to_json(job.params), **job.request.to_conf()}
        body: dict[str, Any] = {"dag_run_id": job.run_id, "logical_date": None, "conf": conf}
        if job.key is not None and self.key_in_conf:
            conf["partition"] = job.key.to_dict()
        elif scheme is not None and job.key is not None:
            body["partition_key"] = scheme.text(job.key)
        return self.api.call("POST", f"/dags/{self.dag_id}/dagRuns", body=body)

    def run(self, run_id: str) -> Answer:
        """Return what Airflow has of a run; 404, where it has none."""
        return self.api.call("GET", self._path(run_id))

    def run_again(self, job: Job, before: PartitionRun, run: Mapping[str, Any]) -> bool:
        """Clear what a run needs again to be whole; returns whether it has tasks, and a job's parameters.

        Args:
            job: The job.
            before: How its run stands.
            run: What Airflow has of that.

        Raises:
            EngineError: Which task is the step from which on it is to run cannot be told.
        """
        if not self.has_params(run, job, recorded=before.recorded):
            return False
        if not (instances := self._instances(before.run_id)):
            return False
        tasks = set(to_run(instances, self._never_ran(run, instances)))
        if job.before is not None and job.before.state is PartitionState.SKIPPED:
            tasks |= {marker_of(instance) for instance in instances if instance["state"] == "skipped"}
        # Somebody may have marked a task, or the run, as successful, and the step has not run for all that.
        refreshing = {step.name for step in self.workflow.steps.values() if step.refresh}
        more = {job.from_step} if job.from_step else refreshing
        ids = ids_of_steps(instances)
        if job.from_step and job.from_step not in ids and job.from_step not in ids_of_steps(self._tasks()):
            raise EngineError(
                f"DAG {self.dag_id!r} at Airflow at {self.api.client.url} has no task, or several, named as step "
                f"{job.from_step!r}, from which it is to run; let one task of it have that name"
            )
        tasks |= {ids[step] for step in {*more, *job.incomplete} & ids.keys()}
        all_again = before.state is PartitionState.CANCELED or not tasks or not more <= ids.keys()
        if all_again or not (before.recorded or self._xcom_has_all(before, instances)):
            tasks = {instance["task_id"] for instance in instances}
        return self._clear(before.run_id, tasks)

    def has_params(self, run: Mapping[str, Any], job: Job, *, recorded: bool = False) -> bool:
        """Return whether a run, as Airflow tells of it, has the parameters of a job.

        Args:
            run: The run.
            job: The job.
            recorded: Whether the ledger has the run, and what else it was given: that stays.
        """
        conf = run["conf"] or {}
        return had_params(self.workflow, conf, job.params, exactly=not recorded, resumes="resume_from" in conf)

    def _clear(self, run_id: str, tasks: Collection[Marker]) -> bool:
        """Clear tasks of a run and what follows them, to run with the latest code; returns whether it is there."""
        body: dict[str, Any] = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": markers(tasks),
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        if numbers(self.api.version) >= _CHOOSES_CODE:
            body["run_on_latest_version"] = True
        answer = self.api.call("POST", f"/dags/{self.dag_id}/clearTaskInstances", body=body)
        if answer.status not in (200, 404):
            raise EngineError(f"Airflow at {self.api.client.url} does not clear run {run_id}: {answer.detail}")
        return answer.status == 200

    # -- what it did ------------------------------------------------------------------------------------------------

    def runs(self, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield its runs, those that a query lets through."""
        return self.api.pages(f"/dags/{self.dag_id}/dagRuns", "dag_runs", order_by="id", **query)

    def partition_run(self, run: Mapping[str, Any], partition: str, attempt: int = 1) -> PartitionRun:
        """Return what Airflow says of a run: ok if any task was, and with the step that failed and why."""
        state = PartitionState.RUNNING if run["state"] in LIVE else PartitionState(_STATES[run["state"]])
        started, ended = time_of(run["start_date"]), time_of(run["end_date"])
        step = error = None
        if state.ended:
            instances = self._instances(run["dag_run_id"])
            unrun = self._never_ran(run, instances)
            state = state_of_run(state, instances, unrun, partial(self._failed_itself, run["dag_run_id"]))
            if state is PartitionState.FAILED:
                step, error = self._failure(run["dag_run_id"], instances)
            elif unrun:
                error = f"not done: {', '.join(sorted(unrun))}" if instances else _NO_TASKS
        return PartitionRun(
            partition=partition,
            state=state,
            run_id=run["dag_run_id"],
            engine="airflow",
            attempt=attempt,
            started_at=started,
            ended_at=ended if state.ended else None,
            last_seen_at=(ended if state.ended else None) or datetime.now(UTC),
            step=step,
            error=error,
        )

    def had_ledger(self, run_id: str) -> bool:
        """Return whether a run says that it had a ledger: whether the first step that handed something on does.

        Raises:
            EngineError: Airflow keeps what they handed on where only a worker can read it.
        """
        return self._had_ledger(run_id, self._instances(run_id))

    def _had_ledger(self, run_id: str, instances: list[dict[str, Any]]) -> bool:
        elsewhere, ids = "", ids_of_steps(instances)
        for step in (name for name in self.workflow.steps if name in ids):
            some = [instance for instance in instances if instance["task_id"] == ids[step]]
            one = next((instance for instance in some if instance["state"] == "success"), some[0])  # of a mapped step
            handed_on = self._handed_on(run_id, ids[step], map_index=one["map_index"])
            if isinstance(handed_on, Mapping):
                return bool(handed_on.get(LEDGER_MARK))
            elsewhere = elsewhere or (f"{step!r} handed on is at {handed_on!r:.200}" if handed_on is not None else "")
        if elsewhere:
            raise EngineError(f"what step {elsewhere}, where workers alone can read it (xcom_backend in [core])")
        return False

    def _xcom_has_all(self, run: PartitionRun, instances: list[dict[str, Any]]) -> bool:
        """Return whether what a run did is in XCom alone; where nobody can tell, it may be missing in a ledger."""
        try:
            return not self._had_ledger(run.run_id, instances)
        except EngineUnavailable:
            raise
        except EngineError:
            return False

    def _instances(self, run_id: str) -> list[dict[str, Any]]:
        """Return its task instances, without those that are none of it any more: of a task that the DAG has lost."""
        found = self.api.pages(f"{self._path(run_id)}/taskInstances", "task_instances")
        return [instance for instance in found if instance["state"] != "removed"]

    def _tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get(f"/dags/{self.dag_id}/tasks")["tasks"]
        return found

    @cached_property
    def _known_tasks(self) -> dict[str, Task]:
        return tasks_by_id(self._tasks())

    def _never_ran(self, run: Mapping[str, Any], instances: list[dict[str, Any]]) -> set[str]:
        """Return the tasks of which nothing has run, whatever their colour; see :func:`never_ran`."""
        if instances and all(instance.get("try_number", 1) and not may_wait(instance) for instance in instances):
            return set()

        def choice_of(task_id: str) -> Any:
            return self._handed_on(run["dag_run_id"], task_id, key="skipmixin_key")

        failed_itself = partial(self._failed_itself, run["dag_run_id"])
        return never_ran(run, instances, self._known_tasks, choice_of, failed_itself)

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
        answer = self.api.call("GET", where, query=query)
        return answer.data.get("value") if answer.status == 200 else None

    def _path(self, run_id: str) -> str:
        return run_path(self.dag_id, run_id)


def time_of(text: str | None) -> datetime | None:
    """Return a time as the API writes it."""
    return None if text is None else datetime.fromisoformat(text)
