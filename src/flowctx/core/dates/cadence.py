"""Daily, Weekly, Monthly, Quarterly: how business dates follow each other, their windows, and when they are due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypedDict, Unpack, get_args

from flowctx.core.dates.calendar import BusinessCalendar
from flowctx.core.dates.parsing import WEEKDAY_NAMES, check_date, weekday_name, weekday_number
from flowctx.core.dates.periods import Axis, LastSessions, Months, PeriodEnds, Periods, SessionDays, Weeks
from flowctx.core.dates.sequence import EARLIEST, LATEST, AsOfDates
from flowctx.core.dates.zones import Window, check_aware, first_instant, resolve_wall_time
from flowctx.core.errors import CalendarError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = ["Cadence", "Daily", "Monthly", "NamedBy", "Quarterly", "Weekly", "Window"]

#: Which day names a week, month or quarter: its last day, or its last session in the calendar.
NamedBy = Literal["period_end", "last_session"]


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

    Use :class:`Daily`, :class:`Weekly`, :class:`Monthly` or :class:`Quarterly`.
    """

    #: The name of the kind in serialised form.
    kind: ClassVar[str] = ""

    # -- windows and due times ----------------------------------------------------------------------------------

    def window(self, as_of: date) -> Window:
        """Return the half-open window of data that an as-of date stands for, in the cadence's zone.

        Raises:
            CalendarError: It is not one of the as-of dates.

        Example:
            >>> Weekly(start="2012-01-01").window(date(2012, 1, 13)).start.isoformat()
            '2012-01-07T00:00:00+00:00'
        """
        self.index(as_of)
        first, after = self._axis.window(as_of.toordinal())
        return Window(*(first_instant(date.fromordinal(day), self.zone) for day in (first, after)))

    def due(self, as_of: date) -> datetime:
        """Return when the run of an as-of date is due: the end of its window plus the delay, by the wall clock.

        06:00 stays 06:00 when clocks change; a time that does not exist is the next one that does, and of two
        that look the same it is the first.

        Raises:
            CalendarError: It is not one of the as-of dates.

        Example:
            >>> Daily(start="2026-03-01", timezone="America/New_York",
            ...       delay=timedelta(hours=6)).due(date(2026, 3, 7)).isoformat()
            '2026-03-08T06:00:00-04:00'
        """
        self.index(as_of)
        return self._due(as_of.toordinal())

    def _due(self, as_of: int) -> datetime:
        _, after = self._axis.window(as_of)
        return resolve_wall_time(datetime.combine(date.fromordinal(after), time()) + self.delay, self.zone)

    def due_count(self, now: datetime) -> int:
        """Count the as-of dates that are due at ``now``: the ``n`` first ones, since due times are in order.

        Args:
            now: Any aware datetime.

        Raises:
            CalendarError: ``now`` is naive, or further ahead than the calendar is known.

        Example:
            >>> from datetime import UTC
            >>> Daily(start="2012-01-01").due_count(datetime(2012, 1, 4, tzinfo=UTC))
            3
        """
        local = check_aware(now, "now").astimezone(self.zone).replace(tzinfo=None)
        # Windows that end by this day have due times up to about now; clock changes shift that by an entry at most.
        if local.toordinal() - self.delay.days < EARLIEST:
            return 0
        unit = self._axis.period_start((local - self.delay).toordinal())
        count = self.count(date.fromordinal(unit - 1))
        while (as_of := self._entry(count)) is not None and self._due(as_of) <= now:
            count += 1
        while count and self._due(self._ordinal_at(count - 1)) > now:
            count -= 1
        return count

    def first_due_after(self, now: datetime) -> date | None:
        """Return the first as-of date that is due strictly after ``now``, or None after the end.

        Example:
            >>> from datetime import UTC
            >>> Daily(start="2012-01-01").first_due_after(datetime(2012, 1, 4, tzinfo=UTC))
            datetime.date(2012, 1, 4)
        """
        count = self.due_count(now)
        return None if self._length is not None and count >= self._length else self[count]

    def latest_due(self, now: datetime) -> date | None:
        """Return the last as-of date that is due at ``now``, or None before the first.

        Example:
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
            >>> Weekly(start="2012-01-01").containing(date(2012, 1, 9))
            datetime.date(2012, 1, 13)
        """
        ordinal = check_date(d, "d").toordinal()
        if not EARLIEST <= ordinal <= LATEST:
            return None
        base, axis = self._base, self._axis
        entry = self._entry(max(0, axis.position(axis.period_start(ordinal)) - base))
        if entry is None and not (self.end is not None and d > self.end):
            self._known(d, "d")
        if entry is None:
            return None
        first, after = axis.window(entry)
        return date.fromordinal(entry) if first <= ordinal < after else None

    # -- writing it down ----------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; :meth:`from_dict` reads it back.

        Example:
            >>> Daily(start="2012-01-01").to_dict()["start"]
            '2012-01-01'
        """
        data: dict[str, Any] = {"kind": self.kind} | {f.name: getattr(self, f.name) for f in fields(self)}
        data["start"] = self.start.isoformat()
        data["end"] = None if self.end is None else self.end.isoformat()
        data["calendar"] = self.calendar if isinstance(self.calendar, str) else self.calendar.to_dict()
        data["delay_seconds"] = data.pop("delay").total_seconds()
        return data

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Cadence:
        """Read back what :meth:`to_dict` wrote; nothing is imported because the data says so.

        Raises:
            CalendarError: The data is not of that form.

        Example:
            >>> daily = Daily(start="2012-01-03", calendar="XNYS")
            >>> Cadence.from_dict(daily.to_dict()) == daily
            True
        """
        try:
            values = dict(data)
            kind = _KINDS[values.pop("kind")]
            values["delay"] = timedelta(seconds=values.pop("delay_seconds"))
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
        arguments = {f.name: getattr(self, f.name) for f in fields(self)}
        shown = {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in arguments.items()
            if name == "start" or value != _DEFAULTS.get(name, MISSING)
        }
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), {f.name: getattr(self, f.name) for f in fields(self)})


def _unpickle(kind: type[Cadence], values: dict[str, Any]) -> Cadence:
    return kind(**values)


class _Common(TypedDict, total=False):
    """What every cadence takes beside its start."""

    end: date | str | None
    calendar: str | BusinessCalendar
    timezone: str | ZoneInfo
    delay: timedelta


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Daily(Cadence):
    """One as-of date for every session of the calendar; its window is that local day.

    A window lasts 24 hours, or 23 or 25 where clocks change. A closed day belongs to no window.

    Args:
        start: First date that may be an as-of date: a date, or ISO text.
        end: Last one; None goes on for ever.
        calendar: Name of a business calendar (``EVERY_DAY``, ``WEEKDAYS``, ``XNYS``), or one of your own.
        timezone: IANA name of the zone whose days these are.
        delay: Wall-clock time from the end of a window to when its run is due.

    Raises:
        CalendarError: Something of this cannot be; the message says what to write.

    Example:
        >>> sessions = Daily(start="2012-10-26", end="2012-10-31", calendar="WEEKDAYS", timezone="America/New_York")
        >>> len(sessions), sessions[1].isoformat(), sessions.window(sessions[1]).start.isoformat()
        (4, '2012-10-29', '2012-10-29T00:00:00-04:00')
    """

    kind: ClassVar[str] = "daily"

    @cached_property
    def _axis(self) -> Axis:
        return SessionDays(self.business_calendar)


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class _Periodic(Cadence):
    """A cadence of whole periods, whose windows tile time."""

    #: The day that names a period.
    as_of: NamedBy

    def __init__(self, *, start: date | str, as_of: NamedBy = "period_end", **common: Unpack[_Common]) -> None:
        super().__init__(start=start, **common)
        if as_of not in get_args(NamedBy):
            raise CalendarError(f"as_of={as_of!r}; use 'period_end' (the last day) or 'last_session' (of the calendar)")
        self.__dict__["as_of"] = as_of

    @cached_property
    def _periods(self) -> Periods:
        raise NotImplementedError  # pragma: no cover - each kind has its own

    @cached_property
    def _axis(self) -> Axis:
        if self.as_of == "period_end":
            return PeriodEnds(self._periods)
        return LastSessions(self._periods, self.business_calendar)

    def _unit_name(self) -> str:
        return {"weekly": "week", "monthly": "month"}.get(self.kind, "quarter")

    def _explain(self, as_of: date) -> str:
        day, unit = f"{as_of} is a {weekday_name(as_of)}", self._unit_name()
        around = self.neighbours(as_of)
        if not around:
            return f"{day}, and {self!r} has no as-of date near it"
        if self.as_of == "last_session":
            named = self.containing(as_of)
            why = f"its {unit} has no session" if named is None else f"its {unit} is named by its last session, {named}"
            near = " and ".join(str(d) for d in around)
            return f"{day}; in {self.business_calendar.name} {why}; as-of dates around it are {near}"
        likely = min(around, key=lambda d: abs(d - as_of))
        other = "".join(f" (or {d})" for d in around if d != likely)
        return f"{day}, and {self._naming()}: {likely} was probably meant{other}"

    def _naming(self) -> str:
        return f"a {self._unit_name()} is named by its last day"


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Weekly(_Periodic):
    """One as-of date a week, and windows of whole weeks that tile time.

    Args:
        start: First date that may be an as-of date: a date, or ISO text.
        ends_on: The last day of each week: ``MON`` to ``SUN``.
        as_of: ``period_end`` names a week by that day whatever the calendar says of it; ``last_session`` names it
            by its last session. A week without any session (Tokyo, 2019-04-27 to 05-03) then has no as-of date
            and, like a closed day, belongs to no window.
        **common: ``end``, ``calendar``, ``timezone`` and ``delay``, as for :class:`Daily`.

    Raises:
        CalendarError: Something of this cannot be; the message says what to write.

    Example:
        >>> weeks = Weekly(start="2026-01-01", timezone="America/New_York")
        >>> [day.isoformat() for day in weeks[:2]], weeks.window(weeks[0]).start.isoformat()
        (['2026-01-02', '2026-01-09'], '2025-12-27T00:00:00-05:00')
    """

    kind: ClassVar[str] = "weekly"
    #: The last day of each week.
    ends_on: str

    def __init__(
        self,
        *,
        start: date | str,
        ends_on: str = "FRI",
        as_of: NamedBy = "period_end",
        **common: Unpack[_Common],
    ) -> None:
        super().__init__(start=start, as_of=as_of, **common)
        self.__dict__["ends_on"] = WEEKDAY_NAMES[weekday_number(ends_on, "ends_on")]

    @cached_property
    def _periods(self) -> Periods:
        return Weeks(WEEKDAY_NAMES.index(self.ends_on))

    def _naming(self) -> str:
        return f"weeks with ends_on={self.ends_on!r} are named by that day"


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Monthly(_Periodic):
    """One as-of date a calendar month, and windows of whole months that tile time.

    Args:
        start: First date that may be an as-of date: a date, or ISO text.
        as_of: ``period_end`` names a month by its last day, ``last_session`` by its last session.
        **common: ``end``, ``calendar``, ``timezone`` and ``delay``, as for :class:`Daily`.

    Example:
        >>> Monthly(start="2012-02-01", as_of="last_session", calendar="WEEKDAYS")[1].isoformat()
        '2012-03-30'
    """

    kind: ClassVar[str] = "monthly"

    @cached_property
    def _periods(self) -> Periods:
        return Months(1)


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Quarterly(_Periodic):
    """One as-of date a calendar quarter, and windows of whole quarters that tile time.

    Args:
        start: First date that may be an as-of date: a date, or ISO text.
        as_of: ``period_end`` names a quarter by its last day, ``last_session`` by its last session.
        **common: ``end``, ``calendar``, ``timezone`` and ``delay``, as for :class:`Daily`.

    Example:
        >>> Quarterly(start="2012-02-01")[0].isoformat()
        '2012-03-31'
    """

    kind: ClassVar[str] = "quarterly"

    @cached_property
    def _periods(self) -> Periods:
        return Months(3)
