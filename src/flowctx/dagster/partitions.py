"""A scheme as Dagster's own partitions definition, and keys from one to the other and back.

Dagster names a partition of time by the first day of its window; a scheme names it by its as-of date. For a day
these are the same text, and for a week, month or quarter they are not: the week ending Friday 2012-01-13 is
``2012-01-07`` in Dagster. Dagster takes two dimensions at most, so the static ones are folded into one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias

import dagster as dg

from flowctx.core.dates.cadence import Cadence, Daily, Hourly, Monthly, Quarterly, Weekly, Yearly
from flowctx.core.dates.zones import first_instant, skipped_days
from flowctx.core.errors import ContextError, PartitionError
from flowctx.core.partitions.dagster_keys import (
    FOLD,
    dagster_key_parts,
    fold,
    format_of,
    parse_dagster_key,
    static_dimensions,
    static_values,
)
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.renames import old_names
from flowctx.dagster._compat import CheckError
from flowctx.dagster.cron import cron_of_windows, open_weekdays

#: The definitions that were made here, by their identity, with the schemes that they were made of: equal definitions
#: are made of schemes whose dimensions come in another order.
_SCHEMES: Final[dict[int, tuple[dg.PartitionsDefinition[str], PartitionScheme]]] = {}


#: What an op, an asset or an asset check is given in a run.
RunContext: TypeAlias = dg.AssetExecutionContext | dg.OpExecutionContext | dg.AssetCheckExecutionContext


# -- definitions ------------------------------------------------------------------------------------------------


def partitions_def(scheme: PartitionScheme | None) -> dg.PartitionsDefinition[str] | None:
    """Return Dagster's own partitions definition with the keys and windows of a scheme.

    A cadence becomes a ``TimeWindowPartitionsDefinition`` in its time zone, with closed days (and, under
    ``as_of="last_session"``, periods without a session) as exclusions; a cadence without an end goes as far as its
    calendar is known. What is due on its own day (``due=``) has its partition before its window has ended: Dagster has
    that of the next session as soon as the last one is over, on weekends too.

    Static dimensions become one ``StaticPartitionsDefinition``: several are folded, in the scheme's order, so that
    ``tier`` and ``venue`` become ``tier~venue`` with values such as ``T1~NYSE``. Both together are a
    ``MultiPartitionsDefinition``, whose keys Dagster writes in the order of the dimensions' names.

    Args:
        scheme: The scheme; with None the answer is None.

    Raises:
        PartitionError: It is no scheme.

    Example:
        >>> from flowctx import PartitionScheme, Weekly
        >>> weeks = PartitionScheme(week=Weekly(start="2012-01-13", end="2012-01-20"), tier=["T1"], venue=["N/Y"])
        >>> list(partitions_def(weeks).get_partition_keys())
        ['T1~N%2FY|2012-01-07', 'T1~N%2FY|2012-01-14']
    """
    return None if scheme is None else _partitions_def(check_scheme(scheme, "partitions_def"))


def check_scheme(scheme: object, asked: str) -> PartitionScheme:
    """Return ``scheme`` if it is one.

    Args:
        scheme: What was passed.
        asked: What it was passed to.

    Raises:
        PartitionError: It is none.
    """
    if not isinstance(scheme, PartitionScheme):
        raise PartitionError(
            f"{asked} takes a PartitionScheme, not a {type(scheme).__name__}; that of a workflow is workflow.partitions"
        )
    return scheme


@lru_cache(maxsize=64)
def _partitions_def(scheme: PartitionScheme) -> dg.PartitionsDefinition[str]:
    definition = _definition_of(scheme)
    _SCHEMES[id(definition)] = definition, scheme
    return definition


def _definition_of(scheme: PartitionScheme) -> dg.PartitionsDefinition[str]:
    made: dict[str, dg.PartitionsDefinition[str]] = {}
    if scheme.cadence is not None and scheme.cadence_dimension is not None:
        made[scheme.cadence_dimension] = _time_windows(scheme.cadence)
    static = static_dimensions(scheme)
    if static:
        made[FOLD.join(static)] = dg.StaticPartitionsDefinition(
            [fold(values, static) for values in static_values(scheme)]
        )
    if len(made) == 1:
        return next(iter(made.values()))
    multi: dg.PartitionsDefinition[Any] = dg.MultiPartitionsDefinition(made)  # its keys are texts too
    return multi


def _time_windows(cadence: Cadence) -> dg.TimeWindowPartitionsDefinition:
    ends = _first_and_last(cadence)
    if ends is None:  # no as-of date at all, and Dagster has no other way to say so than to end where it starts
        start = first_instant(cadence.start, cadence.zone)
        end: datetime | None = start
        exclusions: list[str | datetime] = []
    else:
        first, last = ends
        start = cadence.window(first).start
        end = None if last is None else cadence.window(last).end
        closed = _closed_days if isinstance(cadence, Daily | Hourly) else _closed_periods
        exclusions = closed(cadence, first, last)
    return dg.TimeWindowPartitionsDefinition(
        start=start,
        end=end,
        fmt=format_of(cadence),
        timezone=cadence.timezone,
        cron_schedule=cron_of_windows(cadence),
        exclusions=exclusions or None,
        # What is due on its own day is due before its window has ended, and Dagster has no such key otherwise.
        end_offset=0 if cadence.due_at is None else 1,
    )


def _first_and_last(cadence: Cadence) -> tuple[date, date | None] | None:
    """Return the first as-of date and the last one, None if it goes on for ever; or None if there are none."""
    if not cadence.bounded and cadence.known_until is None:
        return cadence[0], None
    count = cadence.known_count(cadence.end or cadence.known_until or cadence.start)
    return (cadence[0], cadence[count - 1]) if count else None


def _closed_days(cadence: Cadence, first: date, last: date | None) -> list[str | datetime]:
    """Return weekdays that are never sessions as a cron expression, and other closed days by their windows' starts."""
    hourly = isinstance(cadence, Hourly)
    weekdays = open_weekdays(cadence)
    closed = sorted((day + 1) % 7 for day in set(range(7)) - weekdays)
    of_weekdays = f"0 {'*' if hourly else '0'} * * {','.join(map(str, closed))}"
    exclusions: list[str | datetime] = [of_weekdays] if closed else []
    if cadence.business_calendar.bounded and last is not None:
        days = [date.fromordinal(o) for o in range(first.toordinal(), last.toordinal())]
        sessions = set(cadence.business_calendar.sessions(days[0], days[-1])) if days else set()
        for day in days:
            # Dagster takes a day that the zone left out for the one after it, and would leave out that one.
            there = day.toordinal() not in skipped_days(cadence.zone)
            if there and day.weekday() in weekdays and day not in sessions:
                exclusions += _starts(day, cadence) if hourly else [first_instant(day, cadence.zone)]
    return exclusions


