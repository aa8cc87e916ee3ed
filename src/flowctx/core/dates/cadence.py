"""Hourly, Daily, Weekly, Monthly, Quarterly, Yearly: how business dates follow each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import ClassVar, Literal, Unpack, get_args

from flowctx.core.dates.hourly import Hourly
from flowctx.core.dates.parsing import MONTH_NAMES, WEEKDAY_NAMES, month_number, weekday_name, weekday_number
from flowctx.core.dates.periods import Axis, LastSessions, Months, PeriodEnds, Periods, SessionDays, Weeks
from flowctx.core.dates.windows import Cadence, CommonOptions
from flowctx.core.dates.zones import Window, skipped_days
from flowctx.core.errors import CalendarError

__all__ = ["Cadence", "Daily", "Hourly", "Monthly", "NamedBy", "Quarterly", "Weekly", "Window", "Yearly"]

#: Which day names a week, month, quarter or year: its last day, or its last session in the calendar.
NamedBy = Literal["period_end", "last_session"]


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Daily(Cadence):
    """One as-of date for every session of the calendar; its window is that local day.

    A window lasts 24 hours, or 23 or 25 where clocks change. A closed day belongs to no window, and a day that the zone
    left out (``Pacific/Apia``, 2011-12-30) is no as-of date.

    Args:
        start: First date that may be an as-of date: a date, or ISO text.
        end: Last one; None goes on for ever.
        calendar: Name of a business calendar (``EVERY_DAY``, ``WEEKDAYS``, ``XNYS``), or one of your own.
        timezone: IANA name of the zone whose days these are.
        delay: Wall-clock time from the end of a window to when its run is due; for delays that differ by a static
            dimension, ``{"tier": {"T1": timedelta(weeks=2), "OTC": timedelta(weeks=4)}}``.
        due: When a run is due on the as-of date itself, instead: ``17:00`` by the clocks of the zone, or ``close`` or
            ``close + 30min`` after the session ends, half days included, where the calendar knows closing times.

    Raises:
        CalendarError: Something of this cannot be; the message says what to write.

    Example:
        >>> sessions = Daily(start="2012-10-26", end="2012-10-31", calendar="WEEKDAYS", timezone="America/New_York")
        >>> len(sessions), sessions[1].isoformat(), sessions.window(sessions[1]).start.isoformat()
        (4, '2012-10-29', '2012-10-29T00:00:00-04:00')
    """

    kind: ClassVar[str] = "daily"

    def __init__(self, *, start: date | str, **common: Unpack[CommonOptions]) -> None:
        super().__init__(start=start, **common)

    @cached_property
    def _axis(self) -> Axis:
        return SessionDays.of(self.business_calendar, self.zone)

    def _explain(self, as_of: date) -> str:
        if as_of.toordinal() not in skipped_days(self.zone):
            return super()._explain(as_of)
        around = " and ".join(str(day) for day in self.neighbours(as_of))
        return f"{as_of} was left out by the clocks of {self.timezone}; as-of dates around it are {around}"


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class _Periodic(Cadence):
    """A cadence of whole periods, whose windows tile time; a period that has no as-of date leaves a gap."""

    #: The day that names a period.
    as_of: NamedBy

    def __init__(self, *, start: date | str, as_of: NamedBy = "period_end", **common: Unpack[CommonOptions]) -> None:
        super().__init__(start=start, **common)
        if as_of not in get_args(NamedBy):
            raise CalendarError(f"as_of={as_of!r}; use 'period_end' (the last day) or 'last_session' (of the calendar)")
        if self.due_at is not None and self.due_at.after_close and as_of == "period_end":
            raise CalendarError(
                f"due={str(self.due_at)!r} is after a session, and as_of='period_end' need not be one; "
                "pass as_of='last_session'"
            )
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
        return {"weekly": "week", "monthly": "month", "yearly": "year"}.get(self.kind, "quarter")

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
        **common: ``end``, ``calendar``, ``timezone``, ``delay`` and ``due``, as for :class:`Daily`.

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
        self, *, start: date | str, ends_on: str = "FRI", as_of: NamedBy = "period_end", **common: Unpack[CommonOptions]
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
        **common: ``end``, ``calendar``, ``timezone``, ``delay`` and ``due``, as for :class:`Daily`.

    Example:
        >>> Monthly(start="2012-02-01", as_of="last_session", calendar="WEEKDAYS")[1].isoformat()
        '2012-03-30'
    """

    kind: ClassVar[str] = "monthly"

    def __init__(self, *, start: date | str, as_of: NamedBy = "period_end", **common: Unpack[CommonOptions]) -> None:
        super().__init__(start=start, as_of=as_of, **common)

    @cached_property
    def _periods(self) -> Periods:
        return Months(1)


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Quarterly(_Periodic):
    """One as-of date a calendar quarter, and windows of whole quarters that tile time.

    Args:
        start: First date that may be an as-of date: a date, or ISO text.
        as_of: ``period_end`` names a quarter by its last day, ``last_session`` by its last session.
        **common: ``end``, ``calendar``, ``timezone``, ``delay`` and ``due``, as for :class:`Daily`.

    Example:
        >>> Quarterly(start="2012-02-01")[0].isoformat()
        '2012-03-31'
    """

    kind: ClassVar[str] = "quarterly"

    def __init__(self, *, start: date | str, as_of: NamedBy = "period_end", **common: Unpack[CommonOptions]) -> None:
        super().__init__(start=start, as_of=as_of, **common)

    @cached_property
    def _periods(self) -> Periods:
        return Months(3)


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Yearly(_Periodic):
    """One as-of date a year, and windows of whole years that tile time.

    Args:
        start: First date that may be an as-of date: a date, or ISO text.
        ends_in: The month with whose last day a year ends: ``DEC`` for calendar years, ``JUN`` for a fiscal year.
        as_of: ``period_end`` names a year by its last day, ``last_session`` by its last session.
        **common: ``end``, ``calendar``, ``timezone``, ``delay`` and ``due``, as for :class:`Daily`.

    Example:
        >>> fiscal = Yearly(start="2012-01-01", ends_in="JUN")
        >>> fiscal[0].isoformat(), fiscal.window(fiscal[0]).start.date().isoformat()
        ('2012-06-30', '2011-07-01')
    """

    kind: ClassVar[str] = "yearly"
    #: The last month of each year.
    ends_in: str

    def __init__(
        self, *, start: date | str, ends_in: str = "DEC", as_of: NamedBy = "period_end", **common: Unpack[CommonOptions]
    ) -> None:
        super().__init__(start=start, as_of=as_of, **common)
        self.__dict__["ends_in"] = MONTH_NAMES[month_number(ends_in, "ends_in") - 1]

    @property
    def first_month(self) -> int:
        """The number of the month with which each year begins: 7 where it ends in June."""
        return (MONTH_NAMES.index(self.ends_in) + 1) % 12 + 1

    @cached_property
    def _periods(self) -> Periods:
        return Months(12, self.first_month - 1)

    def _naming(self) -> str:
        return f"years with ends_in={self.ends_in!r} are named by their last day"
