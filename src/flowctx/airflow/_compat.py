"""All that is used of Airflow beyond its public interface: the place to look when Airflow changes (seen with 3.3.2)."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from airflow.sdk.bases.decorator import get_unique_task_id as unique_task_id
from airflow.sdk.bases.decorator import task_decorator_factory
from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.log import mask_secret

from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.api_versions import speak_to_one_client
from flowctx.core.data.encoding import to_json
from flowctx.core.errors import ContextError
from flowctx.core.interrupts import sigterm_put_back

if TYPE_CHECKING or AIRFLOW.able("settings in the SDK"):
    from airflow.sdk import conf, exceptions
else:
    from airflow import exceptions
    from airflow.configuration import conf

if TYPE_CHECKING or AIRFLOW.able("time zones in the SDK"):
    from airflow.sdk import timezone
    from airflow.sdk._shared.secrets_masker import should_hide_value_for_key
else:
    from airflow.sdk.execution_time.secrets_masker import should_hide_value_for_key
    from airflow.utils import timezone

if AIRFLOW.able("retry policies"):
    from airflow.sdk import RetryDecision
    from airflow.sdk import RetryPolicy as AirflowRetryPolicy
else:
    RetryDecision = AirflowRetryPolicy = object  # type: ignore[misc, assignment]

# What is passed on as it is.
__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowRetryPolicy",
    "AirflowSkipException",
    "MappedOperator",
    "ParamsDict",
    "RetryDecision",
    "conf",
    "task_decorator_factory",
    "unique_task_id",
]

AirflowException = exceptions.AirflowException
AirflowFailException = exceptions.AirflowFailException
AirflowSkipException = exceptions.AirflowSkipException

#: Exceptions by which code in a task talks to Airflow; they are no failures of a step.
#: (``TaskDeferred`` is no subclass of ``Exception`` and passes through by itself; the task timeout is the step's.)
ENGINE_EXCEPTIONS: tuple[type[BaseException], ...] = (
    AirflowSkipException,
    exceptions.AirflowRescheduleException,
    exceptions.DagRunTriggerException,
    exceptions.DownstreamTasksSkipped,
)

#: Exceptions by which code in a task fails and is not tried again, whatever its retries.
FINAL_FAILURES: tuple[type[BaseException], ...] = (AirflowFailException, exceptions.AirflowSensorTimeout)

RETURN_VALUE = "return_value"  # key of the XCom that holds what a task returned

DELETED = "deleted"  # what :func:`dag_run_state` says of a run that Airflow does not have, or no longer
_NOT_FOUND = 404
_BUNDLE = "dags-folder"  # the one that Airflow has by default
_CLIENT: list[Any] = [None, None]  # the DAG that runs, and by what its tasks talk to Airflow, where each would make it


class TemplateValue(ResolveMixin):
    """A value of a template field that is made when the task is rendered, on mapped tasks too."""

    def iter_references(self) -> Iterator[Any]:
        """It refers to no other task."""
        return iter(())

    def __str__(self) -> str:
        # What stands in the stored DAG, whose hash must not change from one parse to the next.
        return "set when the task runs"


def scheduled_interval(dag: Any, logical_date: datetime) -> tuple[datetime, datetime] | None:
    """Return the data interval of the scheduled run with this logical date, or None if the schedule has none."""
    from airflow.timetables.base import TimeRestriction

    earliest = timezone.coerce_datetime(logical_date)
    within = TimeRestriction(earliest=earliest, latest=None, catchup=True)
    core = core_timetable(dag)
    interval = None
    while interval is None or interval.start < earliest:  # a trigger's first interval ends at its first tick
        info = core.next_dagrun_info(last_automated_data_interval=interval, restriction=within)
        if info is None or info.data_interval is None or (interval and info.data_interval.start <= interval.start):
            return None
        interval = info.data_interval
    return (interval.start, interval.end) if interval.start == earliest else None


def next_ticks(dag: Any, after: datetime) -> Iterator[datetime]:
    """Yield four ticks of a DAG's schedule after an instant, or of listed events those around it.

    Nothing, where the timetable cannot be asked in a worker: a user's own that is registered nowhere or cannot say.
    """
    listed = getattr(dag.timetable, "event_dates", None)
    if listed is not None:  # those of the SDK cannot say in a worker what comes next (seen with 3.3.2)
        yield from sorted(event for event in listed if abs(event - after) < timedelta(days=1))
        return
    try:
        yield from itertools.islice(_ticks_after(dag, after), 4)
    except (NotImplementedError, ValueError):  # ValueError: TimetableNotRegistered
        return


def _ticks_after(dag: Any, after: datetime) -> Iterator[datetime]:
    from airflow.timetables.base import DataInterval, TimeRestriction

    core = core_timetable(dag)
    unbounded = TimeRestriction(earliest=None, latest=None, catchup=True)
    last = timezone.coerce_datetime(after)
    while True:
        info = core.next_dagrun_info(last_automated_data_interval=DataInterval.exact(last), restriction=unbounded)
        if info is None or info.logical_date is None or info.logical_date <= last:
            return
        yield (last := info.logical_date)


def run_type_of(run: Any) -> str:
    """Return how a run began, such as ``backfill``: Airflow has it as text or as an enumeration."""
    return str(getattr(run.run_type, "value", run.run_type))


def dag_run_state(ti: Any, dag_id: str, run_id: str) -> str | None:
    """Return the state of a run of any DAG, ``DELETED`` if Airflow has no such run, or None if it cannot say."""
    from airflow.sdk.api.client import ServerResponseError

    try:
        state = ti.get_dagrun_state(dag_id=dag_id, run_id=run_id)
    except AirflowRuntimeError as exc:  # a worker
        return DELETED if (exc.error.detail or {}).get("status_code") == _NOT_FOUND else None
    except ServerResponseError as exc:  # a run in one process, such as that of ``DAG.test()``
        return DELETED if exc.response.status_code == _NOT_FOUND else None
    return str(getattr(state, "value", state))


def plain_sequences(value: Any) -> Any:
    """Return data in which what the instances of a mapped task handed on, which Airflow reads late, are lists."""
    from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

    if isinstance(value, LazyXComSequence):
        return value[:]
    if isinstance(value, dict):
        return {name: plain_sequences(item) for name, item in value.items()}
    return [plain_sequences(item) for item in value] if type(value) in (list, tuple) else value


def hide(params: Mapping[str, Any]) -> None:
    """Make Airflow hide the values of what looks like a secret by its name in the log of this task."""
    if any(should_hide_value_for_key(name) for name in _names(params)):  # type: ignore[no-untyped-call]
        mask_secret(to_json(params))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _names(item)


# --- running a DAG in this process: what ``DAG.test()`` does, whose arguments know neither run id nor partition key ---


def read_settings_again() -> None:
    """Make Airflow use the database that the environment names now; it reads its settings when it is imported."""
    from airflow import settings

    settings.configure_vars()  # type: ignore[no-untyped-call]
    settings.dispose_orm()
    settings.configure_orm()  # type: ignore[no-untyped-call]


def migrate() -> None:
    """Create or migrate the database."""
    from airflow.utils.db import initdb

    initdb()


def server_and_database() -> tuple[str | None, str]:
    """Return which of Airflow's servers has ever run on the database, if one has, and the address of that."""
    from airflow.jobs.job import Job

    with open_session(scoped=False) as session:
        connection = session.connection()
        there = connection.dialect.has_table(connection, Job.__tablename__, schema=Job.metadata.schema)
        server = session.query(Job.job_type).first() if there else None
        return server and server[0], session.get_bind().url.render_as_string(hide_password=True)


