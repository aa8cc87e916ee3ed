"""AsOfDates: the as-of dates of a cadence as a sequence: counted, numbered, found, and explained where not found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, Never, overload

from flowctx.core.dates.calendar import BusinessCalendar, get_calendar
from flowctx.core.dates.calendar_names import library_name
from flowctx.core.dates.due_rules import Delays, DueRule, parse_delay
from flowctx.core.dates.parsing import DateSequence, check_date, iso_date, month_or_year, parse_date
from flowctx.core.dates.periods import Axis
from flowctx.core.dates.zones import get_zone, zone_name
from flowctx.core.errors import CalendarError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import time, timedelta
    from zoneinfo import ZoneInfo

# Room for a year on either side of the dates that Python knows.
EARLIEST: Final = date.min.toordinal() + 400
LATEST: Final = date.max.toordinal() - 400


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class AsOfDates(Sequence[date]):
    """An ordered sequence of as-of dates; see :class:`flowctx.core.dates.cadence.Cadence`.

    The first entry is the first as-of date on or after ``start``; with an ``end``, the last one is the last on or
    before it. Without an ``end`` the sequence has no length, and whatever counts it takes an ``until``. The calendar
    is loaded when it is first needed, not when the cadence is made.
    """

    #: No as-of date is before it.
    start: date
    #: No as-of date is after it; None goes on for ever.
    end: date | None
    #: Name of a business calendar (of an alias, the name that it stands for), or one of your own.
    calendar: str | BusinessCalendar
    #: IANA name of the zone whose local days make the windows.
    timezone: str
    #: Wall-clock time from the end of a window to the moment at which its run is due; by the values of a dimension.
    delay: timedelta | Delays
    #: When a run is due on the as-of date itself, such as ``17:00`` or ``close + 30min``; None is after the window.
    due_at: DueRule | None

    def __init__(
        self,
        *,
        start: date | str,
        end: date | str | None = None,
        calendar: str | BusinessCalendar = "EVERY_DAY",
        timezone: str | ZoneInfo = "UTC",
        delay: timedelta | Delays | Mapping[str, Mapping[str, timedelta]] | None = None,
        due: str | time | None = None,
        due_at: DueRule | None = None,
        **unknown: Never,
    ) -> None:
        if unknown:  # Python would say so of this class, which nobody has named
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {next(iter(unknown))!r}")
        rule = due_at if due is None else DueRule.parse(due)  # dataclasses.replace passes fields by their names
        first = parse_date(start, "start")
        last = None if end is None else parse_date(end, "end")
        if last is not None and first > last:
            raise CalendarError(f"start={first} is after end={last}; swap them, or leave end out to go on for ever")
        if not isinstance(calendar, str | BusinessCalendar) or not calendar:
            raise CalendarError(f"calendar={calendar!r}; pass a name such as 'XNYS', or a BusinessCalendar")
        values: dict[str, Any] = {"start": first, "end": last, "timezone": zone_name(timezone)}
        values |= {"delay": parse_delay(delay), "due_at": rule}
        if rule is not None and values["delay"]:
            raise CalendarError(f"due={str(rule)!r} says when runs are due, and so does delay=; pass one of them")
        if isinstance(calendar, BusinessCalendar) and calendar.reloadable:
            # Kept by name, so that cadences are equal however the calendar was passed; and not loaded again.
            values |= {"business_calendar": calendar, "calendar": calendar.name}
        else:
            values |= {"calendar": library_name(calendar) if isinstance(calendar, str) else calendar}
        self.__dict__.update(values)

    # -- what it is made of -------------------------------------------------------------------------------------

    @cached_property
    def business_calendar(self) -> BusinessCalendar:
        """The business calendar, loaded at first use.

        Raises:
            CalendarError: There is none of that name.
        """
        return get_calendar(self.calendar)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone of the windows."""
        return get_zone(self.timezone)

    @cached_property
    def _axis(self) -> Axis:
        raise NotImplementedError  # pragma: no cover - each kind has its own

    @cached_property
    def _known_range(self) -> tuple[int, int]:
        """First and last ordinal for which the as-of dates are known."""
        return self._axis.known_range() or (EARLIEST, LATEST)

    @cached_property
    def _base(self) -> int:
        """Position on the axis of the first entry."""
        start = self._first_of(self.start)
        self._known(start)
        return self._axis.position(start)

    @cached_property
    def _end(self) -> int | None:
        return None if self.end is None else self._last_of(self.end)

    @cached_property
    def _length(self) -> int | None:
        return None if self.end is None else self.count(self.end)

    @property
    def bounded(self) -> bool:
        """Whether there is an ``end``, and therefore a length."""
        return self.end is not None

    @property
    def known_until(self) -> date | None:
        """The last day up to which the as-of dates are known from the calendar; None if all are.

        Example:
            >>> from flowctx import Daily
            >>> Daily(start="2012-01-01", calendar="WEEKDAYS").known_until is None
            True
        """
        known_range = self._axis.known_range()
        return None if known_range is None else self._day(known_range[1])

    # -- values: dates by their ordinal; an hourly cadence has others ---------------------------------------------

    def _value(self, ordinal: int) -> date:
        """Return the as-of date with this ordinal."""
        return date.fromordinal(ordinal)

    def _text(self, ordinal: int) -> str:
        """Return the as-of date with this ordinal as it stands in keys."""
        return date.fromordinal(ordinal).isoformat()

    def _ordinal(self, value: date, what: str) -> int:
        """Return the ordinal of an as-of date."""
        return check_date(value, what).toordinal()

    def _first_of(self, value: date) -> int:
        """Return the first ordinal of a bound."""
        return self._ordinal(value, "a bound")

    def _last_of(self, value: date) -> int:
        """Return the last ordinal of a bound."""
        return self._ordinal(value, "a bound")

    def _day(self, ordinal: int) -> date:
        """Return the local day of an ordinal."""
        return date.fromordinal(ordinal)

    #: What to say of a text that :meth:`parse` cannot read.
    not_written: ClassVar[str] = "is not a date; write it as YYYY-MM-DD"

    def say_not_written(self, text: str) -> str:
        """Return what to say of a text that :meth:`parse` cannot read."""
        return self.not_written

    def text(self, as_of: date) -> str:
        """Return an as-of date as it stands in keys.

        Example:
            >>> from flowctx import Daily
            >>> Daily(start="2012-01-01").text(date(2012, 1, 3))
            '2012-01-03'
        """
        return self._text(self._ordinal(as_of, "as_of"))

    def parse(self, text: str) -> date | None:
        """Return the as-of date that a text in a key is, or None if it is not written like one.

        Example:
            >>> from flowctx import Daily
            >>> Daily(start="2012-01-01").parse("2012-01-03")
            datetime.date(2012, 1, 3)
        """
        return iso_date(text)

    def parse_bound(self, text: str) -> date | None:
        """Return the end of a range of as-of dates that a text is, or None if it is not written like one."""
        return iso_date(text)

    def parse_span(self, text: str) -> range:
        """Return the positions of the as-of dates that a text stands for together: those of a month or a year.

        Example:
            >>> from flowctx import Daily
            >>> Daily(start="2012-01-03", calendar="WEEKDAYS").parse_span("2012-02")
            range(21, 42)
        """
        span = month_or_year(text)
        return range(0) if span is None else self.indexes(*span)

    def goes_backwards(self, a: date, b: date) -> bool:
        """Tell whether a range from ``a`` to ``b`` ends before it starts."""
        return self._last_of(b) < self._first_of(a)

    # -- the sequence -------------------------------------------------------------------------------------------

    def count(self, until: date | None = None) -> int:
        """Count the as-of dates up to and including ``until``, without listing them.

        Args:
            until: Last as-of date to count; may be left out if the cadence has an ``end``.

        Raises:
            CalendarError: Neither ``until`` nor ``end`` is there, or the calendar does not reach that far.

        Example:
            >>> from flowctx import Daily
            >>> Daily(start="2012-10-01", calendar="WEEKDAYS").count(date(2012, 10, 31))
            23
        """
        until = self.end if until is None else until
        if until is None:
            raise CalendarError(f"{self!r} has no end, so it cannot be counted; pass until=, or give it an end=")
        return self._count(self._last_of(until))

    def _count(self, last: int) -> int:
        """Count the as-of dates up to and including an ordinal."""
        last = last if self._end is None else min(last, self._end)
        if last < self._first_of(self.start):
            return 0
        base = self._base
        self._known(last)
        return max(0, self._axis.position(last + 1) - base)

    def known_count(self, until: date) -> int:
        """Count the as-of dates up to and including ``until``, of those that are known of the calendar.

        Example:
            >>> from flowctx import BusinessCalendar, Daily
            >>> two = BusinessCalendar.from_sessions("TWO", ["2012-01-02", "2012-01-03"])
            >>> Daily(start="2012-01-02", calendar=two).known_count(date(2013, 1, 1))
            2
        """
        return self._count(min(self._last_of(until), self._known_range[1]))

    def known_count_before(self, bound: date) -> int:
        """Count the as-of dates before ``bound``, of those that are known of the calendar."""
        return self._count(min(self._first_of(bound) - 1, self._known_range[1]))

    def __len__(self) -> int:
        return self.count() if self._length is None else self._length

    def __bool__(self) -> bool:
        return self._length is None or self._length > 0

    @overload
    def __getitem__(self, index: int) -> date: ...
    @overload
    def __getitem__(self, index: slice) -> DateSequence: ...
    def __getitem__(self, index: int | slice) -> date | DateSequence:
        length = self._length
        if isinstance(index, slice):
            if length is None and (index.stop is None or index.stop < 0 or (index.start or 0) < 0):
                raise CalendarError(f"{self!r} has no end; slice it with a start and a stop counted from the front")
            picked = range(index.stop if length is None else length)[index]
            return DateSequence(self._ordinal_at, picked, self._value)
        if index < 0 or length is not None:
            size = len(self)
            if not -size <= index < size:
                raise IndexError(f"index {index} is out of range: this cadence has {size} as-of dates")
            index %= size
        return self._value(self._ordinal_at(index))

    def _ordinal_at(self, index: int) -> int:
        axis, base = self._axis, self._base
        try:
            return axis.at(base + index)
        except (IndexError, OverflowError, ValueError) as error:
            raise CalendarError(
                f"entry {index} of {self!r} is later than is known of its calendar; give the cadence an end="
            ) from (error if isinstance(error, CalendarError) else None)

    def _entry(self, index: int) -> int | None:
        """Return the ordinal of an entry, or None past the end or past what is known of the calendar."""
        try:
            ordinal = self._ordinal_at(index)
        except CalendarError:
            return None
        return None if self._end is not None and ordinal > self._end else ordinal

    def __iter__(self) -> Iterator[date]:
        length, index = self._length, 0
        while length is None or index < length:
            yield self._value(self._ordinal_at(index))
            index += 1

    def __contains__(self, as_of: object) -> bool:
        return self._find(as_of) is not None if isinstance(as_of, date) else False

    def _find(self, as_of: date) -> int | None:
        ordinal = self._ordinal(as_of, "as_of")
        if ordinal < self._first_of(self.start) or (self._end is not None and ordinal > self._end):
            return None
        self._known(ordinal)
        position = self._axis.position(ordinal)
        return position - self._base if self._axis.position(ordinal + 1) > position else None

    def index(self, as_of: date, start: int = 0, stop: int | None = None) -> int:
        """Return the position of an as-of date; ``cadence[i]`` inverts it.

        Raises:
            CalendarError: It is not one of the as-of dates; the message says why and which ones are near.

        Example:
            >>> from flowctx import Weekly
            >>> Weekly(start="2012-01-01").index(date(2012, 1, 13))
            1
        """
        found = self._find(as_of)
        if found is None:
            raise CalendarError(self.explain(as_of))
        if found < start or (stop is not None and found >= stop):
            raise CalendarError(f"{as_of} is entry {found}, not between {start} and {stop}")
        return found

    def indexes(self, a: date, b: date) -> range:
        """Return the positions of the as-of dates from ``a`` to ``b``, both included; neither need be one.

        Example:
            >>> from flowctx import Weekly
            >>> Weekly(start="2012-01-01").indexes(date(2012, 1, 7), date(2012, 1, 31))
            range(1, 4)
        """
        first = self._first_of(a)
        low = 0 if first <= self._first_of(self.start) else self._count(first - 1)
        return range(low, max(low, self.count(b)))

    # -- errors -------------------------------------------------------------------------------------------------

    def _known(self, ordinal: int) -> None:
        """Refuse a day of which the calendar says nothing."""
        low, high = self._known_range
        if not low <= ordinal <= high:
            calendar, day = self.business_calendar, self._day(ordinal)
            first, last = self._day(low), self._day(high)
            remedy = f"start on or after {first}, and give the cadence an end= by {last}, or use"
            if self._end is not None and self._end <= high < ordinal:
                remedy = f"how many dates ago the end={self.end} is, only the calendar says: use"
            raise CalendarError(
                f"{day} is outside what is known of the calendar {calendar.name} ({calendar.version}) here: "
                f"{first} to {last}; {remedy} an edition of the calendar that reaches further"
            )

    def explain(self, as_of: date) -> str:
        """Say in one sentence why a date is not one of the as-of dates, and which ones are near.

        Example:
            >>> from flowctx import Daily
            >>> Daily(start="2012-01-01", calendar="WEEKDAYS").explain(date(2012, 10, 27))
            '2012-10-27 is a Saturday, a weekend day in WEEKDAYS: sessions around it are 2012-10-26 and 2012-10-29'
        """
        ordinal = self._ordinal(as_of, "as_of")
        if ordinal < self._first_of(self.start):
            return f"{as_of} is before the start {self.start}; the first as-of date is {self[0] if self else 'none'}"
        if self._end is not None and ordinal > self._end:
            return f"{as_of} is after the end {self.end}; the last as-of date is {self[-1] if self else 'none'}"
        if self._find(as_of) is not None:
            return f"{as_of} is an as-of date of {self!r}"
        return self._explain(as_of)

    def _explain(self, as_of: date) -> str:
        return self.business_calendar.explain(as_of)

    def neighbours(self, d: date) -> list[date]:
        """Return the nearest as-of dates: the last before ``d`` and the first on or after it, where they are.

        Example:
            >>> from flowctx import Weekly
            >>> Weekly(start="2012-01-01").neighbours(date(2012, 1, 9))
            [datetime.date(2012, 1, 6), datetime.date(2012, 1, 13)]
        """
        index = self._count(self._first_of(d) - 1)
        around = [self._entry(i) for i in (index - 1, index) if i >= 0]
        return [self._value(o) for o in around if o is not None]
