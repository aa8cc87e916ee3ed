"""What Dagster says of a run, and the workflow's context that is made of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import dagster as dg

from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.taken_over import TakenOver, is_recorded, taken_over
from flowctx.core.errors import ContextError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.business_date import AsOf, RunTiming
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.date_of_run import date_of_run, day_beside, says_date
from flowctx.core.workflow.dates_of_runs import DatesOfRuns
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_context import begin, capture_id_of, derived_trace_id, occasion_of
from flowctx.core.workflow.run_request import RESERVED_NAMES, TAG_PREFIX, RunRequest, read_value
from flowctx.core.workflow.step_config import step_config_of
from flowctx.dagster.partitions import check_scheme, from_dagster_key, scheme_of
from flowctx.dagster.run_time import check_bare_key, check_one_of_time, time_dimension, window_of
from flowctx.dagster.tags import BACKFILL_TAG, RunBefore, check_tags

logger = logging.getLogger("flowctx")
_DATES = DatesOfRuns()


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What Dagster says of a run, of whichever kind of context it was asked."""

    #: The run's id, or of a tick one made of it.
    run_id: str
    #: What runs: an asset's key, else the job, schedule or sensor.
    name: str
    #: The run's tags, with what a re-execution has lost of Dagster's.
    tags: Mapping[str, str] = field(default_factory=dict)
    #: Configuration of the op.
    config: Mapping[str, Any] = field(default_factory=dict)
    #: The first run of a chain of re-executions, if this one is not the first.
    root: dg.DagsterRun | None = None
    #: Asks for the runs that this one executes again, the last first.
    runs_before: Callable[[], Iterable[RunBefore]] = tuple
    #: The context of the run that this one continues, where somebody asked.
    continued: WorkflowContext | None = None
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

    def tag(self, name: str) -> str | None:
        """Return the value of one of our tags, with or without its prefix: this run's, else the re-executed one's.

        A tag that is there and empty is a value, too: nobody means it, and it is refused.
        """
        places = (self.tags, self.root.tags if self.root else {})
        values = (tags.get(spelling) for tags in places for spelling in (TAG_PREFIX + name, name))
        return next((value for value in values if value is not None), None)

    def request(self, params: Mapping[str, Any]) -> RunRequest:
        """Return what the caller says of the run, in tags or beside its parameters.

        Raises:
            ContextError: Something that cannot be.
        """
        return RunRequest.parse(lambda name: self._value_of(name, params))

    def _value_of(self, name: str, params: Mapping[str, Any]) -> Any:
        """Return what is said of the run under a name, in a tag of it or beside its parameters."""
        spellings = (TAG_PREFIX + name, name)
        found = {f"its tag {tag}": value for tag in spellings if (value := self.tags.get(tag)) is not None}
        if params.get(name) is not None:
            found["its configuration"] = params[name]
        read = [read_value(name, value) for value in found.values()]
        if any(value != read[0] for value in read):
            places = " and ".join(f"{place} says {value!r}" for place, value in found.items())
            raise ContextError(f"the run has two values of {name}: {places}; say it once")
        return next(iter(found.values())) if found else self.tag(name)

    @property
    def batch_id(self) -> str | None:
        """The caller's batch, else Dagster's own backfill."""
        return self.tag("batch_id") or self.tags.get(BACKFILL_TAG)

    @property
    def first_run_id(self) -> str:
        """The run from which the ids derive: a re-execution continues the run that it started from."""
        return self.root.run_id if self.root else self.run_id

    @property
    def captures_named(self) -> str:
        """What the ids of captures end with."""
        if self.continued is not None:
            return str(self.continued.capture_id).rpartition("|")[2]
        return self.batch_id or self.first_run_id

    def keys_of(self, workflow: Workflow | None) -> tuple[str | None, ...]:
        """Return the keys for which a workflow has a context: one without partitions may sit in a partitioned run.

        Raises:
            ContextError: It is no workflow.
        """
        if workflow is not None and not isinstance(workflow, Workflow):
            raise ContextError(f"workflow={workflow!r} is no workflow; pass what Workflow(...) returned")
        if workflow is not None and workflow.partitions is None:
            return (None,)
        return self.keys or (None,)

    def context(
        self,
        key: str | None,
        *,
        as_of: AsOf | None = None,
        required: bool = False,
        workflow: Workflow | None = None,
        scheme: PartitionScheme | None = None,
        params: Mapping[str, Any] | None = None,
        ledger: RunLedger | None = None,
    ) -> WorkflowContext:
        """Make the context for one of the run's keys.

        Args:
            key: Dagster's key, one of :meth:`keys_of` the workflow.
            as_of: The rule for the business date.
            required: Refuse a run without one.
            workflow: The workflow.
            scheme: The scheme, where there is no workflow; by default the one that the definition was made of.
            params: Parameters, and what the caller says of the run; the op's config, parameters alone, if None.
            ledger: Where to ask what a run of the workflow takes over of the one that it continues; a step that is
                recorded in the run asks itself.
        """
        check_tags(self.tags, self.log, strict=params is not None)
        request = self.request(params or {})
        self._check_own(request)
        own_params = dict(self.config)
        if params is not None:
            own_params = {name: value for name, value in params.items() if name not in RESERVED_NAMES}
        if workflow is not None:
            scheme = workflow.partitions
        elif scheme is not None:
            check_scheme(scheme, "scheme=")
        else:
            scheme = scheme_of(self.partitions_def)
        partition = self._partition(key, scheme, request)
        if workflow is not None and key is None and "tick" not in self.engine:
            partition = workflow.partition_key(partition)
        before = self._taken_over(ledger, workflow, partition, request, own_params)
        if before is not None:
            request = before.request(request, of_workflow=True)
        batch_id = request.batch_id or self.batch_id
        if scheme is None:
            check_one_of_time(key, self.partitions_def, as_of, request.as_of_date)
            if self.bare:
                check_bare_key(key, as_of, request.as_of_date)
        known = own_params if request.resume_from else ()  # what steps have written is known to the ledger
        if workflow is not None:
            own_params = dict(workflow.params_with(own_params, known=known))
        if before is not None:
            own_params = {**before.context.params, **{name: own_params[name] for name in self.config}}
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
            params=own_params,
            metadata={
                "engine": self.engine,
                **step_config_of(workflow, request.step_config),
                **(before.metadata if before is not None else {}),
            },
            started_at=self.started_at,
        )
        if request.as_of_date is None and before is None and not self.engine.get("direct"):
            self._warn_of_other_date(ctx)
        return ctx if before is None else before.seen(ctx)

    def _taken_over(
        self,
        ledger: RunLedger | None,
        workflow: Workflow | None,
        partition: PartitionKey | None,
        request: RunRequest,
        params: Mapping[str, Any],
    ) -> TakenOver | None:
        """Return what the run takes over of the one that it continues, if it does, and a ledger is asked."""
        if ledger is None or workflow is None or request.resume_from is None:
            return None
        before = (run.run_id for run in self.runs_before())  # a re-execution inherits the tag
        recorded = (run_id for run_id in before if is_recorded(ledger, workflow, run_id, partition))
        request = replace(request, resume_from=next(recorded, request.resume_from))
        return taken_over(ledger, workflow, self.run_id, partition, request, params=params, new_params=params)

    def capture(self, key: str | None, scheme: PartitionScheme | None) -> tuple[PartitionKey | None, str]:
        """Return the partition that one of the run's keys means, and the id of its capture, by no rule for dates.

        Without a partition that says one, the date is in the id: that which the run was given first in this process.

        Args:
            key: Dagster's key.
            scheme: The scheme that its definition was made of, if it was made of one.
        """
        check_tags(self.tags, self.log, strict=False)
        request = self.request({})
        self._check_own(request)
        partition = self._partition(key, scheme, request)
        time = self.time(key, partition, scheme)
        before, occasion = self.continued, None
        if partition is None or not says_date(partition, scheme, time):
            if before is not None and before.partition == partition:
                return partition, request.capture_id or str(before.capture_id)
            known = _DATES.first((self.run_id, str(partition))) if request.as_of_date is None else None
            day = known[0] if known else date_of_run(partition, scheme, time=time, as_of_date=request.as_of_date).date
            if partition is None:
                batch_id = before.batch_id if before is not None else request.batch_id or self.batch_id
                occasion = occasion_of(day, None if request.as_of_date is not None else time)
                occasion = occasion or (self.first_run_id if batch_id else None)
            else:
                occasion = day_beside(partition, scheme, day, time)
        return partition, request.capture_id or capture_id_of(partition, scheme, self.captures_named, occasion)

    def _partition(self, key: str | None, scheme: PartitionScheme | None, request: RunRequest) -> PartitionKey | None:
        """Return the partition that a key means, or without one the caller's word."""
        named = request.partition_key(scheme)
        if key is None:
            return named
        partition = self.partition(key, scheme)
        if named is not None and named != partition:
            raise ContextError(
                f"the run's partition is {partition}, and {TAG_PREFIX}partition says {str(request.partition)!r}; "
                "they must mean the same: leave the tag out"
            )
        return partition

    def _check_own(self, request: RunRequest) -> None:
        """Refuse what can be of one partition only in a run of several."""
        for name in ("capture_id", "idempotency_key"):
            value = getattr(request, name)
            if value is not None and len(self.keys) > 1:
                raise ContextError(
                    f"{name} is {value!r}, and the run is about {len(self.keys)} partitions, {self.keys[0]} to "
                    f"{self.keys[-1]}; each has its own: leave it out, or run one partition at a time"
                )

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
        window = window_of(*found) if found else None
        return RunTiming(
            timezone=found[1].timezone if found else self.timezone,
            no_timezone=f"the schedule of run {self.run_id!r} is not known here, nor its time zone",
            window_start=window.start if window else None,
            window_end=window.end if window else None,
            fired_at=self.fired_at if partition is None or scheme is None else None,
            within_day=self.within_day,
            window_of_partition=window is not None,
            partition=partition,
            scheme=scheme,
        )
