"""The workflow's context inside any op, asset, asset check, schedule or sensor."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import uuid4

import dagster as dg

from flowctx.core.errors import ContextError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.business_date import AsOf, RunTiming
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.dates_of_runs import DatesOfRuns
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_context import begin, derived_trace_id
from flowctx.core.workflow.run_request import RESERVED_NAMES, TAG_PREFIX, RunRequest
from flowctx.core.workflow.step_config import step_config_of
from flowctx.dagster._compat import BaseDirectExecutionContext, direct_run_tags, schedule_name
from flowctx.dagster.partitions import from_dagster_key
from flowctx.dagster.run_time import check_bare_key, check_one_of_time, schedule_tick, time_dimension, zone_of
from flowctx.dagster.tags import check_tags

logger = logging.getLogger("flowctx")
_DATES = DatesOfRuns()

_BACKFILL_TAG = "dagster/backfill"
_RUN_RETRY_TAG = "dagster/retry_number"
_PARTITION_TAG = "dagster/partition"

RunContext: TypeAlias = dg.AssetExecutionContext | dg.OpExecutionContext | dg.AssetCheckExecutionContext
AnyContext: TypeAlias = RunContext | dg.ScheduleEvaluationContext | dg.SensorEvaluationContext


def workflow_context(
    context: AnyContext,
    as_of: AsOf | None = None,
    *,
    required: bool = False,
    workflow: Workflow | None = None,
    scheme: PartitionScheme | None = None,
) -> WorkflowContext:
    """Return the workflow's context of what runs now.

    Args:
        context: The context of an op, asset, asset check, schedule or sensor, or one of ``build_asset_context``.
        as_of: The rule for the business date, where the run tag ``flowctx/as_of_date`` does not say it; by default
            that of the partition, else of its window, else of the schedule's tick (:meth:`flowctx.AsOf.default`).
        required: Refuse a run that has no business date; otherwise its ``as_of_date`` is None.
        workflow: The workflow that the run belongs to: gives its name, its scheme and the defaults of its parameters.
        scheme: The scheme that the partitions were made of, where there is no workflow.

    Returns:
        The run's ids, partition, business date and parameters (the op's config). The run tags ``flowctx/batch_id``,
        ``flowctx/trace_id``, ``flowctx/as_of_date``, ``flowctx/capture_id``, ``flowctx/idempotency_key`` (with or
        without the prefix) are the caller's word; a re-executed run keeps the ids of the run that it started from.

    Raises:
        ContextError: The run is about several partitions (see :func:`workflow_contexts`), or about none and the
            workflow needs one, a tag is no date, there is no business date although it is required, or the partition
            has two dimensions of time and no rule says which is the date.
        CalendarError: The date depends on a time zone that is not known; the message names the rule.
        UnknownPartition: The scheme does not have the run's partition.

    Example:
        ::

            @dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-01-01"))
            def prices(context: dg.AssetExecutionContext) -> None:
                ctx = workflow_context(context, AsOf.last_session("XNYS"))
                load(ctx.as_of_date, capture=ctx.capture_id)
    """
    facts = RunFacts.of(context)
    if len(facts.keys) > 1:
        raise ContextError(
            f"this run is about {len(facts.keys)} partitions, {facts.keys[0]} to {facts.keys[-1]}; use "
            "workflow_contexts(context), which has one context for each, or a backfill policy of one run a partition"
        )
    key = next(iter(facts.keys), None)
    return facts.context(key, as_of=as_of, required=required, workflow=workflow, scheme=scheme)


def workflow_contexts(
    context: RunContext,
    as_of: AsOf | None = None,
    *,
    required: bool = False,
    workflow: Workflow | None = None,
    scheme: PartitionScheme | None = None,
) -> list[WorkflowContext]:
    """Return the contexts of a run that may be about several partitions, one for each, in their order.

    Args:
        context: The context of an op, asset or asset check.
        as_of: As for :func:`workflow_context`.
        required: As for :func:`workflow_context`.
        workflow: As for :func:`workflow_context`.
        scheme: As for :func:`workflow_context`.

    Returns:
        As many as the run has partitions; one for a run without.

    Raises:
        ContextError: The keys are a range with nothing in it, or as for :func:`workflow_context`.

    Example:
        ::

            @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
            def prices(context: dg.AssetExecutionContext) -> None:
                for ctx in workflow_contexts(context):
                    load(ctx.as_of_date)
    """
    facts = RunFacts.of(context)
    return [
        facts.context(key, as_of=as_of, required=required, workflow=workflow, scheme=scheme)
        for key in facts.keys or (None,)
    ]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What Dagster says of a run, of whichever kind of context it was asked."""

    #: The run's id, or of a tick one made of it.
    run_id: str
    #: What runs: an asset's key, else the job, schedule or sensor.
    name: str
    #: The run's tags.
    tags: Mapping[str, str] = field(default_factory=dict)
    #: Configuration of the op.
    config: Mapping[str, Any] = field(default_factory=dict)
    #: The first run of a chain of re-executions, if this one is not the first.
    root: dg.DagsterRun | None = None
    #: Dagster's partition keys: one, those of a range, or none.
    keys: tuple[str, ...] = ()
    #: The definition that the keys are of.
    partitions_def: dg.PartitionsDefinition[str] | None = None
    #: Time zone of the schedule; None if it is not known.
    timezone: str | None = "UTC"
    #: The time for which a schedule fired, and whether it does so several times a day.
    fired_at: datetime | None = None
    within_day: bool = False
    #: When the run started, where that is known.
    started_at: datetime | None = None
    #: Where the run's own log is.
    log: logging.Logger = logger
    #: Whether nobody says what a key is a key of: the context of an op, or of nothing, in a unit test.
    bare: bool = False
    #: For ``metadata["engine"]``.
    engine: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, context: Any) -> RunFacts:
        """Read them from any kind of context.

        Raises:
            ContextError: It is no context of Dagster's.
        """
        if isinstance(context, dg.ScheduleEvaluationContext | dg.SensorEvaluationContext):
            return _of_tick(context)
        op = getattr(context, "op_execution_context", None)
        if not isinstance(op, dg.OpExecutionContext):
            raise ContextError(
                f"{type(context).__name__} is no context of a Dagster op, asset, asset check, schedule or sensor; "
                "pass the `context` of the decorated function"
            )
        return _of_direct(op) if isinstance(op, BaseDirectExecutionContext) else _of_op(op)

    def tag(self, name: str) -> str | None:
        """Return the value of one of our tags, with or without its prefix: this run's, else the re-executed one's."""
        for tags in (self.tags, self.root.tags if self.root else {}):
            value = tags.get(TAG_PREFIX + name) or tags.get(name)
            if value:
                return value
        return None

    def request(self, params: Mapping[str, Any]) -> RunRequest:
        """Return what the caller says of the run, in tags or beside its parameters.

        Raises:
            ContextError: Something that cannot be.
        """
        return RunRequest.parse(lambda name: self.tag(name) or params.get(name))

    @property
    def batch_id(self) -> str | None:
        """The caller's batch, else Dagster's own backfill."""
        root = self.root.tags.get(_BACKFILL_TAG) if self.root else None
        return self.tag("batch_id") or self.tags.get(_BACKFILL_TAG) or root

    @property
    def first_run_id(self) -> str:
        """The run from which the ids derive: a re-execution continues the run that it started from."""
        return self.root.run_id if self.root else self.run_id

    def context(
        self,
        key: str | None,
        *,
        as_of: AsOf | None = None,
        required: bool = False,
        workflow: Workflow | None = None,
        scheme: PartitionScheme | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> WorkflowContext:
        """Make the context for one of the run's keys.

        Args:
            key: Dagster's key.
            as_of: The rule for the business date.
            required: Refuse a run without one.
            workflow: The workflow.
            scheme: The scheme, where there is no workflow.
            params: Parameters, and what the caller says of the run; the op's config, parameters alone, if None.
        """
        check_tags(self.tags, self.log, strict=params is not None)
        request = self.request(params or {})
        own_params = dict(self.config)
        if params is not None:
            own_params = {name: value for name, value in params.items() if name not in RESERVED_NAMES}
        if workflow is not None:
            scheme = workflow.partitions
            key = key if scheme is not None else None  # an unpartitioned asset may sit in a partitioned run
        partition = request.partition_key(scheme) if key is None else self.partition(key, scheme)
        if key is not None and request.partition is not None and request.partition_key(scheme) != partition:
            raise ContextError(
                f"the run's partition is {partition}, and {TAG_PREFIX}partition says {str(request.partition)!r}; "
                "they must mean the same: leave the tag out"
            )
        if workflow is not None and key is None and "tick" not in self.engine:
            partition = workflow.partition_key(partition)
        batch_id = request.batch_id or self.batch_id
        if request.as_of_date is None and scheme is None:
            check_one_of_time(key, self.partitions_def, as_of)
            if self.bare:
                check_bare_key(key, as_of)
        known = own_params if request.resume_from else ()  # what steps have written is known to the ledger
        ctx = begin(
            workflow.name if workflow is not None else self.name,
            run_id=self.run_id,
            scheme=scheme,
            partition=partition,
            as_of_date=request.as_of_date,
            as_of=as_of,
            required=required,
            time=self.time(key, partition, scheme),
            batch_id=batch_id,
            trace_id=request.trace_id or derived_trace_id(self.first_run_id),
            capture_id=request.capture_id,
            first_run_id=self.first_run_id,
            idempotency_key=request.idempotency_key,
            params=own_params if workflow is None else workflow.params_with(own_params, known=known),
            metadata={"engine": self.engine} | step_config_of(workflow, request.step_config),
            started_at=self.started_at,
        )
        if request.as_of_date is None and not self.engine.get("direct"):
            self._warn_of_other_date(ctx)
        return ctx

    def _warn_of_other_date(self, ctx: WorkflowContext) -> None:
        run = (self.run_id, str(ctx.partition))
        differing = _DATES.differing(run, ctx.as_of_date, ctx.metadata["as_of_source"])
        if differing is not None:
            which = f"partition {ctx.partition} of run {self.run_id}" if ctx.partition else f"run {self.run_id}"
            self.log.warning(
                f"{which} has two business dates, {differing}; say the rule once for all assets of the code location, "
                "in a WorkflowContextResource(as_of=...)"
            )

    def partition(self, key: str, scheme: PartitionScheme | None) -> PartitionKey:
        """Return the partition key that Dagster's key means."""
        if scheme is not None:
            return from_dagster_key(key, scheme)
        if isinstance(key, dg.MultiPartitionKey):
            return PartitionKey(**key.keys_by_dimension)
        is_time = isinstance(self.partitions_def, dg.TimeWindowPartitionsDefinition)
        return PartitionKey(**{"date" if is_time else "partition": str(key)})

    def time(self, key: str | None, partition: PartitionKey | None, scheme: PartitionScheme | None) -> RunTiming:
        """Return what Dagster knows of the time of a key, for the rules of business dates."""
        found = None if scheme is not None else time_dimension(key, self.partitions_def)
        window = found[1].time_window_for_partition_key(found[0]) if found else None
        return RunTiming(
            timezone=found[1].timezone if found else self.timezone,
            no_timezone=f"the schedule of run {self.run_id!r} is not known here, nor its time zone",
            window_start=window.start if window else None,
            window_end=window.end if window else None,
            fired_at=self.fired_at if partition is None or scheme is None else None,
            within_day=self.within_day,
            partition=partition,
            scheme=scheme,
        )


def _of_op(op: dg.OpExecutionContext) -> RunFacts:
    run = op.run
    step = op.get_step_execution_context()
    root = op.instance.get_run_by_id(run.root_run_id) if run.root_run_id else None
    assets = op.assets_def.keys if op.has_assets_def else ()
    engine: dict[str, Any] = {
        "name": "dagster",
        "version": dg.__version__,
        "job_name": run.job_name,
        "step_key": step.step.key,
        "retry_number": int(run.tags.get(_RUN_RETRY_TAG, 0)) + op.retry_number,
    }
    if run.root_run_id:
        engine |= {"root_run_id": run.root_run_id, "parent_run_id": run.parent_run_id}
    return RunFacts(
        run_id=run.run_id,
        name="/".join(next(iter(assets)).path) if len(assets) == 1 else op.op_def.name if assets else run.job_name,
        tags=run.tags,
        config=op.op_config if isinstance(op.op_config, Mapping) else {},
        root=root,
        keys=_engine_keys(op) or _lost_key(op, root),
        partitions_def=step.run_partitions_def,
        **schedule_tick(op)._asdict(),
        started_at=_started(op.instance, run.run_id),
        log=op.log,
        engine=engine,
    )


def _engine_keys(op: dg.OpExecutionContext) -> tuple[str, ...]:
    # One key is not asked for as a list: Dagster would enumerate all of a multi-partitioned definition for it.
    if op.has_partition_key:
        return (op.partition_key,)
    if not op.has_partition_key_range:
        return ()
    keys = tuple(op.partition_keys)
    if not keys:
        raise ContextError(
            f"no partition lies in the range {op.partition_key_range}: Dagster ranges follow the order in which the "
            "values of each dimension were defined; give both ends in that order"
        )
    return keys


def _lost_key(op: dg.OpExecutionContext, root: dg.DagsterRun | None) -> tuple[str, ...]:
    """Return the key of a re-executed job of ops: ``ReexecutionOptions`` in Python drops its tag with all others.

    Assets cannot be helped, since Dagster itself then has no partition to record them for.
    """
    key = root.tags.get(_PARTITION_TAG) if root is not None and not op.has_assets_def else None
    return (key,) if key else ()


@lru_cache(maxsize=1)
def _started(instance: dg.DagsterInstance, run_id: str) -> datetime | None:
    """Return when a run started; asked once by all steps that share a process."""
    record = instance.get_run_record_by_id(run_id)
    if record is None or record.start_time is None:
        return None
    return datetime.fromtimestamp(record.start_time, UTC)


def _of_direct(op: Any) -> RunFacts:
    """Read a context of ``build_asset_context`` or ``build_op_context``, which has tags and a key but no run."""
    bound = op.is_bound
    assets_def = op.assets_def if bound and op.has_assets_def else None
    config = op.op_config
    keys: tuple[str, ...] = ()
    if op.has_partition_key:
        keys = (op.partition_key,)
    elif op.has_partition_key_range:
        keys = tuple(op.partition_keys)
    return RunFacts(
        run_id=op.run_id,
        name="/".join(assets_def.key.path) if assets_def else op.op_def.name if bound else op.run_id,
        tags=direct_run_tags(op),
        config=config if isinstance(config, Mapping) else {},
        keys=keys,
        partitions_def=assets_def.partitions_def if assets_def else None,
        engine={"name": "dagster", "version": dg.__version__, "direct": True},
        bare=assets_def is None,
    )


def _of_tick(context: dg.ScheduleEvaluationContext | dg.SensorEvaluationContext) -> RunFacts:
    engine = {"name": "dagster", "version": dg.__version__}
    if isinstance(context, dg.SensorEvaluationContext):
        name = context.sensor_name
        return RunFacts(run_id=f"{name}/{uuid4()}", name=name, engine=engine | {"tick": "sensor"})
    name = schedule_name(context) or "schedule"
    fired_at = context.scheduled_execution_time
    return RunFacts(
        run_id=f"{name}/{fired_at.isoformat()}",
        name=name,
        timezone=zone_of(fired_at),
        fired_at=fired_at,
        engine=engine | {"tick": "schedule"},
    )
