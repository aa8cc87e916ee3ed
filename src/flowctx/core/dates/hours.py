"""Hours of a time zone by number, those of open days by position: 23, 24 or 25 of them a day."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from flowctx.core.dates.calendar import BusinessCalendar
from flowctx.core.dates.zones import first_instant, get_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

HOUR: Final = 3600
#: Hours are known for these years; beyond them no zone's clocks are.
FIRST_YEAR: Final = 1990
LAST_YEAR: Final = 2099


class ZoneHours(NamedTuple):
    """The hours of a zone: where they start, and which days do not have 24.

    Hours are numbered from 1970 on; each starts when clocks show a full hour.
    """

    #: The zone.
    zone: ZoneInfo
    #: Seconds from a full hour of UTC to one of the zone: 1800 in India.
    shift: int
    #: The ordinals of the days without 24 hours, in order.
    uneven: tuple[int, ...]
    #: By how many hours each of them differs from 24.
    excess: tuple[int, ...]
    #: The ordinal of the day since which all hours are whole: before it, clocks changed by a part of an hour.
    whole_since: int

    def start(self, number: int) -> datetime:
        """Return the first instant of an hour."""
        return datetime.fromtimestamp(number * HOUR + self.shift, self.zone)

    def number(self, instant: datetime) -> int:
        """Return the number of the hour that holds an instant."""
        return int((instant.timestamp() - self.shift) // HOUR)

    def first_of(self, day: int) -> int:
        """Return the number of the first hour of a local day, by its ordinal."""
        return self.number(first_instant(date.fromordinal(day), self.zone))

    def day_of(self, number: int) -> int:
        """Return the ordinal of the local day of an hour."""
        return self.start(number).toordinal()


@lru_cache(maxsize=32)
def zone_hours(name: str) -> ZoneHours:
    """Return the hours of a zone.

    Example:
        >>> zone_hours("Asia/Kolkata").shift
        1800
    """
    zone = get_zone(name)
    uneven: dict[int, int] = {}
    whole_since = date(FIRST_YEAR, 1, 1).toordinal()
    # Offsets are looked up at noon, on naive arithmetic of days; the hours of a day follow from its two midnights.
    day = datetime(FIRST_YEAR, 1, 1, 12, tzinfo=zone)
    offset, one_day = day.utcoffset() or timedelta(0), timedelta(days=1)
    shift = int(-offset.total_seconds() % HOUR)
    while day.year <= LAST_YEAR:
        later = day + one_day
        changed = later.utcoffset() or timedelta(0)
        if changed != offset:
            if int(-changed.total_seconds() % HOUR) != shift:
                shift, whole_since = int(-changed.total_seconds() % HOUR), later.toordinal() + 1
                uneven.clear()
            hours = ZoneHours(zone, shift, (), (), whole_since)
            for ordinal in (day.toordinal(), later.toordinal()):
                if excess := hours.first_of(ordinal + 1) - hours.first_of(ordinal) - 24:
                    uneven[ordinal] = excess
            offset = changed
        day = later
    return ZoneHours(zone, shift, tuple(uneven), tuple(uneven.values()), whole_since)


@lru_cache(maxsize=64)
def _excess_before(calendar: BusinessCalendar, hours: ZoneHours) -> tuple[array[int], array[int]]:
    """Return the uneven days that are sessions, and the sum of what they have over 24 hours up to each."""
    days, sums, total = array("i"), array("i"), 0
    low, high = (
        (calendar.first.toordinal(), calendar.last.toordinal()) if calendar.bounded else (0, date.max.toordinal())
    )
    for day, excess in zip(hours.uneven, hours.excess, strict=True):
        if low <= day <= high and calendar.position(day + 1) > calendar.position(day):
            total += excess
            days.append(day)
            sums.append(total)
    return days, sums


class SessionHours(NamedTuple):
    """Each hour of a session is an as-of date; what :class:`flowctx.core.dates.periods.Axis` asks for."""

    calendar: BusinessCalendar
    hours: ZoneHours

    def _before(self, day: int) -> int:
        """Return the position of the first hour of a day, session or not."""
        days, sums = _excess_before(self.calendar, self.hours)
        at = bisect_left(days, day)
        return self.calendar.position(day) * 24 + (sums[at - 1] if at else 0)

    def position(self, ordinal: int) -> int:
        """Return the position of the first hour of a session at or after the hour."""
        day = self.hours.day_of(ordinal)
        before = self._before(day)
        if self.calendar.position(day + 1) == self.calendar.position(day):
            return before
        return before + ordinal - self.hours.first_of(day)

    def at(self, position: int) -> int:
        """Return the hour at the position."""
        sessions = self.calendar.position(self.calendar.last.toordinal() + 1)
        session = min(position // 24, sessions - 1)
        while True:  # the guess is off by the hours that clocks were put on or back, a session at most
            day = self.calendar.ordinal_at(session)
            first, after = self._before(day), self._before(day + 1)
            if first <= position < after:
                return self.hours.first_of(day) + position - first
            session += -1 if position < first else 1

    def window(self, as_of: int) -> tuple[int, int]:
        """Return the hour and the one after it."""
        return as_of, as_of + 1

    def period_start(self, ordinal: int) -> int:
        """Return the hour itself."""
        return ordinal

    def known_range(self) -> tuple[int, int] | None:
        """Return the first and last hour that the calendar knows, or None if it knows all."""
        if not self.calendar.bounded:
            return None
        first, last = self.calendar.first, self.calendar.last
        return self.hours.first_of(first.toordinal()), self.hours.first_of(last.toordinal() + 1) - 1
