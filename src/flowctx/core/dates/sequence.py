"""AsOfDates: the as-of dates of a cadence as a sequence: counted, numbered, found, and explained where not found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, overload

from flowctx.core.dates.calendar import BusinessCalendar, get_calendar
from flowctx.core.dates.parsing import DateSequence, check_date, parse_date
from flowctx.core.dates.periods import Axis
from flowctx.core.dates.zones import get_zone, zone_name
from flowctx.core.errors import CalendarError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

# Room for a quarter on either side of the dates that Python knows.
EARLIEST: Final = date.min.toordinal() + 100
LATEST: Final = date.max.toordinal() - 100


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
    #: Name of a business calendar, or one of your own.
    calendar: str | BusinessCalendar
    #: IANA name of the zone whose local days make the windows.
    timezone: str
    #: Wall-clock time from the end of a window to the moment at which its run is due.
    delay: timedelta

    def __init__(
        self,
        *,
        start: date | str,
        end: date | str | None = None,
        calendar: str | BusinessCalendar = "EVERY_DAY",
        timezone: str | ZoneInfo = "UTC",
        delay: timedelta = timedelta(0),
    ) -> None:
        first = parse_date(start, "start")
        last = None if end is None else parse_date(end, "end")
        if last is not None and first > last:
            raise CalendarError(f"start={first} is after end={last}; swap them, or leave end out to go on for ever")
        if not isinstance(calendar, str | BusinessCalendar) or not calendar:
            raise CalendarError(f"calendar={calendar!r}; pass a name such as 'XNYS', or a BusinessCalendar")
        if not isinstance(delay, timedelta) or delay < timedelta(0):
            raise CalendarError(f"delay={delay!r}; a run is due after its window: pass timedelta(0) or more")
        values: dict[str, Any] = {"start": first, "end": last, "timezone": zone_name(timezone), "delay": delay}
        if isinstance(calendar, BusinessCalendar) and calendar.reloadable:
            # Kept by name, so that cadences are equal however the calendar was passed; and not loaded again.
            values |= {"business_calendar": calendar, "calendar": calendar.name}
        else:
            values |= {"calendar": calendar}
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
    def _horizon(self) -> tuple[int, int]:
        """First and last day for which the as-of dates are known."""
        return self._axis.known_range() or (EARLIEST, LATEST)

    @cached_property
    def _base(self) -> int:
        """Position on the axis of the first entry."""
        self._known(self.start, "start")
        return self._axis.position(self.start.toordinal())

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
        return None if known_range is None else date.fromordinal(known_range[1])

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
        if until is None:
            until = self.end
            if until is None:
                raise CalendarError(f"{self!r} has no end, so it cannot be counted; pass until=, or give it an end=")
        check_date(until, "until")
        if self.end is not None and until > self.end:
            until = self.end
        if until < self.start:
            return 0
        base = self._base
        self._known(until, "until")
        return max(0, self._axis.position(until.toordinal() + 1) - base)

    def __len__(self) -> int:
        length = self._length
        return self.count() if length is None else length

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
            return DateSequence(self._ordinal_at, picked)
        if index < 0 or length is not None:
            size = len(self)
            if not -size <= index < size:
                raise IndexError(f"index {index} is out of range: this cadence has {size} as-of dates")
            index %= size
        return date.fromordinal(self._ordinal_at(index))

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
        if self._length is not None and index >= self._length:
            return None
        try:
            return self._ordinal_at(index)
        except CalendarError:
            return None

    def __iter__(self) -> Iterator[date]:
        length, index = self._length, 0
        while length is None or index < length:
            yield date.fromordinal(self._ordinal_at(index))
            index += 1

    def __contains__(self, as_of: object) -> bool:
        return self._find(as_of) is not None if isinstance(as_of, date) else False

    def _find(self, as_of: date) -> int | None:
        check_date(as_of, "as_of")
        if as_of < self.start or (self.end is not None and as_of > self.end):
            return None
        self._known(as_of, "as_of")
        position = self._axis.position(as_of.toordinal())
        return position - self._base if self._axis.position(as_of.toordinal() + 1) > position else None

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
        check_date(a, "a")
        low = 0 if a <= self.start else self.count(a - timedelta(days=1))
        return range(low, max(low, self.count(b)))

    # -- errors -------------------------------------------------------------------------------------------------

    def _known(self, d: date, what: str) -> None:
        """Refuse a day of which the calendar says nothing."""
        low, high = self._horizon
        if not low <= d.toordinal() <= high:
            calendar = self.business_calendar
            first, last = date.fromordinal(low), date.fromordinal(high)
            raise CalendarError(
                f"{what}={d} is outside what is known of the calendar {calendar.name} ({calendar.version}) here: "
                f"{first} to {last}; start on or after {first}, and give the cadence an end= by {last}"
            )

    def explain(self, as_of: date) -> str:
        """Say in one sentence why a date is not one of the as-of dates, and which ones are near.

        Example:
            >>> from flowctx import Daily
            >>> Daily(start="2012-01-01", calendar="WEEKDAYS").explain(date(2012, 10, 27))
            '2012-10-27 is a Saturday, a weekend day in WEEKDAYS: sessions around it are 2012-10-26 and 2012-10-29'
        """
        check_date(as_of, "as_of")
        if as_of < self.start:
            return f"{as_of} is before the start {self.start}; the first as-of date is {self[0] if self else 'none'}"
        if self.end is not None and as_of > self.end:
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
        index = self.count(d - timedelta(days=1))
        around = [self._entry(i) for i in (index - 1, index) if i >= 0]
        return [date.fromordinal(o) for o in around if o is not None]
