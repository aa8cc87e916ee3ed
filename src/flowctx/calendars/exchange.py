"""The sessions and closing times of one calendar of exchange_calendars, by the library's own rules.

The rules are evaluated here, not through the library's ``sessions``, because pandas 3 breaks them in exchange_calendars
4.13: extra Saturdays and Sundays are dropped (XBOM, XKRX, XMOS, XTAE), Orthodox Easter fails (ASEX, XBEL, XBSE, XCYS),
and Hebrew holidays become Western Easter (XTAE). What is worked out otherwise than the library does is used only where
it has been checked against the answers that the library publishes; anything else is refused. Drop this module for the
library's own ``sessions`` once a release of it agrees with its answers under every pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from flowctx.core.dates.calendar import unknown_calendar
from flowctx.core.errors import CalendarError
from flowctx.core.extras import needs

#: The days that a calendar is built for, where it knows them; explicit, since the library's own move with today's date.
FIRST: Final = date(1990, 1, 1)
LAST: Final = date(2039, 12, 31)

_LIBRARY: Final = "exchange_calendars"
#: Whatever has a say in the sessions of some calendar: moon, Easter, offsets.
_DEPENDS_ON: Final = ("pandas", "pyluach", "korean_lunar_calendar", "python-dateutil")
#: Raise it when sessions or closing times are worked out in another way here.
_RULES: Final = 2

#: Calendars of which the evaluation here has been checked against the library's published answers, every session.
CHECKED: Final = frozenset({"ASEX", "XBEL", "XBSE", "XCYS", "XBOM", "XKRX", "XMOS", "XTAE"})
#: Days that the rules have as sessions and the published answers do not.
_NO_SESSIONS: Final = {"XMOS": {date(2009, 1, 11)}}


def edition() -> str:
    """Return all that the tables depend on, as one text: ``4.13.2+pandas3.1.1.pyluach2.3.0...rules2``.

    Raises:
        PackageNotFoundError: exchange_calendars is not installed.

    Example:
        >>> edition().rpartition(".")[2]
        'rules2'
    """
    versions = [f"{name}{_version(name)}" for name in _DEPENDS_ON]
    return f"{version(_LIBRARY)}+{'.'.join([*versions, f'rules{_RULES}'])}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "0"


def canonical_name(name: str) -> str:
    """Return the name that the library gives a calendar, which may be asked for by an alias.

    Raises:
        CalendarError: There is no such calendar; the message names the nearest ones.
        MissingExtra: exchange_calendars is not installed.

    Example:
        >>> canonical_name("NYSE")
        'XNYS'
    """
    dispatcher = _dispatcher(name)
    known = dispatcher.get_calendar_names()
    if name not in known:
        raise unknown_calendar(name, known)
    return str(dispatcher.resolve_alias(name))


def _dispatcher(name: str) -> Any:
    with needs(f"the calendar {name!r}", "calendars"):
        from exchange_calendars.calendar_utils import global_calendar_dispatcher
    return global_calendar_dispatcher


def build(name: str) -> dict[str, Any]:
    """Work out one calendar: its canonical name, bounds, sessions, zone and closing times, in plain data.

    Raises:
        CalendarError: There is no such calendar, or its rules come out otherwise here than in the library and have
            not been checked.
        MissingExtra: exchange_calendars is not installed.
    """
    canonical, dispatcher = canonical_name(name), _dispatcher(name)
    kind: Any = dispatcher._calendar_factories.get(canonical) or type(dispatcher.get_calendar(canonical))
    calendar = kind.__new__(kind)  # its rules need no construction, which fails where pandas breaks one of them
    low, high = kind.bound_min(), kind.bound_max()
    first = FIRST if low is None else max(FIRST, low.date())
    last = LAST if high is None else min(LAST, high.date())
    closed = set(_days(calendar.adhoc_holidays)) | set(_holidays(calendar.regular_holidays))
    sessions = list(_sessions(calendar, first, last, closed | _NO_SESSIONS.get(canonical, set())))
    _check(canonical, calendar, sessions, first, last)
    return {
        "name": canonical,
        "first": first.toordinal(),
        "last": last.toordinal(),
        "sessions": [day.toordinal() for day in sessions],
        **_closes(calendar, sessions, closed),
    }


def _check(name: str, calendar: Any, sessions: list[date], first: date, last: date) -> None:
    """Refuse sessions other than the library's own, unless they have been checked against its answers."""
    from pandas import __version__ as pandas_version
    from pandas import date_range

    if name in CHECKED and int(pandas_version.partition(".")[0]) >= 3:
        return
    try:
        theirs: list[date] | None = [day.date() for day in date_range(first, last, freq=calendar.day)]
        reason = "has other sessions"
    except Exception as error:  # noqa: BLE001 - whatever pandas makes of its rules
        theirs, reason = None, f"fails ({error!r})"
    if theirs != sessions:
        raise CalendarError(
            f"the calendar {name} cannot be trusted here: exchange_calendars {version(_LIBRARY)} with pandas "
            f"{pandas_version} {reason} where its rules say otherwise; install an edition of either in which they "
            "agree, or pass a BusinessCalendar of your own, by another name"
        )


def _sessions(calendar: Any, first: date, last: date, closed: set[date]) -> Iterator[date]:
    masks = [(first, last, calendar.weekmask), *_special_masks(calendar)]
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        day = date.fromordinal(ordinal)
        mask = next(mask for low, high, mask in reversed(masks) if low <= day <= high)
        if mask[day.weekday()] == "1" and day not in closed:
            yield day


def _special_masks(calendar: Any) -> list[tuple[date, date, str]]:
    """Return the stretches of time, both ends included, that have another weekly pattern."""
    return [
        (date.min if low is None else low.date(), date.max if high is None else high.date(), mask)
        for low, high, mask in getattr(calendar, "special_weekmasks", ())
    ]


