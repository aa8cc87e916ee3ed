"""What Airflow calls over is over in the ledger too: a listener in the scheduler and in the API server."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from typing import Any, Final, NamedTuple

from airflow.listeners import hookimpl

from flowctx.core.durability.endings import Undone, end_engine_run
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.errors import error_text
from flowctx.core.workflow.context import engine_of

logger = logging.getLogger("flowctx")

#: What the scheduler gives as the reason of a failure; every other one is a person's, who has marked the run.
_OF_SCHEDULER: Final = ("task_failure", "all_tasks_deadlocked", "timed_out")
#: So many ended runs wait for a ledger that does not answer; what is beyond is ended when somebody asks for it.
_MOST_WAITING: Final = 10_000


class Ended(NamedTuple):
    """A run of a DAG that is over."""

    dag_id: str
    run_id: str
    status: RunStatus
    error: str | None
    #: When Airflow said so, by the monotonic clock.
    heard: float
    #: Whether all of its tasks ended by themselves.
    to_the_end: bool = True


def end_of_dag_run(dag_id: str, run_id: str, state: str, reason: str | None = None) -> Ended:
    """Return how a run of a DAG ended.

    Args:
        dag_id: The DAG.
        run_id: The run.
        state: Airflow's state: ``success`` or ``failed``.
        reason: What Airflow says of it.
    """
    if state == "success":
        return Ended(dag_id, run_id, RunStatus.OK, None, time.monotonic())
    if reason in (None, *_OF_SCHEDULER):
        error = f"Airflow calls it failed{f' ({reason})' if reason else ''}"
        to_the_end = reason in (None, _OF_SCHEDULER[0])
        return Ended(dag_id, run_id, RunStatus.FAILED, error, time.monotonic(), to_the_end)
    return Ended(dag_id, run_id, RunStatus.CANCELED, "it was marked as failed in Airflow", time.monotonic())


def record_end(ended: Ended) -> None:
    """End in the ledger, if there is one, what is running of a run of a DAG; never raises."""
    from flowctx.airflow.recording import ledger

    engine = {"name": "airflow", "dag_id": ended.dag_id}
    try:
        if (found := ledger()) is not None:
            ago = time.monotonic() - ended.heard
            undone = _undone if ended.to_the_end else lambda run: None
            end_engine_run(found, ended.run_id, engine, ended.status, ended.error, seconds_ago=ago, undone=undone)
    except Exception as exc:  # noqa: BLE001  # the scheduler goes on whatever it is
        logger.warning("the end of run %s is not recorded: %s", ended.run_id, error_text(exc))


def _undone(run: RunRecord) -> dict[str, Undone] | None:
    """Return the steps whose tasks failed, or could not run; ``None`` if there is a step whose task is not known.

    An ordinary task that runs whatever happened lets Airflow call such a run a success.
    """
    from airflow.models.taskinstance import TaskInstance

    from flowctx.airflow._compat import open_session
    from flowctx.airflow.task_states import TASK_IDS, UNRECORDED, asked_at

    engine = engine_of(run.context)
    try:
        with open_session(scoped=False) as session:  # the one who tells may be amid its own
            found = session.query(TaskInstance.task_id, TaskInstance.state, TaskInstance.id).filter_by(
                dag_id=engine["dag_id"], run_id=run.run_id, map_index=engine.get("map_index", -1)
            )
            tasks = {task_id: (str(state), asked_at(at)) for task_id, state, at in found}
    except Exception as exc:  # noqa: BLE001  # that it is over is to be recorded all the same
        logger.warning("which steps of run %s could not run is not known: %s", run.run_id, error_text(exc))
        return None
    ids = {step: step for step in run.steps} | engine.get(TASK_IDS, {})
    ended = {step: tasks[at] for step, at in ids.items() if at in tasks}
    if not ended.keys() >= {*(run.selected or run.steps)}:
        return None  # of a mapped task that could not begin there is no instance for the run
    return {step: Undone(UNRECORDED[state], at) for step, (state, at) in ended.items() if state in UNRECORDED}


class RunListener:
    """Hears of runs that end, whatever ended them: a task that was killed, a timeout, a person.

    It writes to the ledger in a thread of its own, so that the scheduler never waits for a ledger.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = 0
        self._waiting: queue.Queue[Ended] = queue.Queue(_MOST_WAITING)

    @hookimpl
    def on_dag_run_success(self, dag_run: Any, msg: str) -> None:
        """Take in that a run is over, and Airflow content."""
        self._hear(end_of_dag_run(dag_run.dag_id, dag_run.run_id, "success"))

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any, msg: str) -> None:
        """Take in that a run failed, or was marked so."""
        self._hear(end_of_dag_run(dag_run.dag_id, dag_run.run_id, "failed", msg))

    def wait(self) -> None:
        """Wait until all that was heard is in the ledger."""
        self._waiting.join()

    def _hear(self, ended: Ended) -> None:
        with self._lock:
            if self._process != os.getpid():  # a thread does not live on in a forked process
                self._process, self._waiting = os.getpid(), queue.Queue(_MOST_WAITING)
                threading.Thread(target=self._write, args=(self._waiting,), name="flowctx-endings", daemon=True).start()
        try:
            self._waiting.put_nowait(ended)
        except queue.Full:
            logger.warning("the end of run %s is not recorded: the ledger does not answer", ended.run_id)

    @staticmethod
    def _write(waiting: queue.Queue[Ended]) -> None:
        while True:
            record_end(waiting.get())
            waiting.task_done()


#: The one listener of a process.
LISTENER: Final = RunListener()