def warm_up() -> None:
    """Build the API that tasks talk to; otherwise the first task would seem to take seconds."""
    from airflow.sdk.api.datamodels._generated import API_VERSION
    from airflow.sdk.execution_time import supervisor

    if not AIRFLOW.able("one API server for all tasks") and not hasattr(supervisor.in_process_api_server, "cache_info"):
        supervisor.in_process_api_server = functools.lru_cache(maxsize=1)(supervisor.in_process_api_server)
        if not AIRFLOW.able("one DAG for all tasks"):
            make = functools.partial(_client, supervisor.InProcessTestSupervisor._api_client)
            supervisor.InProcessTestSupervisor._api_client = staticmethod(make)  # type: ignore[method-assign]
    speak_to_one_client(supervisor.in_process_api_server().app, API_VERSION)
    supervisor.InProcessTestSupervisor._api_client().get("health/ping")  # type: ignore[no-untyped-call]


def _client(make: Any, dag: DAG | None = None) -> Any:
    if dag is None or dag is not _CLIENT[0]:
        _CLIENT[:] = dag, make(dag)
    return _CLIENT[1]


def open_session(*, scoped: bool = True) -> Any:
    """Return a context manager for a session of the database: that of the thread, or one of its own."""
    from airflow.utils.session import create_session

    return create_session(scoped=scoped)


def runs_without_partition(dag_id: str) -> list[Any]:
    """Return ids and logical dates of a DAG's automated runs that have no partition key, the latest first."""
    from airflow.models.dagrun import DagRun

    with open_session(scoped=False) as session:  # Airflow may be in the middle of its own
        runs = session.query(DagRun.run_id, DagRun.logical_date).order_by(DagRun.logical_date.desc())
        runs = runs.filter(DagRun.dag_id == dag_id, DagRun.run_type.in_(("scheduled", "backfill")))
        return list(runs.filter(DagRun.partition_key.is_(None), DagRun.logical_date.is_not(None)).limit(1000))


