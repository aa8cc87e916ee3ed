"""Dates as they enter: checked, parsed, named; and lazy sequences of them."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final, overload

from flowctx.core.errors import CalendarError
from flowctx.core.suggestions import a_kind

WEEKDAY_NAMES: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTH_NAMES: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTH_OR_YEAR: Final = re.compile(r"([1-9]\d{3})(?:-(0[1-9]|1[0-2]))?")
_DATE_OR_HOUR: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(Z|[+-]\d\d:\d\d))?\Z")
_LONG_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def check_date(value: object, what: str) -> date:
    """Return ``value`` if it is a date and not a datetime.

    Args:
        value: What was passed.
        what: The name of the parameter, for the message.

    Raises:
        CalendarError: It is a datetime, a text or anything else; the message says what to pass.

    Example:
        >>> check_date(date(2012, 10, 26), "d")
        datetime.date(2012, 10, 26)
    """
    if isinstance(value, datetime):
        raise CalendarError(
            f"{what}={value!r} is a datetime; a business date is a date: pass {what}=value.date(), "
            "after value.astimezone(zone) if it has a time zone"
        )
    if not isinstance(value, date):
        raise CalendarError(f"{what}={value!r} is {a_kind(value)}; pass a datetime.date")
    return value


def parse_date(value: date | str, what: str) -> date:
    """Return a date from a date or an ISO 8601 text such as ``2012-10-26``.

    Raises:
        CalendarError: The text is not an ISO date, or the value is a datetime.

    Example:
        >>> parse_date("2012-10-26", "start")
        datetime.date(2012, 10, 26)
    """
    if not isinstance(value, str):
        return check_date(value, what)
    parsed = iso_date(value)
    if parsed is None:
        raise CalendarError(f"{what}={value!r} is not a date; write it as YYYY-MM-DD, such as '2012-10-26'")
    return parsed


def parse_dates(values: Iterable[date | str], what: str) -> set[date]:
    """Return the dates of a list of dates and ISO 8601 texts.

    Raises:
        CalendarError: One is no date, or one date stands where the list is meant.

    Example:
        >>> parse_dates(["2012-10-26"], "holidays")
        {datetime.date(2012, 10, 26)}
    """
    if isinstance(values, (str, date)):
        shown = str(values) if isinstance(values, str) else values.isoformat()
        raise CalendarError(f"{what} is a list of dates, and was given {shown!r}; write [{shown!r}]")
    return {parse_date(value, what) for value in values}


def month_or_year(text: str) -> tuple[date, date] | None:
    """Return the first and last day of a month or a year, or None if the text is neither.

    Example:
        >>> month_or_year("2012-02")
        (datetime.date(2012, 2, 1), datetime.date(2012, 2, 29))
    """
    found = _MONTH_OR_YEAR.fullmatch(text)
    if found is None:
        return None
    year, month = int(found[1]), int(found[2] or 0)
    first, last = date(year, month or 1, 1), date(year, month or 12, 1)
    return first, last.replace(day=monthrange(year, last.month)[1])


@lru_cache(maxsize=1024)  # a run reads the date of its key several times, and a batch those of all its keys
def iso_date(text: str) -> date | None:
    """Return the date that a text is in ISO 8601 form, or None if it is not exactly that.

    Example:
        >>> iso_date("2012-01-03"), iso_date("20120103")
        (datetime.date(2012, 1, 3), None)
    """
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.isoformat() == text else None


def iso_instant(text: str) -> datetime | None:
    """Return the instant that a text is in ISO 8601 form, with its offset, or None if it is none.

    Example:
        >>> iso_instant("2026-01-09T16:00Z").hour, iso_instant("2026-01-09T16:00")
        (16, None)
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def time_order(text: str) -> str | None:
    """Return what sorts a date or an hour by time, given its text in a key; None if it is neither.

    Example:
        >>> time_order("2026-01-09"), time_order("2026-01-09T01:00+01:00"), time_order("T1")
        ('2026-01-09', '2026-01-09T00:00:00+00:00', None)
    """
    if not _DATE_OR_HOUR.match(text):
        return None
    if "T" not in text:
        return text
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):  # there is no such hour
        return None


