"""All of Dagster's that is not its public interface: one place to look when Dagster changes (seen with 1.13.27)."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._check import CheckError
from dagster._core.definitions.partitions.mapping import UpstreamPartitionsResult
from dagster._core.definitions.partitions.mapping.multi.base import DimensionDependency
from dagster._core.definitions.partitions.subset import PartitionsSubset
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import DagsterEvent
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.context.invocation import BaseDirectExecutionContext
from dagster._core.storage.event_log import EventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.sqlalchemy_compat import db_select
from dagster._core.storage.tags import RUN_KEY_TAG, SENSOR_NAME_TAG
from dagster._utils.schedules import schedule_execution_time_iterator
from dagster._utils.warnings import disable_dagster_warnings

# What is passed on as it is.
__all__ = [
    "BaseDirectExecutionContext",
    "CheckError",
    "DimensionDependency",
    "PartitionsSubset",
    "UnresolvedAssetJobDefinition",
    "UpstreamPartitionsResult",
]

#: Metadata of an output for which Dagster makes no events of assets: it would call all partitions of a range
#: materialised, those too that were skipped.
NO_ASSET_EVENTS = SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

_ENTRY: Any = EventLogEntry  # its constructor has no types

#: Hidden tag with the time for which a schedule or sensor launched the run, ISO 8601.
SCHEDULED_TIME_TAG = ".dagster/scheduled_execution_time"


def quiet() -> AbstractContextManager[Any]:
    """Return a block in which Dagster does not warn that what we use of it is in beta."""
    return disable_dagster_warnings()


class SharedSensor(dg.SensorDefinition):
    """A sensor that several definitions have: it stays one object where ``load_from_defs_folder`` copies each.

    Such a copy says in its metadata which file it is of; this one is of none, and has no jobs.
    """

    def with_attributes(self, **_: Any) -> dg.SensorDefinition:
        """Return itself: Dagster refuses two sensors of one name."""
        return self


def asset_keys_by_op(op: dg.OpExecutionContext) -> dict[str, dg.AssetKey]:
    """Return the keys of the assets of a run, and of its code location, by the names of their ops."""
    graphs = [op.job_def.asset_layer.asset_graph]
    with suppress(CheckError):  # a run of materialize() or execute_in_process() is of no code location
        graphs.insert(0, op.repository_def.asset_graph)
    found = {name: key for graph in graphs for name, key in _keys_by_op(graph).items()}
    # Of a check that runs alone, and before Dagster 1.12 of a run that continues another one, it is not there.
    own = next(iter([*op.assets_def.keys, *(check.asset_key for check in op.assets_def.check_keys)]), None)
    return found if own is None else {**found, op.op_def.name: own}


@lru_cache(maxsize=4)  # a run asks for each of its ops
def _keys_by_op(graph: Any) -> Mapping[str, dg.AssetKey]:
    return {str(graph.get(key).assets_def.node_def.name): key for key in graph.executable_asset_keys}


def direct_run_tags(op: Any) -> Mapping[str, str]:
    """Return the ``run_tags=`` of a context made by ``build_asset_context``, whose ``run`` cannot be asked."""
    tags: Mapping[str, str] = op._run_tags
    return tags


@lru_cache(maxsize=1)  # asked by all steps that share a process
def instance_id(instance: dg.DagsterInstance) -> str | None:
    """Return what names the storage in which an instance keeps its runs, or None where that has no name."""
    storage = instance.run_storage
    return storage.get_run_storage_id() if isinstance(storage, SqlRunStorage) else None


def report_materializations(op: dg.OpExecutionContext, made: Sequence[dg.AssetMaterialization]) -> None:
    """Report that partitions are materialised, in few transactions where ``log_event`` needs several for each event.

    Those of one asset are written together, the assets one after the other, and then told to whoever listens to the
    run, as a step launcher does. An event log that has no way of its own to write many gets them one by one, except for
    Dagster's on SQLite; once that has a way of its own, it is used.
    """
    instance = op.instance
    step, storage = _Unlogged(op._step_execution_context), instance.event_log_storage
    by_asset: dict[dg.AssetKey, list[Any]] = defaultdict(list)
    for one in made:
        by_asset[one.asset_key].append(step.entry(op.run_id, one))
    own = type(storage).store_event_batch is EventLogStorage.store_event_batch
    for events in by_asset.values():
        if own and isinstance(storage, SqliteEventLogStorage):
            _store_in_sqlite(storage, events)
        else:
            storage.store_event_batch(events)
        for listener in instance._subscribers.get(op.run_id, ()):
            for event in events:
                listener(event)


class _Unlogged:
    """A step as an event is made of it that is not logged at once."""

    def __init__(self, context: Any) -> None:
        self.job_name, self.step, self.event_tags, self.log = context.job_name, context.step, context.event_tags, self

    def log_dagster_event(self, **_: Any) -> None:
        """Do nothing."""

    def entry(self, run_id: str, materialization: dg.AssetMaterialization) -> Any:
        """Return a materialisation as the event log takes it."""
        context: Any = self
        event = DagsterEvent.asset_materialization(context, materialization)
        return _ENTRY(
            error_info=None,
            level=logging.DEBUG,
            user_message=event.message or "",
            run_id=run_id,
            timestamp=time.time(),
            step_key=event.step_key,
            job_name=self.job_name,
            dagster_event=event,
        )


def _store_in_sqlite(storage: SqliteEventLogStorage, events: Sequence[EventLogEntry]) -> None:
    """Write events of one asset as ``store_event`` writes each: to the run's file, and then to that of all assets."""
    table, run_id = SqlEventLogStorageTable, events[0].run_id
    rows = [storage._event_to_row(event) for event in events]
    with storage.run_connection(run_id) as at:
        at.execute(table.insert(), rows)
    latest = db_select([table.c.id]).where(table.c.run_id == run_id).order_by(table.c.id.desc()).limit(len(rows))
    with storage.index_connection() as at:
        at.execute(table.insert(), rows)
        ids = [row[0] for row in at.execute(latest)][::-1]  # nobody else writes before this is committed
    storage.store_asset_event(events[-1], ids[-1])
    storage.store_asset_event_tags(events, ids)


