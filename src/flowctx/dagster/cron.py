"""The due times of a cadence, and the starts of its windows, as cron expressions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

from flowctx.core.dates.cadence import Cadence, Daily, Hourly, Monthly, Quarterly, Weekly, Yearly
from flowctx.core.dates.parsing import WEEKDAY_NAMES
from flowctx.core.errors import PartitionError

_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)


def cron_of_windows(cadence: Cadence) -> str:
    """Return the cron expression at whose ticks windows start, those of closed days, too.

    Raises:
        PartitionError: Dagster cannot be told such a cadence.
    """
    if isinstance(cadence, Hourly):
        return "0 * * * *"
    return f"0 0 {'* * *' if isinstance(cadence, Daily) else _days(cadence, 0)[0]}"


def cron_schedules(cadences: Sequence[Cadence]) -> str | list[str]:
    """Return the cron expressions whose ticks include every due time of some cadences of one zone.

    Example:
        >>> cron_schedules([Weekly(start="2012-01-01", delay=timedelta(days=2, hours=6, minutes=30))])
        '30 6 * * 1'
    """
    expressions = list(dict.fromkeys(text for cadence in cadences for text in _expressions(cadence)))
    return expressions[0] if len(expressions) == 1 else expressions


def _expressions(cadence: Cadence) -> Sequence[str]:
    own = cadence.due_at  # on the as-of date itself: at one time, or at each at which some session ends
    by_window = own is None or getattr(cadence, "as_of", "period_end") == "period_end"
    if own is not None and (own.after_close or (not by_window and cadence.business_calendar.bounded)):
        return _distinct_times(cadence)
    days, time_of_day = whole_delay(cadence) if own is None else (-1, own.offset)
    hours, minutes = divmod(time_of_day // _MINUTE, 60)
    if isinstance(cadence, Hourly):
        return [f"{minutes} * * * *"]
    return [f"{minutes} {hours} {fields}" for fields in (_days(cadence, days) if by_window else ["* * *"])]


@lru_cache(maxsize=64)
def _distinct_times(cadence: Cadence) -> tuple[str, ...]:
    weekdays: dict[tuple[int, int], set[int]] = {}
    for index in range(cadence.known_count(cadence.end or cadence.known_until or cadence.start)):
        wall = cadence.due_wall_time(cadence[index])
        weekdays.setdefault((wall.hour, wall.minute), set()).add(wall.isoweekday() % 7)
    return tuple(f"{minute} {hour} * * {_weekdays(days)}" for (hour, minute), days in sorted(weekdays.items()))


def whole_delay(cadence: Cadence) -> tuple[int, timedelta]:
    """Return the delay in days and the rest of it, rounded up to whole minutes."""
    return divmod(-(-cadence.fixed_delay // _MINUTE) * _MINUTE, _DAY)


def _days(cadence: Cadence, later: int) -> list[str]:
    """Return the last three fields of cron for the days ``later`` days after the windows end."""
    match cadence:
        # Windows end the day after a session, or where the next week starts: two days on if Sunday counts from 0.
        case Daily():
            return [f"* * {_weekdays({(day + 2 + later) % 7 for day in open_weekdays(cadence)})}"]
        case Weekly():
            return [f"* * {(WEEKDAY_NAMES.index(cadence.ends_on) + 2 + later) % 7}"]
        case Monthly():
            return list(_days_of_months(range(1, 13), later))
        case Quarterly():
            return list(_days_of_months((1, 4, 7, 10), later))
        case Yearly():
            return list(_days_of_months((cadence.first_month,), later))
    raise PartitionError(
        f"{cadence!r} is no cadence that Dagster can be told; use Hourly, Daily, Weekly, Monthly, Quarterly or Yearly"
    )


def _days_of_months(starts: Iterable[int], later: int) -> Iterator[str]:
    """Yield days and months: a delay of weeks can lead to another day of the month in leap years and short months."""
    days: dict[int, set[int]] = {}
    for year in range(2000, 2028):  # every way in which leap years and month lengths follow each other
        for month in starts:
            day = date(year, month, 1) + later * _DAY
            days.setdefault(day.month, set()).add(day.day)
    months: dict[str, set[int]] = {}
    for month, in_month in days.items():
        months.setdefault(_listed(in_month), set()).add(month)
    for listed, in_year in months.items():
        yield f"{listed} {'*' if len(in_year) == 12 else _listed(in_year)} *"


def open_weekdays(cadence: Cadence) -> frozenset[int]:
    """Return the weekdays (0 is Monday) that are ever sessions of the cadence's calendar from its start on."""
    calendar = cadence.business_calendar
    last = calendar.last if calendar.bounded else cadence.start + 6 * _DAY
    return frozenset(day.weekday() for day in calendar.sessions(cadence.start, last))


def _weekdays(days: Iterable[int]) -> str:
    return "*" if len({*days}) == 7 else _listed(days)


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, sorted(numbers)))