def register(dag: DAG) -> None:
    """Store a DAG in the database, without which no run of it can be made."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    _forget(dag.dag_id)
    if AIRFLOW.able("settings in the SDK"):
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        bag = DagBag(dag_folder=os.devnull, bundle_name=_BUNDLE)
    else:
        from airflow.models import dagbag

        bag: Any = dagbag.DagBag(dag_folder=os.devnull)  # type: ignore[no-redef]
        in_module = hasattr(dagbag, "sync_bag_to_db")  # in 3.0 it is a method
        sync_bag_to_db: Any = dagbag.sync_bag_to_db if in_module else type(bag).sync_to_db  # type: ignore
        dag.relative_fileloc = os.path.basename(dag.fileloc)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, _BUNDLE, None)


def _forget(dag_id: str) -> None:
    """Let another DAG of the same id take the place of one from a moment ago, which Airflow keeps for half a minute."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    with open_session(scoped=False) as session:
        stored = session.query(SerializedDagModel).filter_by(dag_id=dag_id)
        stored.update({"last_updated": datetime.fromtimestamp(0, UTC)})
    _CLIENT[:] = None, None
    # What tasks talk to keeps DAGs too; in Airflow 3.0 it has none of its own, and is given the DAG.
    bag = getattr(in_process_api_server().app.state, "dag_bag", None)
    if bag is not None:
        bag._dags.clear()


def start_run(
    dag: DAG,
    *,
    run_id: str,
    conf: dict[str, Any],
    logical_date: datetime | None,
    partition_key: str | None,
    session: Any,
    run_type: str = "manual",
) -> Any:
    """Create a run of a registered DAG, by default a manual one, in the place of an earlier try of its logical date.

    Raises:
        ContextError: Airflow has such a run, and it was no try.
    """
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    _make_room(dag.dag_id, run_id, logical_date, session)
    now = timezone.utcnow()
    interval = None
    if logical_date is not None:
        interval = core_timetable(dag).infer_manual_data_interval(run_after=timezone.coerce_datetime(logical_date))
    serialization = dag_serialization()  # the DAG as the scheduler reads it, with the defaults of [core]
    stored: Any = serialization.from_dict(serialization.to_dict(dag))
    # Functions are not stored with a DAG; a worker has them from the DAG's file.
    stored.on_success_callback, stored.on_failure_callback = dag.on_success_callback, dag.on_failure_callback
    return stored.create_dagrun(
        run_id=run_id,
        logical_date=logical_date,
        data_interval=interval,
        run_after=now,
        start_date=now,
        conf=conf,
        run_type=DagRunType(run_type),
        state=DagRunState.RUNNING,
        triggered_by=DagRunTriggeredByType.TEST,
        session=session,
        **({"partition_key": partition_key} if AIRFLOW.able("partitioned runs") else {}),
    )


def _make_room(dag_id: str, run_id: str, logical_date: datetime | None, session: Any) -> None:
    """Delete an earlier try of a logical date, as ``DAG.test()`` does; refuse where another run is in the way."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunTriggeredByType

    runs = session.query(DagRun).filter_by(dag_id=dag_id)
    if runs.filter_by(run_id=run_id).one_or_none() is not None:
        raise ContextError(f"DAG {dag_id!r} has a run {run_id!r} already; pass another run_id=, or none")
    earlier = runs.filter_by(logical_date=logical_date).one_or_none() if logical_date is not None else None
    if earlier is None:
        return
    if earlier.triggered_by is not DagRunTriggeredByType.TEST:
        raise ContextError(
            f"DAG {dag_id!r} has a run of the logical date {logical_date} already, {earlier.run_id!r}; pass another "
            "logical_date=, or none"
        )
    session.delete(earlier)
    session.flush()


def core_timetable(dag: DAG) -> Any:
    """Return the scheduler's form of a DAG's timetable."""
    if not AIRFLOW.able("settings in the SDK"):
        return dag.timetable
    from airflow.serialization.encoders import coerce_to_core_timetable

    return coerce_to_core_timetable(dag.timetable)


def dag_serialization() -> Any:
    """Return what writes DAGs down and reads them back."""
    from airflow.serialization import serialized_objects as found

    return getattr(found, "DagSerialization" if hasattr(found, "DagSerialization") else "SerializedDAG")


def run_ready_tasks(dag: DAG, dag_run: Any, session: Any) -> Iterator[tuple[Any, BaseException | None]]:
    """Decide as the scheduler does which tasks are ready, run them, and yield each when it is over, with its error."""
    from airflow.sdk.definitions.dag import _run_task

    session.expire_all()
    ready, _ = dag_run.update_state(session=session)
    for ti in ready:
        if ti.state != "up_for_reschedule":
            ti.try_number += 1
        ti.state = "scheduled"
        ti.scheduled_dttm = timezone.utcnow()
    session.commit()
    for ti in dag_run.get_task_instances(session=session):
        if ti.state == "scheduled":
            ti.task = dag.task_dict[ti.task_id]
            task = {"task": ti.task} if AIRFLOW.able("time zones in the SDK") else {}
            with sigterm_put_back():
                result = _run_task(ti=ti, run_triggerer=True, **task)
            yield ti, None if result is None else result.error


def returned_values(dag_run: Any, session: Any) -> dict[tuple[str, int], Any]:
    """Return what the tasks of a run returned, by task id and map index."""
    from airflow.models.xcom import XComModel
    from airflow.sdk.execution_time.xcom import XCom

    rows = session.query(XComModel).filter_by(dag_id=dag_run.dag_id, run_id=dag_run.run_id, key=RETURN_VALUE)
    return {(row.task_id, row.map_index): XCom.deserialize_value(row) for row in rows}
