"""What each kind of Dagster's contexts says of the run that it is about."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final
from uuid import uuid4

import dagster as dg

from flowctx.core.batches.bulk import BULK, RUN_SLICE
from flowctx.core.errors import ContextError
from flowctx.dagster._compat import (
    BaseDirectExecutionContext,
    CheckError,
    direct_run_tags,
    hook_step_context,
    instance_id,
    schedule_name,
)
from flowctx.dagster.partitions import check_range
from flowctx.dagster.run_facts import RunFacts
from flowctx.dagster.run_time import schedule_tick, zone_of
from flowctx.dagster.tags import PARTITION_TAG, RANGE_TAGS, root_of, runs_before, tags_of

_ENGINE: Final[dict[str, Any]] = {"name": "dagster", "version": dg.__version__}
_RUN_RETRY_TAG = "dagster/retry_number"


def run_facts(context: Any) -> RunFacts:
    """Read what Dagster says of a run from any kind of context.

    Raises:
        ContextError: It is no context of Dagster's, or it is about a range of which an end is no partition.
        UnknownPartition: The same, of a scheme's keys.
    """
    if isinstance(context, dg.ScheduleEvaluationContext | dg.SensorEvaluationContext):
        return _of_tick(context)
    if isinstance(context, dg.RunStatusSensorContext):
        return _of_run_status(context)
    if isinstance(context, dg.HookContext):
        return _of_hook(context)
    op = getattr(context, "op_execution_context", None)
    if not isinstance(op, dg.OpExecutionContext):
        raise ContextError(
            f"{type(context).__name__} is no context of a Dagster op, asset, asset check, hook, schedule or sensor; "
            "pass the `context` of the decorated function"
        )
    return _of_direct(op) if isinstance(op, BaseDirectExecutionContext) else _of_op(op)


def _of_op(op: dg.OpExecutionContext) -> RunFacts:
    run = op.run
    _check_no_slice(run)
    step = op.get_step_execution_context()
    root = root_of(run, op.instance)
    tags = tags_of(run, root)
    assets = op.assets_def.keys if op.has_assets_def else ()
    own = op.assets_def.partitions_def if op.has_assets_def else None  # the run's may be an equal one
    engine: dict[str, Any] = _ENGINE | {
        "job_name": run.job_name,
        "step_key": step.step.key,
        "retry_number": int(run.tags.get(_RUN_RETRY_TAG, 0)) + op.retry_number,
    }
    if (instance := instance_id(op.instance)) is not None:
        engine["instance"] = instance
    if run.root_run_id:
        engine |= {"root_run_id": run.root_run_id, "parent_run_id": run.parent_run_id}
    return RunFacts(
        run_id=run.run_id,
        name="/".join(next(iter(assets)).path) if len(assets) == 1 else op.op_def.name if assets else run.job_name,
        tags=tags,
        config=op.op_config if isinstance(op.op_config, Mapping) else {},
        root=root,
        runs_before=partial(runs_before, run, op.instance),
        keys=_keys(op, tags),
        partitions_def=own or step.run_partitions_def,
        **schedule_tick(tags, _repository(op))._asdict(),
        started_at=_started(op.instance, run.run_id),
        log=op.log,
        engine=engine,
    )


def run_keys(op: dg.OpExecutionContext) -> tuple[str, ...]:
    """Return Dagster's partition keys of a run: one, those of a range, or none.

    Raises:
        ContextError: An end of the range is no partition, or nothing lies in it; or it is a re-execution that has lost
            the partition of the assets that it makes.
    """
    return _keys(op, tags_of(op.run, root_of(op.run, op.instance)))


def _keys(op: dg.OpExecutionContext, tags: Mapping[str, str]) -> tuple[str, ...]:
    # One key is not asked for as a list: Dagster would enumerate all of a multi-partitioned definition for it.
    definition = op.get_step_execution_context().run_partitions_def
    if op.has_partition_key:
        return (_with_dimensions(op.partition_key, tags, definition),)
    if not op.has_partition_key_range:
        return _lost_keys(op, tags, definition)
    check_range(op.partition_key_range, definition)
    keys = tuple(op.partition_keys)
    if not keys:
        raise ContextError(
            f"no partition lies in the range {op.partition_key_range}: Dagster ranges follow the order in which the "
            "values of each dimension were defined; give both ends in that order"
        )
    return keys


def _lost_keys(
    op: dg.OpExecutionContext, tags: Mapping[str, str], definition: dg.PartitionsDefinition[Any] | None
) -> tuple[str, ...]:
    """Return the key of a re-execution that has lost it; nothing helps assets, which Dagster would record for none."""
    key, (first, last) = tags.get(PARTITION_TAG), (tags.get(tag) for tag in RANGE_TAGS)
    if key is None and first is None:
        return ()
    partitioned = op.has_assets_def and op.assets_def.partitions_def is not None
    checks_alone = op.selected_asset_check_keys and not op.selected_asset_keys
    if key is not None and (checks_alone or not partitioned):
        return (_with_dimensions(key, tags, definition),)
    if op.has_assets_def and not partitioned:
        return ()
    lost = f"partition {key}" if key is not None else f"partitions {first} to {last}"
    wanted = PARTITION_TAG if key is not None else " and ".join(RANGE_TAGS)
    raise ContextError(
        f"run {op.run.run_id} is executed again without the {lost} of run {op.run.root_run_id}, and Dagster does not "
        f"know what it is about; execute it again with the run's tags: {wanted}"
    )


@lru_cache(maxsize=1)
def _started(instance: dg.DagsterInstance, run_id: str) -> datetime | None:
    """Return when a run started; asked once by all steps that share a process."""
    record = instance.get_run_record_by_id(run_id)
    if record is None or record.start_time is None:
        return None
    return datetime.fromtimestamp(record.start_time, UTC)


def _repository(context: Any) -> dg.RepositoryDefinition | None:
    """Return the code location that a run is of, if it is of any."""
    try:
        found: dg.RepositoryDefinition | None = context.repository_def
    except CheckError:
        return None
    return found


def _of_direct(op: Any) -> RunFacts:
    """Read a context of ``build_asset_context`` or ``build_op_context``, which has tags and a key but no run."""
    assets_def = op.assets_def if op.is_bound and op.has_assets_def else None
    assets = assets_def.keys if assets_def else ()
    config = op.op_config
    keys: tuple[str, ...] = ()
    definition = assets_def.partitions_def if assets_def else None
    if op.has_partition_key:
        keys = (_with_dimensions(op.partition_key, {}, definition),)
    elif op.has_partition_key_range:
        check_range(op.partition_key_range, definition)
        keys = tuple(op.partition_keys)
    return RunFacts(
        run_id=op.run_id,
        name="/".join(next(iter(assets)).path) if len(assets) == 1 else op.op_def.name if op.is_bound else op.run_id,
        tags=direct_run_tags(op),
        config=config if isinstance(config, Mapping) else {},
        keys=keys,
        partitions_def=definition,
        engine=_ENGINE | {"direct": True},
        bare=assets_def is None,
    )


def _of_tick(context: dg.ScheduleEvaluationContext | dg.SensorEvaluationContext) -> RunFacts:
    if isinstance(context, dg.SensorEvaluationContext):
        name = _asked(context, "sensor_name") or "sensor"  # one of build_sensor_context() has none
        return RunFacts(run_id=f"{name}/{uuid4()}", name=name, engine=_ENGINE | {"tick": "sensor"})
    name = schedule_name(context) or "schedule"
    fired_at = _asked(context, "scheduled_execution_time")
    return RunFacts(
        run_id=f"{name}/{fired_at.isoformat() if fired_at else uuid4()}",
        name=name,
        timezone=zone_of(fired_at) if fired_at else None,
        fired_at=fired_at,
        engine=_ENGINE | {"tick": "schedule"},
    )


def _asked(context: Any, name: str) -> Any:
    """Return what a context says, or None where a unit test has made it without."""
    try:
        return getattr(context, name)
    except (CheckError, dg.DagsterError):
        return None


def _of_hook(context: dg.HookContext) -> RunFacts:
    """Read the context of a hook, which is that of the op after which it is called."""
    step = hook_step_context(context)
    if step is not None:
        return _of_op(dg.OpExecutionContext(step))
    run_id, job_name = _asked(context, "run_id") or "EPHEMERAL", _asked(context, "job_name")
    return RunFacts(run_id=run_id, name=job_name or run_id, engine=_ENGINE | {"direct": True}, bare=True)


def _of_run_status(context: dg.RunStatusSensorContext) -> RunFacts:
    """Read the run that a run status sensor is told of, as that run itself is read."""
    run, instance = context.dagster_run, context.instance
    _check_no_slice(run)
    repository = _repository(context)
    job = repository.get_job(run.job_name) if repository is not None and repository.has_job(run.job_name) else None
    definition = job.partitions_def or _of_assets(run, repository) if job is not None else None
    root = root_of(run, instance)
    tags = tags_of(run, root)
    first, last = (tags.get(tag) for tag in RANGE_TAGS)
    if first != last:
        raise ContextError(
            f"run {run.run_id} is about the partitions {first} to {last}; use workflow_contexts(context) in its assets"
        )
    key = tags.get(PARTITION_TAG) or first or context.partition_key
    return RunFacts(
        run_id=run.run_id,
        name=run.job_name,
        tags=tags,
        root=root,
        runs_before=partial(runs_before, run, instance),
        keys=() if key is None else (_with_dimensions(key, tags, definition),),
        partitions_def=definition,
        **schedule_tick(tags, repository)._asdict(),
        started_at=_started(instance, run.run_id),
        log=context.log,
        engine=_ENGINE | {"job_name": run.job_name},
        bare=job is None,
    )


def _check_no_slice(run: dg.DagsterRun) -> None:
    """Refuse a run of a bulk job: it is about many partitions, of which each has a context of its own.

    Raises:
        ContextError: It is one.
    """
    op = (run.run_config.get("ops") or {}).get(RUN_SLICE) or {}
    batch_id = ((op.get("config") or {}).get(BULK) or {}).get("batch_id")
    if batch_id is not None:
        raise ContextError(
            f"run {run.run_id} does a slice of batch {batch_id!r}, of which each partition is a run of its own in the "
            f"ledger: flowctx status {shlex.quote(batch_id)}; leave out job {run.job_name!r} here"
        )


def _of_assets(run: dg.DagsterRun, repository: dg.RepositoryDefinition | None) -> dg.PartitionsDefinition[Any] | None:
    """Return the definition of the partitions of a run's assets, if they have one; their job is of any assets."""
    if repository is None:
        return None
    known = repository.asset_graph.get_all_asset_keys()
    found = [repository.asset_graph.get(key).partitions_def for key in run.asset_selection or () if key in known]
    return next((definition for definition in found if definition is not None), None)


def _with_dimensions(key: str, tags: Mapping[str, str], definition: dg.PartitionsDefinition[Any] | None) -> str:
    """Return a key of a run's tags with its dimensions, which Dagster has only where tags say them.

    Raises:
        ContextError: The definition has other dimensions.
    """
    if isinstance(key, dg.MultiPartitionKey):
        return key
    if isinstance(definition, dg.MultiPartitionsDefinition):
        names = [dimension.name for dimension in definition.partitions_defs]
        if len(key.split("|")) != len(names):
            raise ContextError(
                f"the run's partition {key!r} has not the dimensions {'|'.join(names)}; give it a value of each"
            )
        return definition.get_partition_key_from_str(key)
    dimensions = {
        name.removeprefix(f"{PARTITION_TAG}/"): value
        for name, value in tags.items()
        if name.startswith(f"{PARTITION_TAG}/")
    }
    return dg.MultiPartitionKey(dimensions) if dimensions else key
