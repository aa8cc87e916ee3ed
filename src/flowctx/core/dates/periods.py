"""As-of dates by position: days, period ends and last sessions, each as arithmetic or a table of ordinals."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from datetime import date
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

from flowctx.core.dates.calendar import BusinessCalendar
from flowctx.core.dates.zones import skipped_days

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


class Weeks(NamedTuple):
    """Weeks that end on a weekday: 0 is Monday, 6 Sunday."""

    #: The last day of each week.
    ends_on: int

    def number(self, ordinal: int) -> int:
        """Return the number of the week that holds the day."""
        return (ordinal - self.ends_on - 2) // 7

    def first_day(self, number: int) -> int:
        """Return the ordinal of the first day of the week."""
        return number * 7 + self.ends_on + 2


class Months(NamedTuple):
    """Calendar months, quarters of three of them, or years of twelve."""

    #: Months in a period: 1, 3 or 12.
    months: int
    #: Months from January to the first one of a period.
    shift: int = 0

    def number(self, ordinal: int) -> int:
        """Return the number of the period that holds the day."""
        day = date.fromordinal(ordinal)
        return (day.year * 12 + day.month - 1 - self.shift) // self.months

    def first_day(self, number: int) -> int:
        """Return the ordinal of the first day of the period."""
        year, month = divmod(number * self.months + self.shift, 12)
        return date(year, month + 1, 1).toordinal()


Periods = Weeks | Months


class Axis(Protocol):
    """A sequence of as-of dates without a beginning of its own; days are ordinals."""

    def position(self, ordinal: int) -> int:
        """Return the position of the first as-of date on or after the day."""

    def at(self, position: int) -> int:
        """Return the as-of date at the position; may raise where none is known."""

    def window(self, as_of: int) -> tuple[int, int]:
        """Return the first day of the as-of date's window and the first day after it."""

    def period_start(self, ordinal: int) -> int:
        """Return the first day of the unit of time, a day or a period, that holds the day."""

    def known_range(self) -> tuple[int, int] | None:
        """Return the first and last day for which as-of dates are known, or None if all are."""


class SessionDays(NamedTuple):
    """Each session is an as-of date, and its window is that day."""

    calendar: BusinessCalendar
    #: The ordinals of sessions that clocks of the zone never showed, in order: they are no as-of dates.
    skipped: tuple[int, ...] = ()

    @classmethod
    def of(cls, calendar: BusinessCalendar, zone: ZoneInfo) -> SessionDays:
        """Return the days of a zone that are sessions."""
        position = calendar.position
        return cls(calendar, tuple(day for day in skipped_days(zone) if position(day + 1) > position(day)))

    def position(self, ordinal: int) -> int:
        """Return the position of the first session on or after the day."""
        return self.calendar.position(ordinal) - bisect_left(self.skipped, ordinal)

    def at(self, position: int) -> int:
        """Return the session at the position."""
        found = self.calendar.ordinal_at(position)
        for number, day in enumerate(self.skipped, start=1):
            if day <= found:
                found = self.calendar.ordinal_at(position + number)
        return found

    def window(self, as_of: int) -> tuple[int, int]:
        """Return the day and the one after it."""
        return as_of, as_of + 1

    def period_start(self, ordinal: int) -> int:
        """Return the day itself."""
        return ordinal

    def known_range(self) -> tuple[int, int] | None:
        """Return the calendar's bounds."""
        return _horizon(self.calendar)


class PeriodEnds(NamedTuple):
    """Each period has an as-of date, its last day, whatever the calendar says of it."""

    periods: Periods

    def position(self, ordinal: int) -> int:
        """Return the number of the period that holds the day."""
        return self.periods.number(ordinal)

    def at(self, position: int) -> int:
        """Return the last day of the period."""
        return self.periods.first_day(position + 1) - 1

    def window(self, as_of: int) -> tuple[int, int]:
        """Return the first day of the period and of the next one."""
        return self.period_start(as_of), as_of + 1

    def period_start(self, ordinal: int) -> int:
        """Return the first day of the period that holds the day."""
        return self.periods.first_day(self.periods.number(ordinal))

    def known_range(self) -> tuple[int, int] | None:
        """Return None: every period is known."""
        return None


class LastSessions(NamedTuple):
    """Each period with a session has an as-of date, the last of them; its window is the whole period."""

    periods: Periods
    calendar: BusinessCalendar

    def position(self, ordinal: int) -> int:
        """Return the position of the first as-of date on or after the day."""
        if self.calendar.bounded:
            return bisect_left(_last_sessions(self.periods, self.calendar), ordinal)
        number = self.periods.number(ordinal)
        return number if self.at(number) >= ordinal else number + 1

    def at(self, position: int) -> int:
        """Return the last session of the period at the position."""
        if self.calendar.bounded:
            return _last_sessions(self.periods, self.calendar)[position]
        return self.calendar.on_or_before(date.fromordinal(self.periods.first_day(position + 1) - 1)).toordinal()

    def window(self, as_of: int) -> tuple[int, int]:
        """Return the first day of the period and of the next one."""
        number = self.periods.number(as_of)
        return self.periods.first_day(number), self.periods.first_day(number + 1)

    def period_start(self, ordinal: int) -> int:
        """Return the first day of the period that holds the day."""
        return self.periods.first_day(self.periods.number(ordinal))

    def known_range(self) -> tuple[int, int] | None:
        """Return the calendar's first day and the last day of the last period that it knows to its end."""
        bounds = _horizon(self.calendar)
        if bounds is None:
            return None
        after = self.periods.number(bounds[1] + 1)
        return bounds[0], self.periods.first_day(after) - 1


def _horizon(calendar: BusinessCalendar) -> tuple[int, int] | None:
    return (calendar.first.toordinal(), calendar.last.toordinal()) if calendar.bounded else None


@lru_cache(maxsize=64)
def _last_sessions(periods: Periods, calendar: BusinessCalendar) -> array[int]:
    sessions = [day.toordinal() for day in calendar.sessions(date.min, date.max)]
    last = [a for a, b in pairwise(sessions) if periods.number(a) != periods.number(b)]
    # The last period counts only if the calendar knows it to its end.
    if periods.first_day(periods.number(sessions[-1]) + 1) <= calendar.last.toordinal() + 1:
        last.append(sessions[-1])
    return array("i", last)
