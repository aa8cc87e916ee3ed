"""All of Dagster's that is not its public interface: one place to look when Dagster changes (seen with 1.13.27)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any

import dagster as dg
from dagster._check import CheckError
from dagster._core.definitions.partitions.mapping import UpstreamPartitionsResult
from dagster._core.definitions.partitions.mapping.multi.base import DimensionDependency
from dagster._core.definitions.partitions.subset import PartitionsSubset
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.execution.context.invocation import BaseDirectExecutionContext
from dagster._utils.schedules import schedule_execution_time_iterator
from dagster._utils.warnings import disable_dagster_warnings

__all__ = [
    "NO_ASSET_EVENTS",
    "SCHEDULED_TIME_TAG",
    "BaseDirectExecutionContext",
    "CheckError",
    "DimensionDependency",
    "PartitionsSubset",
    "UnresolvedAssetJobDefinition",
    "UpstreamPartitionsResult",
    "asset_keys_by_op",
    "direct_run_tags",
    "hook_step_context",
    "quiet",
    "schedule_name",
    "step_context",
    "ticks_from",
]

#: Metadata of an output for which Dagster makes no events of assets: it would call all partitions of a range
#: materialised, those too that were skipped.
NO_ASSET_EVENTS = SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

#: Hidden tag with the time for which a schedule or sensor launched the run, ISO 8601.
SCHEDULED_TIME_TAG = ".dagster/scheduled_execution_time"


def quiet() -> AbstractContextManager[Any]:
    """Return a block in which Dagster does not warn that what we use of it is in beta."""
    return disable_dagster_warnings()


def asset_keys_by_op(op: dg.OpExecutionContext) -> dict[str, dg.AssetKey]:
    """Return the keys of the assets of a run, and of its code location, by the names of their ops."""
    graphs = [op.job_def.asset_layer.asset_graph]
    with suppress(CheckError):  # a run of materialize() or execute_in_process() is of no code location
        graphs.insert(0, op.repository_def.asset_graph)
    found = {str(graph.get(key).assets_def.op.name): key for graph in graphs for key in graph.executable_asset_keys}
    # Of a check that runs alone, and before Dagster 1.12 of a run that continues another one, it is not there.
    own = next(iter([*op.assets_def.keys, *(check.asset_key for check in op.assets_def.check_keys)]), None)
    return found if own is None else {**found, op.op_def.name: own}


def direct_run_tags(op: Any) -> Mapping[str, str]:
    """Return the ``run_tags=`` of a context made by ``build_asset_context``, whose ``run`` cannot be asked."""
    tags: Mapping[str, str] = op._run_tags
    return tags


def schedule_name(context: dg.ScheduleEvaluationContext) -> str | None:
    """Return the name of the schedule whose tick this is."""
    return context._schedule_name


def ticks_from(schedule: dg.ScheduleDefinition, tick: datetime) -> Iterator[datetime]:
    """Yield the ticks of a schedule from one on."""
    return schedule_execution_time_iterator(tick.timestamp(), schedule.cron_schedule, schedule.execution_timezone)


def hook_step_context(context: dg.HookContext) -> Any:
    """Return what a hook's context knows of the step; None for one of ``build_hook_context``."""
    return getattr(context, "_step_execution_context", None)


def step_context(context: dg.InputContext | dg.OutputContext) -> Any:
    """Return what an IO manager's context knows of the step; None outside of a run."""
    return getattr(context, "_step_context", None)