def _starts(day: date, cadence: Cadence) -> list[datetime]:
    """Return the first instants of the hours of a day."""
    hours = replace(cadence, start=day, end=day, calendar="EVERY_DAY")
    return [hours.window(hour).start for hour in hours]


def _closed_periods(cadence: Cadence, first: date, last: date | None) -> list[str | datetime]:
    """Return the starts of periods without a session, which have no as-of date if the last session names them."""
    assert isinstance(cadence, Weekly | Monthly | Quarterly | Yearly)  # noqa: S101 - for the type checker
    if cadence.as_of == "period_end" or not cadence.business_calendar.bounded or last is None:
        return []
    every = replace(cadence, as_of="period_end", start=first, end=None, due_at=None)
    periods = every[: every.count(last)]
    return [every.window(day).start for day in periods if cadence.containing(day) is None]


def scheme_of(definition: object) -> PartitionScheme | None:
    """Return the scheme that a definition was made of, if it was made here."""
    made = _SCHEMES.get(id(definition))
    return None if made is None else made[1]


# -- keys -------------------------------------------------------------------------------------------------------


def to_dagster_key(key: object, scheme: PartitionScheme) -> str:
    """Return Dagster's key for a key of the scheme: a ``MultiPartitionKey`` where there are two dimensions.

    Args:
        key: A :class:`~flowctx.PartitionKey`, a mapping, or text in either of the scheme's forms.
        scheme: The scheme.

    Raises:
        UnknownPartition: The scheme has no such key; the message shows the nearest ones.

    Example:
        >>> from flowctx import PartitionScheme, Weekly
        >>> to_dagster_key("2012-01-13|T1", PartitionScheme(week=Weekly(start="2012-01-01"), tier=["T1"]))
        'T1|2012-01-07'
    """
    values = dagster_key_parts(scheme.check(key), scheme)
    return dg.MultiPartitionKey(values) if len(values) > 1 else next(iter(values.values()))


def from_dagster_key(source: str | RunContext, scheme: PartitionScheme) -> PartitionKey:
    """Return the scheme's key for Dagster's: of a text, or of the context of an op or asset.

    Args:
        source: Dagster's key (also a ``MultiPartitionKey``), or the context of a run of one partition.
        scheme: The scheme that the partitions definition was made of.

    Raises:
        UnknownPartition: The scheme has no such key.
        ContextError: The run is about no partition, or about several.

    Example:
        >>> from flowctx import PartitionScheme, Weekly
        >>> from_dagster_key("2012-01-07", PartitionScheme(week=Weekly(start="2012-01-01"))).week
        '2012-01-13'
    """
    if isinstance(source, str):
        return parse_dagster_key(source, scheme)
    keys = partition_keys(source, scheme)
    if len(keys) == 1:
        return keys[0]
    if not keys:
        raise ContextError("this run was launched without a partition; launch it for one, or make it unpartitioned")
    raise ContextError(
        f"this run is about {len(keys)} partitions, {keys[0]} to {keys[-1]}; use partition_keys(context, scheme), or "
        "a backfill policy of one run a partition"
    )


