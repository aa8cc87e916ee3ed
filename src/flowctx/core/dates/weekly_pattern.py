"""A calendar's table from its weekly pattern and the days on which that does not hold."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from flowctx.core.dates.parsing import parse_bounds, parse_dates, parse_weekmask
from flowctx.core.errors import CalendarError


class PatternTable(NamedTuple):
    """What a weekly pattern with holidays comes to."""

    #: The ordinals of the sessions, in order.
    table: array[int]
    #: The ordinals of the first and last day that are known.
    bounds: tuple[int, int]
    #: The open weekdays: 0 is Monday.
    open_days: frozenset[int]


def table_of_pattern(
    name: str,
    holidays: Iterable[date | str],
    *,
    weekmask: str,
    first: date | str | None,
    last: date | str | None,
    extra: Iterable[date | str],
) -> PatternTable:
    """Return the sessions of a calendar; the arguments are those of ``BusinessCalendar.from_holidays``.

    Raises:
        CalendarError: No holidays and no bounds, a weekmask that cannot be, or no session at all.

    Example:
        >>> len(table_of_pattern("D", ["2012-10-29"], weekmask="MON-FRI", first=None, last=None, extra=()).table)
        260
    """
    closed = parse_dates(holidays, "holidays")
    opened = {d.toordinal() for d in parse_dates(extra, "extra")}
    if not closed and (first is None or last is None):
        raise CalendarError(
            f"the calendar {name!r} has no holidays to take its bounds from; pass first= and last=, "
            "or use the built-in 'WEEKDAYS' or 'EVERY_DAY'"
        )
    low = date(min(closed).year, 1, 1) if closed else date.min
    high = date(max(closed).year, 12, 31) if closed else date.max
    bounds = parse_bounds(name, first, last, low, high)
    open_days = parse_weekmask(weekmask)
    days = {o for o in range(bounds[0], bounds[1] + 1) if (o + 6) % 7 in open_days}
    table = array("i", sorted((days - {d.toordinal() for d in closed}) | opened))
    if not table:
        raise CalendarError(f"the calendar {name!r} has no session between its bounds; check holidays and weekmask")
    if table[0] < bounds[0] or table[-1] > bounds[1]:
        raise CalendarError(f"the calendar {name!r} has extra= sessions outside its bounds; widen first= and last=")
    return PatternTable(table, bounds, open_days)
