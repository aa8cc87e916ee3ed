"""Hourly: one entry for every hour of the sessions of a calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import ClassVar, Unpack

from flowctx.core.dates.hours import FIRST_YEAR, LAST_YEAR, SessionHours, ZoneHours, zone_hours
from flowctx.core.dates.parsing import iso_date, iso_instant
from flowctx.core.dates.periods import Axis
from flowctx.core.dates.windows import Cadence, CommonOptions
from flowctx.core.dates.zones import Window, check_aware
from flowctx.core.errors import CalendarError


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Hourly(Cadence):
    """One entry for every hour of the sessions of the calendar; its window is that hour.

    Its entries are aware datetimes, the first instants of the hours, and stand in keys as ISO 8601 with the offset:
    ``2026-11-01T01:00-04:00``. An hour that clocks show twice is two keys, and one that they leave out is none. The
    business date of an hour is its local day.

    Args:
        start: First day whose hours are entries: a date, or ISO text.
        **common: ``end`` (the last such day), ``calendar``, ``timezone`` and ``delay``, as for :class:`Daily`. The
            delay is time that passes, not a difference of wall-clock times.

    Raises:
        CalendarError: Something of this cannot be, or clocks of the zone changed by a part of an hour since its start.

    Example:
        >>> hours = Hourly(start="2026-11-01", end="2026-11-01", timezone="America/New_York")
        >>> len(hours), hours.text(hours[2]), hours.due(hours[2]).isoformat()
        (25, '2026-11-01T01:00-05:00', '2026-11-01T02:00:00-05:00')
    """

    kind: ClassVar[str] = "hourly"
    not_written: ClassVar[str] = "is not an hour; write it with its offset, such as 2026-01-09T16:00-05:00"

    def __init__(self, *, start: date | str, **common: Unpack[CommonOptions]) -> None:
        super().__init__(start=start, **common)
        if self.due_at is not None:
            raise CalendarError(
                f"due={str(self.due_at)!r} is a time of a day, and each hour is due after it; pass delay="
            )

    @cached_property
    def _hours(self) -> ZoneHours:
        hours = zone_hours(self.timezone)
        if self.start.toordinal() < hours.whole_since > date(FIRST_YEAR, 1, 1).toordinal():
            raise _not_whole(self.timezone, date.fromordinal(hours.whole_since))
        return hours

    @cached_property
    def _axis(self) -> Axis:
        return SessionHours(self.business_calendar, self._hours)

    @cached_property
    def _known_range(self) -> tuple[int, int]:
        end = date(LAST_YEAR + 1, 1, 1).toordinal()
        low, high = (self._hours.first_of(day) for day in (self._hours.whole_since, end))
        known = self._axis.known_range() or (low, high - 1)
        return max(low, known[0]), min(high - 1, known[1])

    # -- values: aware datetimes, and numbers of hours ------------------------------------------------------------

    def _value(self, ordinal: int) -> datetime:
        return self._hours.start(ordinal)

    def _text(self, ordinal: int) -> str:
        return self._hours.start(ordinal).isoformat(timespec="minutes")

    def _ordinal(self, value: date, what: str) -> int:
        if not isinstance(value, datetime):
            raise CalendarError(
                f"{what}={value!r} is a day, and these are hours; pass an aware datetime such as "
                f"{self._first_text(value)}"
            )
        number = self._hours.number(check_aware(value, what))
        if self._hours.start(number).timestamp() != value.timestamp():
            raise CalendarError(f"{what}={value.isoformat()} is no full hour of {self.timezone}; hours start there")
        return number

    def _first_text(self, value: object) -> str:
        return (
            self._text(self._hours.first_of(value.toordinal())) if isinstance(value, date) else "2026-01-09T16:00-05:00"
        )

    def _first_of(self, value: date) -> int:
        if isinstance(value, datetime):
            return self._containing_ordinal(value)
        return self._hours.first_of(value.toordinal())

    def _last_of(self, value: date) -> int:
        if isinstance(value, datetime):
            return self._containing_ordinal(value)
        return self._hours.first_of(value.toordinal() + 1) - 1

    def _containing_ordinal(self, d: date) -> int:
        if not isinstance(d, datetime):
            raise CalendarError(f"d={d!r} is a day, and these are hours; pass an aware datetime")
        return self._hours.number(check_aware(d, "d"))

    def _unit_of(self, instant: datetime) -> int:
        return self._hours.number(instant)

    def _day(self, ordinal: int) -> date:
        return date.fromordinal(self._hours.day_of(ordinal))

    def parse(self, text: str) -> datetime | None:
        """Return the hour that a text in a key is, or None if it is not written like one.

        Example:
            >>> Hourly(start="2026-11-01").parse("2026-11-01T05:00+00:00").hour
            5
        """
        found = iso_instant(text)
        if found is None:
            return None
        try:
            value = self._hours.start(self._hours.number(found))
        except OverflowError:  # the last hours of the year 9999
            return None
        return value if value.isoformat(timespec="minutes") == text else None

    def say_not_written(self, text: str) -> str:
        """Return what to say of a text that is no hour, or not written as the hour is.

        Example:
            >>> Hourly(start="2026-01-01", timezone="UTC").say_not_written("2026-01-09T16:00Z")
            'is not written as its hour is; write 2026-01-09T16:00+00:00'
        """
        found = iso_instant(text)
        if found is None or not FIRST_YEAR <= found.year <= LAST_YEAR:
            return self.not_written
        number = self._hours.number(found)
        if self._hours.start(number).timestamp() != found.timestamp():
            return f"is no full hour of {self.timezone}; it is in the one that is written {self._text(number)}"
        return f"is not written as its hour is; write {self._text(number)}"

    def parse_bound(self, text: str) -> date | None:
        """Return the end of a range of hours that a text is: an hour, or a day; None if it is neither."""
        return iso_date(text) or self.parse(text)

    def parse_span(self, text: str) -> range:
        """Return the positions of the hours of a day, a month or a year."""
        day = iso_date(text)
        return super().parse_span(text) if day is None else self.indexes(day, day)

    def _explain(self, as_of: date) -> str:
        day = self._day(self._ordinal(as_of, "as_of"))
        return f"{as_of.isoformat()} is no hour of a session: {self.business_calendar.explain(day)}"

    # -- windows and due times ------------------------------------------------------------------------------------

    def _window(self, ordinal: int) -> Window:
        return Window(self._hours.start(ordinal), self._hours.start(ordinal + 1))

    def _due(self, ordinal: int) -> datetime:
        return (self._hours.start(ordinal + 1).astimezone(UTC) + self.fixed_delay).astimezone(self.zone)

    def _due_wall_time(self, ordinal: int) -> datetime:
        return self._due(ordinal).replace(tzinfo=None)

    def _latest_possible(self, now: datetime) -> int:
        if now.astimezone(UTC) - datetime.combine(date(FIRST_YEAR, 1, 1), time(), UTC) < self.fixed_delay:
            return 0
        return self._hours.number(now.astimezone(UTC) - self.fixed_delay) - 1


def _not_whole(zone: str, since: date) -> CalendarError:
    if since.year == LAST_YEAR:
        what, remedy = "change by a part of an hour, so its hours are", "use timezone='UTC'"
    else:
        what = f"changed by a part of an hour on {since - timedelta(days=1)}, so the hours before are"
        remedy = f"begin with start='{since}' or later, or use timezone='UTC'"
    return CalendarError(f"the clocks of {zone} {what} not all whole; {remedy}")
