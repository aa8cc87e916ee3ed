"""Closes: at which time of the day the sessions of a calendar end, and which of them end at another time than usual."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

from flowctx.core.dates.parsing import parse_date
from flowctx.core.dates.zones import get_zone, resolve_wall_time, zone_name
from flowctx.core.errors import CalendarError

_DAY_MINUTES = 24 * 60


class Closes(NamedTuple):
    """The closing times of a calendar's sessions, in minutes after the first moment of their day by the wall clock.

    Example:
        >>> closes = Closes.of("America/New_York", "16:00", {"2026-11-27": "13:00"})
        >>> closes.at(date(2026, 11, 27).toordinal()).isoformat()
        '2026-11-27T13:00:00-05:00'
    """

    #: IANA name of the zone of the times.
    timezone: str
    #: The usual times, each from the day with this ordinal on, in order.
    usual: tuple[tuple[int, int], ...]
    #: The times of the sessions that end at another one, by ordinal.
    special: Mapping[int, int]

    @classmethod
    def of(cls, timezone: object, close: time | str, special: Mapping[date | str, time | str] | None = None) -> Closes:
        """Make them from a usual time, such as ``16:00``, and other times by date.

        Raises:
            CalendarError: A time or date that cannot be, or an unknown zone.
        """
        others = {
            parse_date(day, "closes").toordinal(): parse_minutes(at, "closes") for day, at in (special or {}).items()
        }
        return cls(zone_name(timezone), ((1, parse_minutes(close, "close")),), others)

    @classmethod
    def of_calendar(
        cls,
        name: str,
        sessions: Iterable[int],
        close: time | str | None,
        timezone: object,
        special: Mapping[date | str, time | str] | None,
    ) -> Closes | None:
        """Make those of a calendar that is being made, of these sessions; None if it is given no closing times."""
        if close is None and timezone is None and special is None:
            return None
        if close is None or timezone is None:
            raise CalendarError(
                f"the calendar {name!r} needs close= and timezone= for closing times; pass both or neither"
            )
        closes = cls.of(timezone, close, special)
        closed = sorted(closes.special.keys() - set(sessions))
        if closed:
            raise CalendarError(
                f"the calendar {name!r} has special_closes= on {date.fromordinal(closed[0])}, which is none of its "
                "sessions; correct the day, or leave it out"
            )
        return closes

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Closes:
        """Read :meth:`to_dict` back."""
        return cls(
            data["timezone"],
            tuple((int(start), int(minutes)) for start, minutes in data["closes"]),
            {int(day): int(minutes) for day, minutes in data["special_closes"]},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return them in plain data."""
        return {
            "timezone": self.timezone,
            "closes": [list(pair) for pair in self.usual],
            "special_closes": [list(pair) for pair in sorted(self.special.items())],
        }

    def minutes(self, ordinal: int) -> int:
        """Return the closing time of the session with this ordinal."""
        special = self.special.get(ordinal)
        return self.usual_minutes(ordinal) if special is None else special

    def usual_minutes(self, ordinal: int) -> int:
        """Return the closing time that a session of that time has as a rule."""
        return self.usual[bisect_right(self.usual, ordinal, key=lambda pair: pair[0]) - 1][1]

    def wall_time(self, ordinal: int) -> datetime:
        """Return the closing time as a naive datetime by the clocks of the zone."""
        return datetime.combine(date.fromordinal(ordinal), time()) + timedelta(minutes=self.minutes(ordinal))

    def at(self, ordinal: int) -> datetime:
        """Return the moment at which the session with this ordinal ends."""
        return resolve_wall_time(self.wall_time(ordinal), get_zone(self.timezone))

    def with_times(self, days: Iterable[tuple[int, int]]) -> Closes:
        """Return them with other times for some sessions."""
        return self._replace(special={**self.special, **dict(days)})

    @property
    def content(self) -> tuple[object, ...]:
        """All of it, hashable."""
        return self.timezone, self.usual, tuple(sorted(self.special.items()))


def parse_minutes(value: time | str, what: str) -> int:
    """Return the minutes from midnight to a time of the day, such as ``16:00``; ``24:00`` is the next midnight.

    Raises:
        CalendarError: It is no such time, or has seconds.

    Example:
        >>> parse_minutes("16:30", "close")
        990
    """
    if isinstance(value, str):
        if value == "24:00":
            return _DAY_MINUTES
        try:
            found = time.fromisoformat(value)
        except ValueError:
            found = None
        if found is None or found.isoformat("minutes") != value:
            raise CalendarError(f"{what}={value!r} is not a time of the day; write it as HH:MM, such as '16:00'")
        value = found
    if not isinstance(value, time) or value.second or value.microsecond or value.tzinfo is not None:
        raise CalendarError(f"{what}={value!r}; pass a time of the day in whole minutes, such as '16:00'")
    return value.hour * 60 + value.minute