def schedule_name(context: dg.ScheduleEvaluationContext) -> str | None:
    """Return the name of the schedule whose tick this is."""
    return context._schedule_name


def requested_before(
    context: dg.SensorEvaluationContext, sensor: str, run_keys: list[str]
) -> dict[str, list[dg.DagsterRun]]:
    """Return the runs that a sensor has requested, by those of some keys for which Dagster would make no other one."""
    wanted = dg.RunsFilter(tags={RUN_KEY_TAG: run_keys, SENSOR_NAME_TAG: sensor})
    try:
        runs = context.instance.get_runs(filters=wanted)
    except dg.DagsterInvariantViolationError:  # a unit test that has no instance
        return {}
    begun = [run for run in runs if run.status is not dg.DagsterRunStatus.NOT_STARTED]
    location = context.code_location_origin
    here = None if location is None else (location.location_name, context.repository_name)
    found: dict[str, list[dg.DagsterRun]] = {}
    for run in begun:
        if here is None or _repository_of(run) in (None, here):
            found.setdefault(run.tags[RUN_KEY_TAG], []).append(run)
    return found


def was_requested(context: dg.SensorEvaluationContext, sensor: str, run_id: str) -> bool:
    """Return whether a run is one that a sensor has requested."""
    run = context.instance.get_run_by_id(run_id)
    return run is not None and run.tags.get(SENSOR_NAME_TAG) == sensor


def _repository_of(run: dg.DagsterRun) -> tuple[str, str] | None:
    """Return the code location and the repository that a run is of, if it says so."""
    if run.remote_job_origin is None:
        return None
    repository = run.remote_job_origin.repository_origin.get_selector()
    return repository.location_name, repository.repository_name


def ticks_from(schedule: dg.ScheduleDefinition, tick: datetime) -> Iterator[datetime]:
    """Yield the ticks of a schedule from one on."""
    return schedule_execution_time_iterator(tick.timestamp(), schedule.cron_schedule, schedule.execution_timezone)


def hook_step_context(context: dg.HookContext) -> Any:
    """Return what a hook's context knows of the step; None for one of ``build_hook_context``."""
    return getattr(context, "_step_execution_context", None)


def step_context(context: dg.InputContext | dg.OutputContext) -> Any:
    """Return what an IO manager's context knows of the step; None outside of a run."""
    return getattr(context, "_step_context", None)
