"""Cadence: as-of dates with the window of data that each stands for, and when its run is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypedDict

from flowctx.core.dates.calendar import BusinessCalendar
from flowctx.core.dates.due_rules import Delays, DueRule
from flowctx.core.dates.moments import KEPT, Moments
from flowctx.core.dates.sequence import EARLIEST, LATEST, AsOfDates
from flowctx.core.dates.zones import Window, check_aware, first_instant, resolve_wall_time
from flowctx.core.errors import CalendarError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_KINDS: Final[dict[str, type[Cadence]]] = {}

_DEFAULTS: Final[dict[str, object]] = {
    "end": None,
    "calendar": "EVERY_DAY",
    "timezone": "UTC",
    "delay": timedelta(0),
    "as_of": "period_end",
}


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Cadence(AsOfDates):
    """An ordered sequence of as-of dates, each with a window of data and a due time.

    Use :class:`Hourly`, :class:`Daily`, :class:`Weekly`, :class:`Monthly`, :class:`Quarterly` or :class:`Yearly`.
    """

    #: The name of the kind in serialised form.
    kind: ClassVar[str] = ""

    # -- windows and due times ----------------------------------------------------------------------------------

    def window(self, as_of: date) -> Window:
        """Return the half-open window of data that an as-of date stands for, in the cadence's zone.

        Raises:
            CalendarError: It is not one of the as-of dates.

        Example:
            >>> from flowctx import Weekly
            >>> Weekly(start="2012-01-01").window(date(2012, 1, 13)).start.isoformat()
            '2012-01-07T00:00:00+00:00'
        """
        self.index(as_of)
        return self._window(self._ordinal(as_of, "as_of"))

    def _window(self, ordinal: int) -> Window:
        first, after = self._axis.window(ordinal)
        return Window(*(first_instant(date.fromordinal(day), self.zone) for day in (first, after)))

    def due(self, as_of: date) -> datetime:
        """Return when the run of an as-of date is due, in the cadence's zone.

        That is the end of its window plus the delay, or where the cadence says ``due``, that time of the as-of date
        itself, or so long after its session closes. 06:00 stays 06:00 when clocks change; a time that does not exist
        is the next one that does, and of two that look the same it is the first.

        Raises:
            CalendarError: It is not one of the as-of dates, the calendar has no closing times, or the delay differs by
                a dimension: then ask :meth:`PartitionScheme.due() <flowctx.PartitionScheme.due>`.

        Example:
            >>> from flowctx import Daily
            >>> Daily(start="2026-03-01", timezone="America/New_York",
            ...       delay=timedelta(hours=6)).due(date(2026, 3, 7)).isoformat()
            '2026-03-08T06:00:00-04:00'
            >>> Daily(start="2026-11-01", timezone="America/New_York", calendar="XNYS",
            ...       due="close + 30min").due(date(2026, 11, 27)).isoformat()
            '2026-11-27T13:30:00-05:00'
        """
        self.index(as_of)
        return self._due(self._ordinal(as_of, "as_of"))

    def moments(self, text: str) -> Moments:
        """Return the window and the due time of an as-of date: a batch asks for each day once for each of its keys.

        Args:
            text: The as-of date as it stands in keys: of two hours that clocks show alike, Python takes one for the
                other.

        Raises:
            CalendarError: As for :meth:`window` and :meth:`due`, or the text is no as-of date.
        """
        found = self._moments.get(text)
        if found is None:
            as_of = self.parse(text)
            if as_of is None:
                raise CalendarError(f"{text!r} {self.say_not_written(text)}")
            if len(self._moments) >= KEPT:
                self._moments.clear()
            found = self._moments[text] = Moments.of(as_of, self.window(as_of), self.due(as_of))
        return found

    @cached_property
    def _moments(self) -> dict[str, Moments]:
        return {}

    def due_wall_time(self, as_of: date) -> datetime:
        """Return what clocks of the zone are meant to show when the run is due, a time that they may leave out.

        Example:
            >>> from flowctx import Daily
            >>> Daily(start="2026-03-01", timezone="America/New_York",
            ...       delay=timedelta(hours=2, minutes=30)).due_wall_time(date(2026, 3, 7)).isoformat()
            '2026-03-08T02:30:00'
        """
        self.index(as_of)
        return self._due_wall_time(self._ordinal(as_of, "as_of"))

    @property
    def fixed_delay(self) -> timedelta:
        """The delay, where it is the same for all keys.

        Raises:
            CalendarError: It differs by a dimension.
        """
        if isinstance(self.delay, Delays):
            raise CalendarError(
                f"the delay differs by {self.delay.dimension}, so an as-of date alone is not due at one time; "
                "ask the scheme for that of a key: scheme.due(key)"
            )
        return self.delay

    def with_delay(self, delay: timedelta) -> Self:
        """Return the cadence with another delay, the same for all keys."""
        if delay not in self._delayed:
            self._delayed[delay] = type(self)(**self._options() | {"delay": delay})
        return self._delayed[delay]

    @cached_property
    def _delayed(self) -> dict[timedelta, Self]:
        return {}

    def _due(self, ordinal: int) -> datetime:
        if self.due_at is not None and self.due_at.after_close:
            close = self.business_calendar.known_closes().at(ordinal).astimezone(UTC)
            return (close + self.due_at.offset).astimezone(self.zone)
        return resolve_wall_time(self._due_wall_time(ordinal), self.zone)

    def _due_wall_time(self, ordinal: int) -> datetime:
        if self.due_at is None:
            _, after = self._axis.window(ordinal)
            return datetime.combine(date.fromordinal(after), time()) + self.fixed_delay
        if self.due_at.after_close:
            return self._due(ordinal).replace(tzinfo=None)
        return datetime.combine(date.fromordinal(ordinal), time()) + self.due_at.offset

    def due_count(self, now: datetime) -> int:
        """Count the as-of dates that are due at ``now``: the ``n`` first ones, since due times are in order.

        Args:
            now: Any aware datetime.

        Raises:
            CalendarError: ``now`` is naive, or further ahead than the calendar is known.

        Example:
            >>> from flowctx import Daily
            >>> from datetime import UTC
            >>> Daily(start="2012-01-01").due_count(datetime(2012, 1, 4, tzinfo=UTC))
            3
        """
        return self._due_count(now, self._latest_possible(check_aware(now, "now")))

    def known_due_count(self, now: datetime) -> int:
        """Count the as-of dates that are due at ``now``, of those that are known.

        After the last day of its calendar a cadence has no more as-of dates that are known; this one counts on, where
        :meth:`due_count` refuses to.

        Example:
            >>> from flowctx import Daily
            >>> from datetime import UTC
            >>> weekdays = BusinessCalendar.from_sessions("D", ["2012-01-02", "2012-01-03"])
            >>> Daily(start="2012-01-02", calendar=weekdays).known_due_count(datetime(2013, 1, 1, tzinfo=UTC))
            2
        """
        return self._due_count(now, min(self._latest_possible(check_aware(now, "now")), self._known_range[1]))

    def _latest_possible(self, now: datetime) -> int:
        """Return the ordinal up to which as-of dates may be due; clock changes shift that by an entry at most."""
        local = now.astimezone(self.zone).replace(tzinfo=None)
        if self.due_at is not None:
            return local.toordinal()
        # Windows that end by this day have due times up to about now.
        if local.toordinal() - self.fixed_delay.days < EARLIEST:
            return 0
        return self._axis.period_start((local - self.fixed_delay).toordinal()) - 1

    def _due_count(self, now: datetime, last: int) -> int:
        now = now.astimezone(UTC)  # two times of one zone would be compared by what clocks show
        count = self._count(last) if last >= self._first_of(self.start) else 0
        while (as_of := self._entry(count)) is not None and self._due(as_of) <= now:
            count += 1
        while count and self._due(self._ordinal_at(count - 1)) > now:
            count -= 1
        return count

    def first_due_after(self, now: datetime) -> date | None:
        """Return the first as-of date that is due strictly after ``now``, or None after the end.

        Example:
            >>> from flowctx import Daily
            >>> from datetime import UTC
            >>> Daily(start="2012-01-01").first_due_after(datetime(2012, 1, 4, tzinfo=UTC))
            datetime.date(2012, 1, 4)
        """
        count = self.due_count(now)
        return None if self._length is not None and count >= self._length else self[count]

    def latest_due(self, now: datetime) -> date | None:
        """Return the last as-of date that is due at ``now``, or None before the first.

        Example:
            >>> from flowctx import Daily
            >>> from datetime import UTC
            >>> Daily(start="2012-01-01").latest_due(datetime(2012, 1, 4, tzinfo=UTC))
            datetime.date(2012, 1, 3)
        """
        count = self.due_count(now)
        return self[count - 1] if count else None

    def containing(self, d: date) -> date | None:
        """Return the as-of date whose window contains the local day ``d``, or None.

        None is the answer for a closed day of a :class:`Daily`, for a period without any session under
        ``as_of="last_session"``, and before the first and after the last window.

        Example:
            >>> from flowctx import Weekly
            >>> Weekly(start="2012-01-01").containing(date(2012, 1, 9))
            datetime.date(2012, 1, 13)
        """
        ordinal = self._containing_ordinal(d)
        if not EARLIEST <= self._day(ordinal).toordinal() <= LATEST:
            return None
        base, axis = self._base, self._axis
        entry = self._entry(max(0, axis.position(axis.period_start(ordinal)) - base))
        if entry is None and not (self._end is not None and ordinal > self._end):
            self._known(ordinal)
        if entry is None:
            return None
        first, after = axis.window(entry)
        return self._value(entry) if first <= ordinal < after else None

    def within(self, window: Window) -> range:
        """Return the positions of the as-of dates whose windows lie in a window of the same zone.

        Windows of the cadence must lie wholly in it or outside: a week has days, and a month no weeks.

        Raises:
            CalendarError: The calendar does not reach to the window's end.

        Example:
            >>> from flowctx import Monthly, Daily
            >>> march = Monthly(start="2012-03-01").window(date(2012, 3, 31))
            >>> Daily(start="2012-03-01", calendar="WEEKDAYS").within(march)
            range(0, 22)
        """
        start, after = self._unit_of(window.start), self._unit_of(window.end)
        first, last = self._first_of(self.start), after - 1
        if self._end is not None:
            last = min(last, self._end)
        if last < max(first, start):
            beyond = self._length if self._length is not None and start > last else 0
            return range(beyond, beyond)
        self._known(last)
        low = self._axis.position(max(start, first)) - self._base
        return range(low, max(low, self._axis.position(last + 1) - self._base))

    def before(self, instant: datetime, n: int) -> range:
        """Return the positions of the ``n`` last as-of dates whose windows end by an instant of the same zone.

        They are counted as if the cadence had no start and no end, so that a date has no other predecessors because
        of where those are; positions that it does not have are left out.

        Raises:
            CalendarError: The calendar does not reach that far.

        Example:
            >>> from flowctx import Daily
            >>> days = Daily(start="2012-03-01", calendar="WEEKDAYS")
            >>> days.before(days.window(date(2012, 3, 6)).start, 20)
            range(0, 3)
        """
        start = self._axis.period_start(self._unit_of(instant))  # of the first window that goes on after the instant
        if start <= self._first_of(self.start):
            return range(0)
        self._known(start - 1)
        low = max(0, self._axis.position(start) - self._base - n)
        return range(low, max(low, self._count(start - 1)))

    def _unit_of(self, instant: datetime) -> int:
        """Return the ordinal of the local day, or of the hour, that an instant is in."""
        return instant.date().toordinal()

    def _containing_ordinal(self, d: date) -> int:
        return self._ordinal(d, "d")

    # -- writing it down ----------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; :meth:`from_dict` reads it back.

        Example:
            >>> from flowctx import Daily
            >>> Daily(start="2012-01-01").to_dict()["start"]
            '2012-01-01'
        """
        data: dict[str, Any] = {"kind": self.kind} | {f.name: getattr(self, f.name) for f in fields(self)}
        data["start"] = self.start.isoformat()
        data["end"] = None if self.end is None else self.end.isoformat()
        data["calendar"] = self.calendar if isinstance(self.calendar, str) else self.calendar.to_dict()
        delay, due = data.pop("delay"), data.pop("due_at")
        data["delay_seconds"] = delay.to_dict() if isinstance(delay, Delays) else delay.total_seconds()
        return data if due is None else data | {"due": str(due)}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Cadence:
        """Read back what :meth:`to_dict` wrote; nothing is imported because the data says so.

        Raises:
            CalendarError: The data is not of that form.

        Example:
            >>> from flowctx import Daily
            >>> daily = Daily(start="2012-01-03", calendar="XNYS")
            >>> Cadence.from_dict(daily.to_dict()) == daily
            True
        """
        try:
            values = dict(data)
            kind = _KINDS[values.pop("kind")]
            values["delay"] = _read_delay(values.pop("delay_seconds"))
            if isinstance(values["calendar"], Mapping):
                values["calendar"] = BusinessCalendar.from_dict(values["calendar"])
            return kind(**values)
        except CalendarError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            kinds = ", ".join(_KINDS)
            raise CalendarError(
                f"this is not a cadence written by to_dict(): {error!r}; the kinds are {kinds}"
            ) from None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.kind:
            _KINDS[cls.kind] = cls

    def __repr__(self) -> str:
        arguments = self._options()
        shown = {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in arguments.items()
            if name == "start" or value != _DEFAULTS.get(name, MISSING)
        }
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def _options(self) -> dict[str, Any]:
        """Return what the cadence was made with, under the names of the parameters."""
        arguments = {f.name: getattr(self, f.name) for f in fields(self)}
        due, delay = arguments.pop("due_at"), arguments["delay"]
        arguments["delay"] = {delay.dimension: dict(delay.values)} if isinstance(delay, Delays) else delay
        return arguments if due is None else arguments | {"due": str(due)}

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self._options())


def _read_delay(seconds: Any) -> timedelta | dict[str, dict[str, timedelta]]:
    if not isinstance(seconds, Mapping):
        return timedelta(seconds=seconds)
    return {name: {value: timedelta(seconds=s) for value, s in values.items()} for name, values in seconds.items()}


def _unpickle(kind: type[Cadence], values: dict[str, Any]) -> Cadence:
    return kind(**values)


class CommonOptions(TypedDict, total=False):
    """What every cadence takes beside its start."""

    end: date | str | None
    calendar: str | BusinessCalendar
    timezone: str | ZoneInfo
    delay: timedelta | Delays | Mapping[str, Mapping[str, timedelta]] | None
    due: str | time | None
    due_at: DueRule | None
