"""AsOf rules: from what an engine knows of a run's time to its business date; never from the wall clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from flowctx.core.dates.calendar import BusinessCalendar, get_calendar
from flowctx.core.dates.calendar_names import library_name
from flowctx.core.dates.parsing import iso_date
from flowctx.core.dates.zones import Window, check_aware, get_zone, last_day_before, local_date, zone_name
from flowctx.core.errors import CalendarError, ContextError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

#: Names of dimensions that hold a business date by convention, in the order in which they are tried.
DATE_DIMENSIONS: Final = (
    "as_of_date",
    "business_date",
    "date",
    "trade_date",
    "session",
    "day",
    "week_ending",
    "month_ending",
    "quarter_ending",
    "period_end",
)

_Kind = Literal["default", "window_start", "window_end", "last_session", "previous_session", "key"]


@dataclass(frozen=True, kw_only=True)
class RunTiming:
    """What an engine knows of the time of a run, in no engine's words; its moments are kept in UTC.

    Raises:
        CalendarError: A naive datetime, half a window, one that ends before it starts, or an unknown zone.

    Example:
        >>> from datetime import UTC
        >>> RunTiming(fired_at=datetime(2026, 11, 23, 1, 30, tzinfo=UTC), timezone="America/New_York").local_date
        datetime.date(2026, 11, 22)
    """

    #: IANA name of the schedule's own zone, in which dates are taken; None if the engine does not say it.
    timezone: str | None = "UTC"
    #: Why there is no zone, for the error of a rule that needs one.
    no_timezone: str = "the schedule does not say in which time zone its dates are"
    #: First instant of the data the run is about.
    window_start: datetime | None = None
    #: First instant after it; the same as the start if the engine knows an instant only.
    window_end: datetime | None = None
    #: The instant for which the schedule fired the run (not when it came to run).
    fired_at: datetime | None = None
    #: Whether the schedule fires several times a day, so that the date does not tell its runs apart.
    within_day: bool = False
    #: Whether the window is that of the partition, rather than of the run.
    window_of_partition: bool = False
    #: The run's partition.
    partition: PartitionKey | None = None
    #: The scheme of the partition.
    scheme: PartitionScheme | None = None

    def __post_init__(self) -> None:
        if self.timezone is not None:
            object.__setattr__(self, "timezone", zone_name(self.timezone))
        for name in ("window_start", "window_end", "fired_at"):
            moment = getattr(self, name)
            if moment is not None:  # in UTC: two times of one zone are compared by what clocks show
                object.__setattr__(self, name, check_aware(moment, name).astimezone(UTC))
        if (self.window_start is None) != (self.window_end is None):
            raise CalendarError("a window has both ends; pass window_start and window_end, or fired_at for an instant")
        if self.window_start and self.window_end and self.window_end < self.window_start:
            raise CalendarError(f"the window ends at {self.window_end}, before it starts at {self.window_start}")

    @property
    def zone(self) -> ZoneInfo:
        """The schedule's zone.

        Raises:
            CalendarError: The engine does not say it, and no other zone is taken in its place.
        """
        if self.timezone is None:
            raise CalendarError(
                f"{self.no_timezone}, so a moment of it has no date; say the zone in the rule, such as "
                "as_of=AsOf.window_start(timezone='America/New_York'), or give the run its as_of_date"
            )
        return get_zone(self.timezone)

    @property
    def window(self) -> Window | None:
        """The window in the schedule's zone, or None if there is none or it has no width.

        Where the engine knows none it is the window of the partition's key, in its cadence's zone.
        """
        if self.window_start is not None and self.window_end is not None:
            if self.window_start == self.window_end:
                return None
            return Window(self.window_start.astimezone(self.zone), self.window_end.astimezone(self.zone))
        if self.scheme is None or self.partition is None or self.fired_at is not None:
            return None
        return self.scheme.window(self.partition)

    @property
    def instant(self) -> datetime | None:
        """The instant for which the schedule fired: ``fired_at``, or a window without width."""
        if self.fired_at is not None or self.window_start != self.window_end:
            return self.fired_at
        return self.window_start

    @property
    def local_date(self) -> date | None:
        """The local date of :attr:`instant`."""
        return None if self.instant is None else local_date(self.instant, self.zone)


class AsOfResult(NamedTuple):
    """A business date, and which fact it came from."""

    #: The business date, or None if nothing determines it.
    date: date | None
    #: ``window_start``, ``window_end``, ``fired_at``, ``partition.<dimension>``, or ``none``; a session rule adds
    #: ``+last_session:XNYS``.
    source: str
    #: The calendar that a session rule asked.
    calendar: BusinessCalendar | None = None


_NOTHING: Final = AsOfResult(None, "none")


@dataclass(frozen=True)
class AsOf:
    """A rule that maps what an engine knows of a run's time to one business date.

    Dates are those of the schedule's own zone. What has no width counts as an instant: an Airflow run of a cron
    trigger, a tick of a Dagster schedule. Where nothing determines the date it is None.

    Example:
        >>> from datetime import UTC
        >>> monday = RunTiming(fired_at=datetime(2012, 10, 29, 11, tzinfo=UTC), timezone="America/New_York")
        >>> AsOf.previous_session("WEEKDAYS").resolve(monday).date
        datetime.date(2012, 10, 26)
    """

    #: Which rule it is.
    kind: _Kind
    #: The calendar of a session rule; of an alias, the name that it stands for.
    calendar: str | BusinessCalendar | None = None
    #: The dimension of a ``key`` rule.
    dimension: str | None = None
    #: IANA name of the zone in which dates are taken, in place of the schedule's own.
    timezone: str | None = None

    def __post_init__(self) -> None:
        if self.timezone is not None:
            object.__setattr__(self, "timezone", zone_name(self.timezone))
        if isinstance(self.calendar, str):
            object.__setattr__(self, "calendar", library_name(self.calendar))

    @classmethod
    def default(cls, *, timezone: str | None = None) -> AsOf:
        """Return the rule that adapters use when the user names none.

        The date of the partition's cadence; else the value of a dimension with a name of :data:`DATE_DIMENSIONS`, if
        it is an ISO date (two that differ are an error, unless one is called ``as_of_date``); else the local day on
        which the window starts (as Airflow's ``ds`` and Dagster's keys do, in the schedule's zone); else the local
        day of the instant for which the schedule fired; else None.

        Args:
            timezone: IANA name of the zone in which dates are taken; the schedule's own if not given.

        Example:
            >>> AsOf.default().resolve(RunTiming(partition=PartitionKey(date="2012-10-26"))).source
            'partition.date'
        """
        return cls("default", timezone=timezone)

    @classmethod
    def window_start(cls, *, timezone: str | None = None) -> AsOf:
        """Return the rule that takes the local day on which the window starts.

        Args:
            timezone: As for :meth:`default`.

        Example:
            >>> AsOf.window_start().resolve(RunTiming())
            AsOfResult(date=None, source='none', calendar=None)
        """
        return cls("window_start", timezone=timezone)

    @classmethod
    def window_end(cls, *, timezone: str | None = None) -> AsOf:
        """Return the rule that takes the last local day inside the half-open window.

        Args:
            timezone: As for :meth:`default`.

        Example:
            >>> from datetime import UTC
            >>> day = RunTiming(window_start=datetime(2012, 10, 26, tzinfo=UTC),
            ...               window_end=datetime(2012, 10, 27, tzinfo=UTC))
            >>> AsOf.window_end().resolve(day).date
            datetime.date(2012, 10, 26)
        """
        return cls("window_end", timezone=timezone)

    @classmethod
    def last_session(cls, calendar: str | BusinessCalendar, *, timezone: str | None = None) -> AsOf:
        """Return the rule that takes the last session on or before the window's last day, or before the instant.

        Args:
            calendar: Name of a business calendar, or one of your own; loaded when the rule is first used.
            timezone: As for :meth:`default`.

        Example:
            >>> key = PartitionKey(date="2012-10-27")
            >>> AsOf.last_session("WEEKDAYS").resolve(RunTiming(partition=key))[:2]
            (datetime.date(2012, 10, 26), 'partition.date+last_session:WEEKDAYS')
        """
        return cls("last_session", calendar=calendar, timezone=timezone)

    @classmethod
    def previous_session(cls, calendar: str | BusinessCalendar, *, timezone: str | None = None) -> AsOf:
        """Return the rule for what runs on T about T-1: the last session strictly before the day of the run.

        The day of the run is that of the instant for which it was fired: the end of a window, if there is one.

        Args:
            calendar: Name of a business calendar, or one of your own; loaded when the rule is first used.
            timezone: As for :meth:`default`.
        """
        return cls("previous_session", calendar=calendar, timezone=timezone)

    @classmethod
    def key(cls, dimension: str) -> AsOf:
        """Return the rule that takes the value of a dimension of the partition, an ISO 8601 date.

        Example:
            >>> AsOf.key("week_ending").resolve(RunTiming(partition=PartitionKey(week_ending="2026-01-09"))).date
            datetime.date(2026, 1, 9)
        """
        return cls("key", dimension=dimension)

    def resolve(self, run: RunTiming) -> AsOfResult:
        """Return the business date of a run, and which fact it came from.

        Raises:
            CalendarError: The dimension of a ``key`` rule holds no ISO date, two dimensions could be the date, the
                zone of the schedule is not known, or a session rule's calendar does not reach that far.
        """
        if self.timezone is not None:
            run = replace(run, timezone=self.timezone)
        if self.kind in ("last_session", "previous_session"):
            return self._session(run)
        if self.kind == "key":
            return self._from_key(run)
        if self.kind == "default":
            return date_of_partition(run.partition, run.scheme) or _start(run) or _fired(run) or _NOTHING
        window = _end(run) if self.kind == "window_end" else _start(run)
        return window or _fired(run) or date_of_partition(run.partition, run.scheme) or _NOTHING

    def check(self, day: date) -> BusinessCalendar | None:
        """Refuse a date of the caller's that this rule could never give, and return the calendar of a session rule.

        Raises:
            ContextError: It is no session of the rule's calendar; the message names the sessions around it.

        Example:
            >>> AsOf.last_session("WEEKDAYS").check(date(2012, 10, 26)).name
            'WEEKDAYS'
        """
        if self.calendar is None:
            return None
        calendar = get_calendar(self.calendar)
        try:
            calendar.index(day)
        except CalendarError as exc:
            raise ContextError(f"as_of_date={day} is no date of the rule {self!r}: {exc}") from exc
        return calendar

    def _from_key(self, run: RunTiming) -> AsOfResult:
        name = self.dimension or ""
        if run.partition is None or name not in run.partition:
            return _NOTHING
        day = iso_date(run.partition[name])
        if day is None:
            raise CalendarError(
                f"AsOf.key({name!r}): {name}={run.partition[name]!r} is not a date; "
                "write it as YYYY-MM-DD, or use another rule"
            )
        return AsOfResult(day, f"partition.{name}")

    def _session(self, run: RunTiming) -> AsOfResult:
        before = self.kind == "previous_session"
        found = (_run_day(run) if before else _end(run)) or _fired(run) or date_of_partition(run.partition, run.scheme)
        if found is None or found.date is None:
            return _NOTHING
        calendar = get_calendar(self.calendar or "")
        day = calendar.previous(found.date) if before else calendar.on_or_before(found.date)
        return AsOfResult(day, f"{found.source}+{self.kind}:{calendar.name}", calendar)

    def __repr__(self) -> str:
        argument = self.dimension if self.kind == "key" else self.calendar
        zone = None if self.timezone is None else f"timezone={self.timezone!r}"
        return f"AsOf.{self.kind}({', '.join(filter(None, [repr(argument) if argument else None, zone]))})"


def _start(run: RunTiming) -> AsOfResult | None:
    return None if run.window is None else AsOfResult(run.window.start.date(), "window_start")


def _end(run: RunTiming) -> AsOfResult | None:
    """Return the last local day inside the window."""
    return None if run.window is None else AsOfResult(last_day_before(run.window.end), "window_end")


def _run_day(run: RunTiming) -> AsOfResult | None:
    """Return the local day on which a run for this window is fired: that of the window's end."""
    return None if run.window is None else AsOfResult(run.window.end.date(), "window_end")


def _fired(run: RunTiming) -> AsOfResult | None:
    return None if run.local_date is None else AsOfResult(run.local_date, "fired_at")


def date_of_partition(partition: PartitionKey | None, scheme: PartitionScheme | None) -> AsOfResult | None:
    """Return the business date that a partition says, as the default rule takes it before anything else.

    Raises:
        CalendarError: Two of its dimensions could be the date.
    """
    if partition is None:
        return None
    if scheme is not None and scheme.cadence_dimension is not None:
        return AsOfResult(scheme.as_of_date(partition), f"partition.{scheme.cadence_dimension}")
    days = dates_in_partition(partition)
    if len(set(days.values())) > 1:
        raise CalendarError(
            f"the partition {partition} has {len(days)} dates, {' and '.join(days)}; say which one is the business "
            f"date: as_of=AsOf.key({next(iter(days))!r})"
        )
    return next((AsOfResult(day, f"partition.{name}") for name, day in days.items()), None)


def dates_in_partition(partition: PartitionKey) -> dict[str, date]:
    """Return the dates that a partition without a cadence says, by dimension; ``as_of_date`` comes before all others.

    Example:
        >>> dates_in_partition(PartitionKey(date="2012-10-26", tier="OTC"))
        {'date': datetime.date(2012, 10, 26)}
    """
    days = {name: day for name in DATE_DIMENSIONS if (day := iso_date(partition.get(name, ""))) is not None}
    return {"as_of_date": days["as_of_date"]} if "as_of_date" in days else days
