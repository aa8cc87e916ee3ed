"""Who a run is: the same rules for its ids, its partition and its business date on every engine."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from flowctx.core.data.no_outputs import NoOutputs
from flowctx.core.data.plain import EMPTY, FrozenDict, JsonDict, freeze
from flowctx.core.dates.calendar import BusinessCalendar
from flowctx.core.dates.moments import Moments
from flowctx.core.errors import ContextError
from flowctx.core.hashing import sha256
from flowctx.core.partitions.key import PartitionKey, escape_value
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.business_date import AsOf, RunTiming
from flowctx.core.workflow.checkpoint import CheckpointState
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.context_dates import dated, dated_by_engine
from flowctx.core.workflow.date_of_run import date_of_run, day_beside
from flowctx.core.workflow.run_request import batch_id_problem

#: So many characters has an id at most: a row of an index of PostgreSQL's holds 2,700 bytes.
_LONGEST_ID = 500
#: The digit that says which kind of UUID it is, by a random one.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
#: Days have 23 hours when clocks go forward.
_DAY = timedelta(hours=23)


def fires_within_day(ticks: Iterable[datetime]) -> bool:
    """Return whether a schedule fires several times a day, given some of its ticks one after the other.

    Example:
        >>> fires_within_day(datetime(2026, 1, 9, hour, tzinfo=UTC) for hour in (9, 17))
        True
    """
    return any(after - before < _DAY for before, after in itertools.pairwise(ticks))


def begin(
    name: str,
    *,
    run_id: str,
    scheme: PartitionScheme | None = None,
    partition: PartitionKey | None = None,
    as_of_date: date | None = None,
    as_of: AsOf | None = None,
    required: bool = False,
    time: RunTiming | None = None,
    batch_id: str | None = None,
    trace_id: str | None = None,
    capture_id: str | None = None,
    first_run_id: str | None = None,
    idempotency_key: str | None = None,
    params: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    started_at: datetime | None = None,
    checkpoint: CheckpointState | None = None,
) -> WorkflowContext:
    """Make the context that the first step of a run sees; what the caller does not give is derived.

    Args:
        name: The workflow's name (the DAG's or job's, where there is no workflow).
        run_id: The engine's own.
        scheme: The partition scheme, if the workflow has one; the partition is checked against it.
        partition: The partition key.
        as_of_date: The business date, if the caller gives one; the partition's must be the same, and a session rule's
            calendar must have it.
        as_of: Otherwise the rule for it, :meth:`AsOf.default() <flowctx.AsOf.default>` by default; the date that a
            cadence gives to the partition must be the same.
        required: Refuse a run that has no business date.
        time: What the engine knows of the run's time, for a rule where the partition says no date.
        batch_id: The batch.
        trace_id: The caller's or the engine's; otherwise :func:`derived_trace_id`.
        capture_id: The caller's; otherwise :func:`capture_id_of`.
        first_run_id: The run that this one executes again, where an engine gives that a new id.
        idempotency_key: The caller's; otherwise :func:`idempotency_key_of`.
        params: Parameters.
        metadata: What the engine says; ``workflow`` (the name), the calendar with its version, ``as_of_source``,
            ``window`` and ``due`` are added.
        started_at: When the run started; now by default.
        checkpoint: How far the run had come.

    Raises:
        UnknownPartition: The scheme does not have the partition.
        ContextError: The date of the partition is not ``as_of_date`` or that of the rule, there is no date although it
            is required, or one of them is of the wrong type; or an id is too long.
    """
    run_metadata = {"workflow": name, **(metadata or {})}
    plain = type(metadata) is JsonDict and name.isidentifier() and name.isascii()  # all of it is JSON as it stands
    first_run_id = first_run_id or run_id
    _check_ids(run_id, capture_id, batch_id)
    if as_of is not None or as_of_date is not None:
        _check_date(as_of, as_of_date)
    started_at = started_at or datetime.now(UTC)
    moments: Moments | None = None
    if scheme is not None and partition is not None:
        moments = scheme.moments(partition, started_at)
    cadence = scheme.cadence if scheme is not None else None
    calendar = cadence.business_calendar if cadence is not None else None
    if "as_of_source" not in run_metadata:  # else what triggered the run has said the date
        if moments is not None and as_of is None and as_of_date is None and scheme is not None:
            as_of_date, run_metadata["as_of_source"] = moments.as_of_date, f"partition.{scheme.cadence_dimension}"
        else:
            found = date_of_run(partition, scheme, time=time, as_of=as_of, as_of_date=as_of_date)
            as_of_date, calendar, plain = found.date, found.calendar or calendar, False
            run_metadata["as_of_source"] = found.source
    if required and as_of_date is None:
        raise ContextError(
            f"run {run_id!r} of {name!r} has no business date: it was started by hand or by an event that says none; "
            "start it with as_of_date (Airflow: in its conf, Dagster: the tag flowctx/as_of_date), with a partition or "
            "with a logical date, or let what triggers it hand on its as_of_date"
        )
    occasion = None  # a cadence says the date of its partitions
    if partition is None:
        occasion = occasion_of(as_of_date, None if run_metadata["as_of_source"] == "caller" else time)
    elif moments is None:
        occasion = day_beside(partition, scheme, as_of_date, time)
    if calendar is not None:
        identity = run_metadata["calendar"] = _identity(calendar)
        plain = plain and type(identity) is JsonDict
    if moments is not None and partition is not None:
        run_metadata |= dated(moments, partition)
    elif scheme is None or partition is None:
        run_metadata |= dated_by_engine(time, partition)
    alone = first_run_id if batch_id and partition is None else None
    day = as_of_date if moments is None or as_of_date is not moments.as_of_date else moments.as_of_text
    return WorkflowContext._of(
        {
            "run_id": run_id,
            "trace_id": trace_id or derived_trace_id(run_id),
            "batch_id": batch_id,
            "started_at": started_at,
            "params": EMPTY if params is None else params,
            "step_outputs": EMPTY,
            "metadata": JsonDict(run_metadata) if plain else freeze(run_metadata, "metadata"),
            "checkpoint": checkpoint,
            "partition": partition,
            "as_of_date": as_of_date,
            "capture_id": capture_id or capture_id_of(partition, scheme, batch_id or first_run_id, occasion or alone),
            "idempotency_key": idempotency_key or idempotency_key_of(name, partition, occasion or day),
        }
    )


def _check_ids(run_id: str, capture_id: str | None, batch_id: object) -> None:
    """Refuse ids that no index of PostgreSQL takes, on any ledger and without one."""
    for name, value in (("run_id", run_id), ("capture_id", capture_id)):
        if isinstance(value, str) and len(value) > _LONGEST_ID:
            raise ContextError(
                f"{name}={value[:40]!r}… has {len(value):,} characters, and at most {_LONGEST_ID} fit; shorten it, or "
                "take a digest of it"
            )
    if batch_id is None or (type(batch_id) is str and _may_be_batch(batch_id)):
        return
    if (problem := batch_id_problem(batch_id)) is not None:
        raise ContextError(problem)


@lru_cache(maxsize=64)  # each run of a batch asks
def _may_be_batch(batch_id: str) -> bool:
    return batch_id_problem(batch_id) is None


def capture_id_of(
    partition: PartitionKey | None, scheme: PartitionScheme | None, batch_or_run: str, occasion: str | None = None
) -> str:
    """Return the partition's values in scheme order, then the batch id or, outside a batch, the run id.

    They are joined by ``|``. Before the last stands ``occasion``, where the partition says no date: it tells runs apart
    that are about different things, and whoever deletes and inserts by the id would else lose what the others wrote.
    A retry or a re-run within a batch thus writes the same capture, and a new batch makes a new one.

    Example:
        >>> capture_id_of(PartitionKey(tier="OTC", date="2026-01-09"), None, "batch-1")
        '2026-01-09|OTC|batch-1'
        >>> capture_id_of(PartitionKey(tier="OTC"), None, "batch-1", "2026-01-09")
        'OTC|2026-01-09|batch-1'
        >>> capture_id_of(None, None, "batch-1", "2026-01-09")
        '2026-01-09|batch-1'
    """
    last = [escape_value(occasion), batch_or_run] if occasion else [batch_or_run]
    if partition is None:
        return "|".join(last)
    values = map(partition._dims.__getitem__, partition if scheme is None else scheme.dimensions)
    escaped = map(escape_value, values) if "%" in partition._text else values  # its text has all escapes
    return "|".join([*escaped, *last])


def occasion_of(as_of_date: date | None, time: RunTiming | None = None) -> str | None:
    """Return what tells a run without a partition from others: its as-of date, else the time that it is about.

    Of an interval shorter than a day, such as an hour, it is the time of its start; of a schedule that fires several
    times a day, the time for which it fired.

    Example:
        >>> occasion_of(date(2026, 1, 9))
        '2026-01-09'
        >>> noon = datetime(2026, 1, 9, 12, tzinfo=UTC)
        >>> occasion_of(date(2026, 1, 9), RunTiming(fired_at=noon, within_day=True))
        '2026-01-09T12:00:00Z'
    """
    time = time or RunTiming()
    start, end = time.window_start, time.window_end
    moment = start or time.fired_at
    instant = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else None
    if time.within_day or (start is not None and end is not None and timedelta(0) < end - start < _DAY):
        return instant
    return as_of_date.isoformat() if as_of_date is not None else instant


def idempotency_key_of(name: str, partition: PartitionKey | None, as_of_date: date | str | None) -> str:
    """Return 32 hexadecimal characters that are equal on every engine for the same workflow, partition and date.

    Args:
        name: The workflow's name.
        partition: The partition key.
        as_of_date: The business date; without a partition, what :func:`occasion_of` makes of it.

    Example:
        >>> len(idempotency_key_of("prices", None, None))
        32
    """
    parts = (name, "" if partition is None else partition._text, str(as_of_date or ""))
    return sha256("\0".join(parts))[:32]


def new_run_id() -> str:
    """Return a random UUID (RFC 9562, version 4) as text: what ``str(uuid4())`` is, in a third of its time.

    Example:
        >>> from uuid import UUID
        >>> UUID(new_run_id()).version
        4
    """
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


@lru_cache(maxsize=64)  # each run asks for that of its calendar
def _identity(calendar: BusinessCalendar) -> FrozenDict:
    identity: FrozenDict = freeze(calendar.identity)
    return identity


def derived_trace_id(run_id: str) -> str:
    """Return the trace id (W3C: 32 hexadecimal characters) on which all steps of a run agree without asking.

    Example:
        >>> derived_trace_id("a run") == derived_trace_id("a run")
        True
    """
    return sha256(f"flowctx trace\0{run_id}")[:32]


def _check_date(as_of: object, as_of_date: object) -> None:
    if as_of is not None and not isinstance(as_of, AsOf):
        raise ContextError(f"as_of={as_of!r} is no rule; pass one such as AsOf.previous_session('XNYS')")
    if as_of_date is not None and (not isinstance(as_of_date, date) or isinstance(as_of_date, datetime)):
        raise ContextError(f"as_of_date={as_of_date!r} is no date; pass a datetime.date")


def beside_steps(ctx: WorkflowContext, instead: str) -> WorkflowContext:
    """Return the context of a run for code that is no step.

    Args:
        ctx: The context.
        instead: How such code gets an output on its engine.

    Example:
        >>> ctx = beside_steps(WorkflowContext.new(), "take the step's task as an argument")
        >>> ctx.get_output("fetch")
        Traceback (most recent call last):
        flowctx.core.errors.MissingKey: no output of step 'fetch' here: workflow_context() has none, as outputs go to \
steps; take the step's task as an argument
    """
    return ctx._with(step_outputs=NoOutputs(instead))