def partition_keys(context: RunContext, scheme: PartitionScheme) -> list[PartitionKey]:
    """Return the scheme's keys of a run: one, those of a range, or none for a run without a partition.

    Args:
        context: The context of an op or asset.
        scheme: The scheme that the partitions definition was made of.

    Raises:
        UnknownPartition: The scheme lacks one of them, or an end of the range.
    """
    # A range that holds one partition has no partition key, but all runs with either of them have partition keys.
    if not (context.has_partition_key or context.has_partition_key_range):
        return []
    if not context.has_partition_key:
        ends = context.partition_key_range
        for end in (ends.start, ends.end):
            parse_dagster_key(end, scheme)
    return [parse_dagster_key(key, scheme) for key in context.partition_keys]


def check_range(ends: dg.PartitionKeyRange, definition: dg.PartitionsDefinition[Any] | None) -> None:
    """Check that both ends of a range are partitions: Dagster takes the next one in time, outside the range, if not.

    Raises:
        UnknownPartition: One is no key of the scheme that the definition was made of; the message shows the nearest.
        ContextError: One is no key of another definition.
    """
    scheme = scheme_of(definition)
    for end in (ends.start, ends.end):
        if scheme is not None:
            parse_dagster_key(end, scheme)
        elif not _has_time(end, definition):
            raise ContextError(
                f"the range {ends.start} to {ends.end} has an end that is no partition, {end}; "
                "give partitions as both ends"
            )


def _has_time(key: str, definition: dg.PartitionsDefinition[Any] | None) -> bool:
    """Whether a definition has the time of a key; Dagster itself refuses values of any other kind."""
    if isinstance(definition, dg.MultiPartitionsDefinition):
        try:
            values = definition.get_partition_key_from_str(key).keys_by_dimension
        except CheckError:  # it has not a value for each dimension
            return False
        return all(_has_time(values[part.name], part.partitions_def) for part in definition.partitions_defs)
    return not isinstance(definition, dg.TimeWindowPartitionsDefinition) or definition.has_partition_key(key)


def same_windows(one: dg.PartitionsDefinition[Any] | None, other: dg.PartitionsDefinition[Any] | None) -> bool:
    """Return whether partitions of two definitions are of the same windows, whichever of these either leaves out."""
    if isinstance(one, dg.TimeWindowPartitionsDefinition) and isinstance(other, dg.TimeWindowPartitionsDefinition):
        return (one.cron_schedule, one.timezone) == (other.cron_schedule, other.timezone)
    if isinstance(one, dg.MultiPartitionsDefinition) and isinstance(other, dg.MultiPartitionsDefinition):
        ours, theirs = ({part.name: part.partitions_def for part in each.partitions_defs} for each in (one, other))
        return ours.keys() == theirs.keys() and all(same_windows(ours[name], theirs[name]) for name in ours)
    return one == other


def in_order(keys: Iterable[str], definition: dg.PartitionsDefinition[Any] | None) -> list[str]:
    """Return Dagster's keys in the order of the scheme that their definition was made of, else in the definition's own.

    Dagster itself hands several keys on in an order that differs from run to run.
    """
    scheme = scheme_of(definition)
    if scheme is None:
        return sorted(keys, key=_place_in(definition))
    return sorted(keys, key=lambda key: scheme.index(parse_dagster_key(key, scheme)))


def _place_in(definition: object) -> Callable[[str], Any]:
    """Return what tells where a key stands in a definition."""
    if isinstance(definition, dg.MultiPartitionsDefinition):
        parts = [(part.name, _place_in(part.partitions_def)) for part in definition.partitions_defs]
        values = definition.get_partition_key_from_str
        return lambda key: [place(values(key).keys_by_dimension[name]) for name, place in parts]
    if isinstance(definition, dg.StaticPartitionsDefinition):
        numbers = {key: number for number, key in enumerate(definition.get_partition_keys())}
        return lambda key: numbers.get(key, len(numbers))
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        window = definition.time_window_for_partition_key
        return lambda key: window(key).start.timestamp()  # an hour that clocks show twice has two keys
    return str


__getattr__ = old_names(__name__, {"engine_key": "to_dagster_key", "partition_key": "from_dagster_key"})