def weekday_number(name: object, what: str) -> int:
    """Return 0 for ``MON`` (or ``Monday``) to 6 for ``SUN``; case does not matter.

    Raises:
        CalendarError: No such day.

    Example:
        >>> weekday_number("FRI", "ends_on")
        4
    """
    text = name.strip().upper() if isinstance(name, str) else ""
    for number, long in enumerate(_LONG_NAMES):
        if text in (WEEKDAY_NAMES[number], long.upper()):
            return number
    raise CalendarError(f"{what}={name!r} is not a day of the week; use one of {', '.join(WEEKDAY_NAMES)}")


def month_number(name: object, what: str) -> int:
    """Return 1 for ``JAN`` (or ``January``) to 12 for ``DEC``; case does not matter.

    Raises:
        CalendarError: No such month.

    Example:
        >>> month_number("JUN", "ends_in")
        6
    """
    from calendar import month_name

    text = name.strip().upper() if isinstance(name, str) else ""
    for number, short in enumerate(MONTH_NAMES, start=1):
        if text in (short, month_name[number].upper()):
            return number
    raise CalendarError(f"{what}={name!r} is not a month; use one of {', '.join(MONTH_NAMES)}")


def weekday_name(day: date) -> str:
    """Return the English name of the weekday: ``Friday``."""
    return _LONG_NAMES[day.weekday()]


def parse_weekmask(text: object) -> frozenset[int]:
    """Read ``MON-FRI``, ``SUN-THU``, ``MON,WED,FRI`` or ``1111100`` into numbers of weekdays, 0 for Monday.

    Raises:
        CalendarError: The text is not of that form, or has no open weekday.

    Example:
        >>> sorted(parse_weekmask("SUN-TUE"))
        [0, 1, 6]
    """
    if not isinstance(text, str) or not text.strip():
        raise CalendarError(f"weekmask={text!r} is empty; write the open weekdays, such as 'MON-FRI' or 'SUN-THU'")
    if len(text) == 7 and set(text) <= {"0", "1"}:
        open_days = frozenset(i for i, flag in enumerate(text) if flag == "1")
    else:
        days: set[int] = set()
        for part in text.replace(" ", ",").split(","):
            if part:
                first, dash, last = part.partition("-")
                low = weekday_number(first, "weekmask")
                high = weekday_number(last, "weekmask") if dash else low
                days.update((low + i) % 7 for i in range((high - low) % 7 + 1))
        open_days = frozenset(days)
    if not open_days:
        raise CalendarError(f"weekmask={text!r} has no open weekday; write for instance 'MON-FRI'")
    return open_days


def weekmask_text(open_days: frozenset[int]) -> str:
    """Write numbers of weekdays as seven flags from Monday.

    Example:
        >>> weekmask_text(frozenset({0, 4}))
        '1000100'
    """
    return "".join("1" if i in open_days else "0" for i in range(7))


def parse_bounds(
    name: str, first: date | str | None, last: date | str | None, low: date, high: date
) -> tuple[int, int]:
    """Return the ordinals of the first and last day that a calendar knows, by default those of ``low`` and ``high``."""
    first = low if first is None else parse_date(first, "first")
    last = high if last is None else parse_date(last, "last")
    if first > last:
        raise CalendarError(f"the calendar {name!r} has first={first} after last={last}; swap them")
    return first.toordinal(), last.toordinal()


class DateSequence(Sequence[date]):
    """A lazy sequence of dates: positions, and a function from position to ordinal.

    Args:
        ordinal_at: The proleptic Gregorian ordinal at a position.
        positions: Which positions, in which order.
        value: The date of an ordinal.

    Example:
        >>> list(DateSequence(lambda i: 734802 + 3 * i, range(2)))
        [datetime.date(2012, 10, 26), datetime.date(2012, 10, 29)]
    """

    __slots__ = ("_ordinal_at", "_positions", "_value")

    def __init__(
        self, ordinal_at: Callable[[int], int], positions: range, value: Callable[[int], date] = date.fromordinal
    ) -> None:
        self._ordinal_at = ordinal_at
        self._positions = positions
        self._value = value

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> date: ...
    @overload
    def __getitem__(self, index: slice) -> DateSequence: ...
    def __getitem__(self, index: int | slice) -> date | DateSequence:
        if isinstance(index, slice):
            return DateSequence(self._ordinal_at, self._positions[index], self._value)
        return self._value(self._ordinal_at(self._positions[index]))

    def __iter__(self) -> Iterator[date]:
        at, value = self._ordinal_at, self._value
        return (value(at(position)) for position in self._positions)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        if not self:
            return "<no dates>"
        return f"<{len(self)} dates from {self[0].isoformat()} to {self[-1].isoformat()}>"
