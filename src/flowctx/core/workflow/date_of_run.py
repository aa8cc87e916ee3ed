"""The business date of a run: its partition's, where that has one; no rule, caller or clock says another."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Final

from flowctx.core.errors import CalendarError, ContextError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.business_date import AsOf, AsOfResult, RunTiming, date_of_partition, dates_in_partition

_DEFAULT_RULE: Final = AsOf.default()


def date_of_run(
    partition: PartitionKey | None = None,
    scheme: PartitionScheme | None = None,
    *,
    time: RunTiming | None = None,
    as_of: AsOf | None = None,
    as_of_date: date | None = None,
) -> AsOfResult:
    """Return the business date of a run, and which fact it came from.

    The cadence of a scheme dates its partitions: a rule, and the caller, may say the same date and no other. Without a
    cadence, what the partition says counts before the time of the run, and the caller may not contradict it.

    Args:
        partition: The partition of the run.
        scheme: Its scheme.
        time: What the engine knows of the time of the run.
        as_of: The rule; :meth:`AsOf.default() <flowctx.AsOf.default>` by default.
        as_of_date: The date that the caller gives.

    Raises:
        ContextError: The caller, or the rule, gives another date than the partition has.
        CalendarError: As for :meth:`AsOf.resolve() <flowctx.AsOf.resolve>`.

    Example:
        >>> from datetime import UTC, datetime
        >>> tick = RunTiming(fired_at=datetime(2026, 11, 27, tzinfo=UTC))
        >>> date_of_run(PartitionKey(date="2026-01-05"), time=tick, as_of=AsOf.last_session("WEEKDAYS"))[:2]
        (datetime.date(2026, 1, 5), 'partition.date+last_session:WEEKDAYS')
    """
    if partition is not None and scheme is not None and scheme.cadence is not None:
        return _of_cadence(partition, scheme, as_of, as_of_date)
    if as_of_date is None and as_of is None and time is None:
        return date_of_partition(partition, scheme) or _DEFAULT_RULE.resolve(RunTiming())
    time = time or RunTiming(partition=partition, scheme=scheme)
    of_partition = (
        replace(time, fired_at=None) if time.window_of_partition else RunTiming(partition=partition, scheme=scheme)
    )
    if as_of_date is not None:
        if partition is not None:
            _refuse_other(as_of_date, partition, of_partition, as_of)
        return AsOfResult(as_of_date, "caller", as_of.check(as_of_date) if as_of is not None else None)
    rule = as_of or _DEFAULT_RULE
    found = rule.resolve(of_partition) if partition is not None else None
    return found if found is not None and found.date is not None else rule.resolve(time)


def says_date(partition: PartitionKey, scheme: PartitionScheme | None, time: RunTiming | None = None) -> bool:
    """Tell whether a partition says what its runs are about: its cadence, a dimension, or its window.

    Example:
        >>> says_date(PartitionKey(date="2026-01-05"), None), says_date(PartitionKey(region="EMEA"), None)
        (True, False)
    """
    if scheme is not None and scheme.cadence is not None:
        return True
    return bool(dates_in_partition(partition)) or (time is not None and time.window_of_partition)


def day_beside(
    partition: PartitionKey, scheme: PartitionScheme | None, day: date | None, time: RunTiming | None = None
) -> str | None:
    """Return the business date of a run, where its partition does not say it.

    Example:
        >>> day_beside(PartitionKey(region="EMEA"), None, date(2026, 1, 9))
        '2026-01-09'
        >>> day_beside(PartitionKey(traded="2026-01-09"), None, date(2026, 1, 9))
    """
    if day is None or says_date(partition, scheme, time) or day.isoformat() in partition.values():
        return None
    return day.isoformat()


def _of_cadence(
    partition: PartitionKey, scheme: PartitionScheme, as_of: AsOf | None, as_of_date: date | None
) -> AsOfResult:
    """Return the date that a cadence gives to a partition, after a look at who says another one."""
    day = scheme.as_of_date(partition)
    if as_of_date is not None and as_of_date != day:
        raise ContextError(_other(as_of_date, partition, str(day)))
    ruled = None if as_of is None else as_of.resolve(RunTiming(partition=partition, scheme=scheme)).date
    if ruled is not None and ruled != day:
        raise ContextError(
            f"the rule {as_of!r} gives {ruled}, which is not the business date of partition {partition}: by its "
            f"scheme that is {day}; leave the rule out (as_of=AsOf.default()), or change the cadence of the scheme"
        )
    return AsOfResult(day, "caller" if as_of_date is not None else f"partition.{scheme.cadence_dimension}")


def _refuse_other(as_of_date: date, partition: PartitionKey, of_partition: RunTiming, as_of: AsOf | None) -> None:
    """Refuse a date of the caller's that is none of a partition's: in no dimension, in no window, and by no rule."""
    days = list(dates_in_partition(partition).values())
    with suppress(CalendarError):  # of two dates the caller says which
        ruled = (as_of or _DEFAULT_RULE).resolve(of_partition).date
        days = ([] if ruled is None else [ruled]) + (days if as_of is not None else [])
    if of_partition.window is not None:
        first, last = of_partition.window.start.date(), AsOf.window_end().resolve(of_partition).date or as_of_date
        if first <= as_of_date <= last:
            return
        days = days or [first]
    if days and as_of_date not in days:
        raise ContextError(_other(as_of_date, partition, " or ".join(dict.fromkeys(map(str, days)))))


def _other(as_of_date: date, partition: PartitionKey, day: str) -> str:
    return f"as_of_date={as_of_date} is not the business date of partition {partition}, which is {day}; pass one"