# -- holidays -----------------------------------------------------------------------------------------------------


def _days(stamps: Iterable[Any]) -> Iterator[date]:
    from pandas import Timestamp

    return (Timestamp(stamp).date() for stamp in stamps)


def _holidays(holidays: Any) -> set[date]:
    """Return the days of a holiday calendar; rules with offsets of the library's own are evaluated here."""
    from pandas import Timestamp

    if holidays is None:
        return set()
    rules = list(holidays.rules or ())
    own = [rule for rule in rules if any(_is_own(offset) for offset in _listed(rule.offset))]
    if not own:
        return set(_days(holidays.holidays(Timestamp(FIRST), Timestamp(LAST))))
    from exchange_calendars.exchange_calendar import HolidayCalendar

    others = HolidayCalendar([rule for rule in rules if rule not in own])
    found = set(_days(others.holidays(Timestamp(FIRST), Timestamp(LAST)))) if others.rules else set()
    return found.union(*(_evaluate(rule) for rule in own))


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _is_own(offset: Any) -> bool:
    """Tell whether an offset is a class of the library's, whose ``_apply`` pandas 3 does not call."""
    return type(offset).__module__.startswith(_LIBRARY)


def _evaluate(rule: Any) -> set[date]:
    """Return the days of one rule, year by year, each of its offsets applied in order."""
    low = date.min if rule.start_date is None else rule.start_date.date()
    high = date.max if rule.end_date is None else rule.end_date.date()
    days = set()
    for year in range(FIRST.year - 1, LAST.year + 2):
        day = datetime(year, rule.month, rule.day)  # noqa: DTZ001 - a date, as pandas has it
        for offset in _listed(rule.offset):
            day = _shift(day, offset)
        observed: Any = day
        for observance in _listed(rule.observance):
            observed = observed and observance(observed)
        weekdays = rule.days_of_week
        if observed and low <= observed.date() <= high and (weekdays is None or observed.weekday() in weekdays):
            days.add(observed.date())
    return days


def _shift(day: datetime, offset: Any) -> datetime:
    from pandas import Timestamp

    if _is_own(offset):
        moved: datetime = offset._apply(Timestamp(day))
        return datetime(moved.year, moved.month, moved.day)  # noqa: DTZ001 - likewise
    shifted: datetime = (Timestamp(day) + offset).to_pydatetime()
    return shifted


# -- closing times --------------------------------------------------------------------------------------------------


def _closes(calendar: Any, sessions: list[date], closed: set[date]) -> dict[str, Any]:
    """Return the zone, the usual closing times, and those of the sessions that close at another time.

    Times are minutes after the first moment of the session's day by the wall clock, so that one after midnight is more
    than 1,440.
    """
    zone = str(calendar.tz)
    usual = [
        [date.min.toordinal() if start is None else start.toordinal(), _minutes(time) + 1440 * calendar.close_offset]
        for start, time in calendar.close_times
    ]
    special = {day.toordinal(): minutes for day, minutes in _moved_closes(calendar, sessions, usual)}
    opened = set(sessions)
    for day, minutes in _special_closes(calendar, sessions):
        if day in opened and day not in closed:
            special[day.toordinal()] = minutes
    return {"timezone": zone, "closes": usual, "special_closes": sorted(special.items())}


def _minutes(time: Any) -> int:
    return int(time.hour) * 60 + int(time.minute)


def _special_closes(calendar: Any, sessions: list[date]) -> Iterator[tuple[date, int]]:
    """Yield days with closing times of their own, the most particular ones last."""
    from pandas import Timestamp

    for time, holidays in reversed(calendar.special_closes):
        if isinstance(holidays, int):
            days: Iterable[date] = [day for day in sessions if day.weekday() == holidays]
        elif holidays.rules:
            days = _holidays(holidays)
        else:  # a list of its own making, such as all Sundays until a date
            days = _days(holidays.holidays(Timestamp(sessions[0]), Timestamp(sessions[-1])))
        yield from ((day, _minutes(time)) for day in days)
    for time, stamps in reversed(calendar.special_closes_adhoc):
        yield from ((day, _minutes(time)) for day in _days(stamps))


def _moved_closes(calendar: Any, sessions: list[date], usual: list[list[int]]) -> Iterator[tuple[date, int]]:
    """Yield the sessions whose closing times the library moves in code of its own, as Korea's on exam days."""
    from exchange_calendars.exchange_calendar import ExchangeCalendar, _group_times

    if type(calendar).apply_special_offsets is ExchangeCalendar.apply_special_offsets:
        return
    from pandas import DatetimeIndex

    days = DatetimeIndex([datetime(day.year, day.month, day.day) for day in sessions])  # noqa: DTZ001 - as there
    calendar._opens = _group_times(days, calendar.open_times, calendar.tz, calendar.open_offset)
    calendar._break_starts = _group_times(days, calendar.break_start_times, calendar.tz)
    calendar._break_ends = _group_times(days, calendar.break_end_times, calendar.tz)
    calendar._closes = _group_times(days, calendar.close_times, calendar.tz, calendar.close_offset)
    calendar.apply_special_offsets(days, days[0], days[-1])
    for day, close in zip(sessions, calendar._closes, strict=True):
        wall = close.tz_convert(calendar.tz).to_pydatetime().replace(tzinfo=None)
        minutes = (wall - datetime(day.year, day.month, day.day)) // timedelta(minutes=1)  # noqa: DTZ001 - wall clock
        if minutes != next(m for start, m in reversed(usual) if start <= day.toordinal()):
            yield day, minutes
