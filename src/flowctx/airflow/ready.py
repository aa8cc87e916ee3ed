"""Runs that begin when their inputs are there: a DAG beside the workflow's own, which starts each of them once.

It is always under way and holds no worker: its one task waits in the triggerer, where the ledger is asked which
partitions are ready. What it starts has an id that is made of the partition, so that Airflow takes it once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from airflow.sdk import DAG, BaseOperator, Context
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.partitions import id_text
from flowctx.airflow.planned_runs import Count, DagRuns, instant_of_key, start_run, together
from flowctx.airflow.recording import ledger
from flowctx.airflow.run_order import bound_of, read_date
from flowctx.core.dates.cadence import Cadence
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.readiness import FIRST, Readiness, Ready
from flowctx.core.errors import ContextError, EngineError, PartitionError, WorkflowError, error_text
from flowctx.core.hashing import sha256
from flowctx.core.printable import amount
from flowctx.core.workflow.definition import Workflow

logger = logging.getLogger("flowctx")

#: How often the ledger is asked.
POLL_SECONDS: Final = 10.0
#: For how long one task asks: it keeps what the DAG file said when it began, and the next one has what it says then.
TASK_SECONDS: Final = 1800.0
#: After each look it waits so many times as long as that took, if that is longer.
_REST: Final = 9.0
#: So many runs, or somewhat more, are started by one task.
_AT_ONCE: Final = 1000
#: How the id of a run begins that is started instead of one which was skipped for another run.
_AGAIN: Final = "inputs_again__"
#: When Airflow has not started so many in a row, it takes none: it is away, say, or the task may not start any.
_REFUSALS: Final = 10


class InputsSchedule(NamedTuple):
    """What a DAG with ``schedule="inputs"`` was declared with."""

    readiness: Readiness
    #: The first as-of date, or the first instant of the first hour.
    since: date
    on_restatement: str
    #: The last one, if there is one.
    until: date | None = None
    #: The dates of the DAG, as Airflow has them.
    start_date: datetime | None = None
    end_date: datetime | None = None

    def has(self, instant: datetime) -> bool:
        """Whether an instant lies within the dates of the DAG."""
        begun = self.start_date is None or self.start_date <= instant
        return begun and (self.end_date is None or instant <= self.end_date)


def inputs_schedule(
    workflow: Workflow, start_date: datetime | str | None, on_restatement: str, end_date: datetime | str | None = None
) -> InputsSchedule:
    """Return the schedule of a workflow whose partitions run when their inputs are there.

    Raises:
        WorkflowError: It has no dates, reads nothing, or does not say from when on.
    """
    shown = f"schedule='inputs' of workflow {workflow.name!r}"
    readiness = Readiness.checked(workflow, shown, on_restatement)
    if start_date is None:
        raise WorkflowError(f"{shown} runs what is ready from start_date= on, and there is none; pass it")
    assert readiness.scheme.cadence is not None  # noqa: S101 - that was checked
    cadence, first, last = readiness.scheme.cadence, read_date(start_date), end_date and read_date(end_date)
    until = _date_of(cadence, last) if last else None
    return InputsSchedule(readiness, _date_of(cadence, first), on_restatement, until, first, last or None)


def _date_of(cadence: Cadence, bound: datetime) -> date:
    """Return the as-of date, or the instant of the hour, that a date of the DAG's means; see ``PartitionTimetable``."""
    found = bound_of(cadence, bound, [bound.tzinfo])
    if not isinstance(found, datetime):
        return found
    return found.astimezone(cadence.zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)


