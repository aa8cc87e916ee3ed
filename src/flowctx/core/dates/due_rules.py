"""When a run is due: after its window, at a time of its own day, or after the close; and delays that differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any, Final

from flowctx.core.dates.closes import parse_minutes
from flowctx.core.errors import CalendarError

_MINUTE: Final = timedelta(minutes=1)
_CLOSE: Final = re.compile(r"close(?:\s*([+-])\s*(\S.*?))?\Z")
_PARTS: Final = re.compile(r"\s*(\d+)\s*(hours?|h|minutes?|mins?|m)")


@dataclass(frozen=True)
class DueRule:
    """A moment of the as-of date itself at which its run is due.

    Example:
        >>> DueRule.parse("close + 1h 30min"), str(DueRule.parse("17:00"))
        (DueRule(after_close=True, offset=datetime.timedelta(seconds=5400)), '17:00')
    """

    #: Whether it counts from the session's closing time, and otherwise from the first moment of the day.
    after_close: bool
    #: How long after it; by the wall clock from the first moment, as time that passes from the close.
    offset: timedelta

    @classmethod
    def parse(cls, value: str | time | DueRule) -> DueRule:
        """Read ``17:00``, ``close``, ``close + 30min`` or ``close - 1h``.

        Raises:
            CalendarError: It is none of these.
        """
        if isinstance(value, DueRule):
            return value
        if isinstance(value, str) and (match := _CLOSE.match(value.strip())):
            offset = timedelta(0) if match[2] is None else _duration(match[2], value)
            return cls(True, -offset if match[1] == "-" else offset)
        if isinstance(value, str) and not re.match(r"\d\d?:", value):
            raise CalendarError(f"due={value!r} is no such time; write '17:00', 'close' or 'close + 30min'")
        return cls(False, parse_minutes(value, "due") * _MINUTE)

    def __str__(self) -> str:
        minutes = abs(self.offset) // _MINUTE
        if not self.after_close:
            return f"{minutes // 60:02}:{minutes % 60:02}"
        return f"close {'-' if self.offset < timedelta(0) else '+'} {minutes}min" if minutes else "close"


def _duration(text: str, whole_text: str) -> timedelta:
    minutes, end = 0, 0
    for part in _PARTS.finditer(text):
        if part.start() != end:
            break
        minutes, end = minutes + int(part[1]) * (60 if part[2][0] == "h" else 1), part.end()
    if end == 0 or end != len(text):
        raise CalendarError(f"due={whole_text!r}: {text!r} is no duration; write it as 30min, 2h or 1h 30min")
    if minutes >= 24 * 60:
        raise CalendarError(
            f"due={whole_text!r} is a day or more after the close; pass delay= instead, after the window"
        )
    return timedelta(minutes=minutes)


@dataclass(frozen=True)
class Delays:
    """Delays that differ by the values of one static dimension.

    Example:
        >>> Delays("tier", (("T1", timedelta(weeks=2)), ("OTC", timedelta(weeks=4)))).of("T1").days
        14
    """

    #: The static dimension of the scheme.
    dimension: str
    #: The delay of each of its values.
    values: tuple[tuple[str, timedelta], ...]

    def of(self, value: str) -> timedelta:
        """Return the delay of a value.

        Raises:
            CalendarError: It has none.
        """
        found = dict(self.values).get(value)
        if found is None:
            raise CalendarError(
                f"delay= has nothing for {self.dimension}={value}; give each of its values a delay: "
                f"delay={{{self.dimension!r}: {{{value!r}: timedelta(days=14), ...}}}}"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {self.dimension: {value: delay.total_seconds() for value, delay in self.values}}


def parse_delay(delay: object) -> timedelta | Delays:
    """Return a delay, or delays by the values of a dimension, of what was given for them.

    Raises:
        CalendarError: It is neither, or one is negative.

    Example:
        >>> parse_delay({"tier": {"T1": timedelta(days=14)}}).dimension
        'tier'
    """
    if delay is None:
        return timedelta(0)
    if isinstance(delay, Delays):
        return delay
    if isinstance(delay, Mapping):
        return _by_dimension(delay)
    if not isinstance(delay, timedelta) or delay < timedelta(0):
        raise CalendarError(
            f"delay={delay!r}; a run is due after its window: pass timedelta(0) or more; for a time of the day itself "
            "pass due='17:00', and for delays that differ {'tier': {'T1': timedelta(days=14), ...}}"
        )
    return delay


def _by_dimension(delay: Mapping[Any, Any]) -> Delays:
    if len(delay) != 1 or not isinstance(values := next(iter(delay.values())), Mapping) or not values:
        raise CalendarError(
            f"delay={delay!r}; delays differ by one dimension: pass {{'tier': {{'T1': timedelta(days=14), ...}}}}"
        )
    [dimension] = delay
    for value, found in values.items():
        if not isinstance(found, timedelta) or found < timedelta(0):
            raise CalendarError(f"delay of {dimension}={value} is {found!r}; pass timedelta(0) or more")
    return Delays(str(dimension), tuple((str(getattr(v, "value", v)), found) for v, found in values.items()))