def add_starter(dag: DAG, schedule: InputsSchedule) -> DAG:
    """Add the DAG that starts the runs of another one."""
    with DAG(
        dag_id=f"{dag.dag_id}__inputs",
        description=f"Starts runs of {dag.dag_id} when their inputs are in the ledger",
        schedule="@continuous",
        start_date=datetime(2020, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=sorted(dag.tags),
    ) as starter:
        StartReady(task_id="start", target=dag.dag_id, schedule=schedule)
    return starter


class StartReady(BaseOperator):
    """Waits without a worker until partitions are ready, and starts their runs.

    Args:
        target: The DAG whose runs are started.
        schedule: Which partitions are ready.
        **kwargs: As for any operator.
    """

    def __init__(self, *, target: str, schedule: InputsSchedule, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target, self.schedule = target, schedule

    def execute(self, context: Context) -> None:
        """Wait.

        Raises:
            ContextError: There is no ledger.
            TaskDeferred: Airflow takes it.
        """
        if ledger() is None:
            raise ContextError(
                "which inputs are there is known to the ledger, and there is none; set FLOWCTX_LEDGER_URL"
            )
        schedule = self.schedule
        trigger = ReadyTrigger(
            target=self.target,
            readiness=schedule.readiness.to_dict(),
            since=schedule.since.isoformat(),
            on_restatement=schedule.on_restatement,
            poll_seconds=POLL_SECONDS,
            until=schedule.until.isoformat() if schedule.until else None,
        )
        self.defer(trigger=trigger, method_name="start")

    def start(self, context: Context, event: Mapping[str, Any]) -> list[str]:
        """Start the runs that Airflow does not have yet, and return their ids.

        Raises:
            EngineError: Some are not started; the others are, unless Airflow refuses many in a row.
        """
        from airflow.sdk.exceptions import AirflowRuntimeError

        started, refused, in_a_row, left = [], [], 0, len(event["runs"])
        for run_id, text in event["runs"].items():
            try:
                if start_run(self.target, run_id, self._conf(run_id, text), self._logical_date(context, text)):
                    started.append(run_id)
                in_a_row = 0
            except AirflowRuntimeError as exc:
                refused.append(f"{run_id} ({error_text(exc)})")
                in_a_row += 1
            except PartitionError as exc:  # the DAG file has it no more
                refused.append(f"{run_id} ({error_text(exc)})")
            left -= 1
            if in_a_row == _REFUSALS:
                break
        logger.info("started %d runs of DAG %s: %s", len(started), self.target, ", ".join(started) or "none")
        if refused:
            untried = f"; not tried: {amount(left, 'run')}" if left else ""
            raise EngineError(f"Airflow does not start these runs of DAG {self.target}: {', '.join(refused)}{untried}")
        return started

    def _conf(self, run_id: str, text: str) -> dict[str, str]:
        """Return the configuration of a run; of what was not captured, what is captured while it waits stays."""
        readiness = self.schedule.readiness
        first = run_id_of(readiness, Ready(readiness.scheme.parse(text), FIRST))
        waits = run_id == first or run_id.startswith(_AGAIN)
        return {"partition": text, **({"on_captured": "skip"} if waits else {})}

    def _logical_date(self, context: Context, text: str) -> datetime | None:
        """Return the logical date of a run, which tells its partition before Airflow 3.2.

        There is none where a run has it, and none outside of the DAG's dates: Airflow would give the run no task, and
        call it a success.
        """
        instant = None
        if not AIRFLOW.able("partitioned runs"):
            instant = instant_of_key(self.schedule.readiness.scheme, text)
        if instant is not None and not self.schedule.has(instant):
            return None
        if instant is not None and DagRuns(self.target, (), (instant,)).count(context["ti"].get_dr_count):
            return None
        return instant


class ReadyTrigger(BaseTrigger):
    """Fires when partitions are ready of which Airflow has no run yet, or with none after half an hour.

    Args:
        target: The DAG whose runs are to be started.
        readiness: What its partitions need, as JSON.
        since: The first as-of date, or the first instant of the first hour.
        on_restatement: ``"ignore"``, or ``"run"``: also what was captured before one of its inputs.
        poll_seconds: How often the ledger is asked; first after such a time.
        until: The last one, if there is one.
    """

    def __init__(
        self,
        target: str,
        readiness: dict[str, Any],
        since: str,
        on_restatement: str,
        poll_seconds: float,
        until: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.arguments = {
            "target": target,
            "readiness": readiness,
            "since": since,
            "on_restatement": on_restatement,
            "poll_seconds": poll_seconds,
            **({"until": until} if until else {}),
        }
        self.target, self.since, self.poll_seconds = target, _read(since), poll_seconds
        self.until = _read(until) if until else None
        self.restated = on_restatement == "run"

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return where the class is, and its arguments."""
        return f"{__name__}.{type(self).__name__}", self.arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; what does not answer is asked again."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        readiness = Readiness.from_dict(self.arguments["readiness"])  # type: ignore[arg-type]
        new: dict[str, str] = {}
        ends_at, took = time.monotonic() + TASK_SECONDS, 0.0
        while not new and time.monotonic() < ends_at:
            await asyncio.sleep(max(self.poll_seconds, _REST * took))
            asked_at = time.monotonic()
            try:
                found = await sync_to_async(ledger)()
                runs = {} if found is None else await asyncio.to_thread(self._ready, readiness, found)
                new = await sync_to_async(self._new)(runs, RuntimeTaskInstance.get_dr_count)
                took = time.monotonic() - asked_at
            except Exception as exc:  # noqa: BLE001  # a ledger or an API server that restarts must not end it
                logger.warning("it is not known which inputs are there: %s", error_text(exc))
        yield TriggerEvent({"runs": new})  # type: ignore[no-untyped-call]

    def _ready(self, readiness: Readiness, ledger: Ledger) -> dict[str, str]:
        """Return the run ids and the texts of partitions that are ready."""
        ready = readiness.ready(ledger, datetime.now(UTC), self.since, restated=self.restated)
        scheme, until = readiness.scheme, self.until
        due = (one for one in ready if until is None or readiness.place(one.key, until) <= until)
        found: dict[str, str] = {}
        for one in due:
            run_id = run_id_of(readiness, one)
            found[run_id] = scheme.text(one.key)
            if (again := _run_id_again(readiness, one, run_id)) is not None:
                found[again] = found[run_id]
        return found

    def _new(self, runs: Mapping[str, str], ask: Count) -> dict[str, str]:
        """Return those that Airflow does not have, as many as one task starts.

        Instead of a run that it has as a success, and the ledger does not have at all, another one is started: it was
        skipped for a run that was at its partition, and has not made it.
        """
        again = [run_id for run_id in runs if run_id.startswith(_AGAIN)]
        firsts = tuple(run_id for run_id in runs if not run_id.startswith(_AGAIN))
        new: list[str] = []
        for some in together([DagRuns(self.target, firsts)]):
            new += _missing(some, ask)
            if len(new) >= _AT_ONCE:
                break
        of_text = {runs[run_id]: run_id for run_id in firsts} if again else {}
        for run_id in again:
            was_skipped = DagRuns(self.target, (of_text[runs[run_id]],)).count(ask, "success")
            if was_skipped and not DagRuns(self.target, (run_id,)).count(ask):
                new.append(run_id)
        return {run_id: runs[run_id] for run_id in new}


def _read(bound: str) -> date:
    """Read a date, or an instant."""
    return datetime.fromisoformat(bound) if "T" in bound else date.fromisoformat(bound)


def _missing(runs: DagRuns, ask: Count) -> list[str]:
    """Return the ids of those runs that Airflow does not have; mostly it has all or none, which one question tells."""
    ids = runs.run_ids
    there = runs.count(ask)
    if there == 0 or there >= len(ids):
        return [] if there else list(ids)
    halves = (ids[: len(ids) // 2], ids[len(ids) // 2 :])
    return [run_id for half in halves for run_id in _missing(DagRuns(runs.dag_id, half), ask)]


def run_id_of(readiness: Readiness, ready: Ready) -> str:
    """Return the id of a run: the same whenever it is made for the same occasion."""
    digest = sha256(f"{readiness.workflow}\0{ready.key}\0{ready.occasion}")[:8]
    return f"inputs__{id_text(readiness.scheme.text(ready.key))}__{digest}"


def _run_id_again(readiness: Readiness, ready: Ready, first: str) -> str | None:
    """Return the id of a run instead of the first one, if that never began and another run has failed since."""
    if ready.occasion != FIRST or not ready.runs or first in ready.runs or ready.runs[-1].startswith(_AGAIN):
        return None
    return f"{_AGAIN}{id_text(readiness.scheme.text(ready.key))}__{sha256(first + chr(0) + ready.runs[-1])[:8]}"
