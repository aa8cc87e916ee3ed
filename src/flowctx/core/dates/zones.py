"""Wall-clock time of a zone made into instants: what exists, what comes first, and what a midnight is."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from flowctx.core.errors import CalendarError
from flowctx.core.suggestions import a_kind, nearest

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


class Window(NamedTuple):
    """The half-open interval ``[start, end)`` of data that an as-of date stands for.

    Both ends are aware datetimes in the cadence's zone. Their lengths differ where clocks change: subtract them
    after ``astimezone(UTC)``, since Python subtracts two times of one zone by the wall clock.

    Example:
        >>> day = Window(first_instant(date(2026, 3, 8), zone := get_zone("America/New_York")),
        ...              first_instant(date(2026, 3, 9), zone))
        >>> (day.end.astimezone(UTC) - day.start.astimezone(UTC)).total_seconds() / 3600
        23.0
    """

    #: First instant inside.
    start: datetime
    #: First instant after it.
    end: datetime


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo  # it loads sysconfig, which costs more than the rest of this module

    return ZoneInfo(name)


def get_zone(name: str) -> ZoneInfo:
    """Return the zone with this IANA name.

    Raises:
        CalendarError: No such zone; the message names the nearest ones.

    Example:
        >>> get_zone("America/New_York").key
        'America/New_York'
    """
    try:
        return _zone(name)
    except (KeyError, ValueError, OSError, TypeError):  # what ZoneInfo raises for unknown, odd, and folder names
        pass
    text = name if isinstance(name, str) else repr(name)
    from zoneinfo import available_timezones

    known = sorted(available_timezones())
    near = nearest(text, known, n=3) or [z for z in known if text and z.endswith(f"/{text}")]
    meant = f"did you mean {' or '.join(near)}?" if near else "use an IANA name such as 'America/New_York' or 'UTC'"
    hint = "" if known else " (this machine has no time zone data: pip install tzdata)"
    raise CalendarError(f"there is no time zone {text!r}; {meant}{hint}")


def zone_name(zone: object) -> str:
    """Return the IANA name of a zone that is given as a name, a ``ZoneInfo`` or ``datetime.UTC``.

    Raises:
        CalendarError: It has none, such as a fixed offset.

    Example:
        >>> zone_name(UTC), zone_name("Asia/Tokyo")
        ('UTC', 'Asia/Tokyo')
    """
    if zone is UTC:
        return "UTC"
    if isinstance(zone, tzinfo):
        key = getattr(zone, "key", None)
        if not isinstance(key, str):
            raise CalendarError(f"timezone={zone!r} has no IANA name; pass a name such as 'America/New_York'")
        zone = key
    return get_zone(zone).key  # type: ignore[arg-type]


def check_aware(value: object, what: str) -> datetime:
    """Return ``value`` if it is an aware datetime.

    Raises:
        CalendarError: It is naive, or no datetime.

    Example:
        >>> check_aware(datetime(2012, 10, 26, tzinfo=UTC), "now").hour
        0
    """
    if not isinstance(value, datetime):
        raise CalendarError(f"{what}={value!r} is {a_kind(value)}; pass an aware datetime")
    if value.utcoffset() is None:
        raise CalendarError(
            f"{what}={value!r} is a naive datetime; give it a zone: {what}.replace(tzinfo=ZoneInfo('America/New_York'))"
        )
    return value


def resolve_wall_time(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant at which clocks of ``zone`` show ``wall``, or the first existing time after it.

    Args:
        wall: A naive datetime.
        zone: The zone whose clocks show it.

    Returns:
        An aware datetime: where clocks are put back the earlier of two, where they are put forward over
        ``wall`` the moment at which they are.

    Example:
        >>> resolve_wall_time(datetime(2024, 4, 26), get_zone("Africa/Cairo")).isoformat()
        '2024-04-26T01:00:00+03:00'
    """
    aware = wall.replace(tzinfo=zone, fold=0)
    late = aware.utcoffset()
    early = aware.replace(fold=1).utcoffset()
    if late == early or late is None or early is None or late > early:
        return aware
    # Clocks jump over this time, somewhere between its readings by the offsets after and before the jump.
    low = int((wall - early - _EPOCH).total_seconds())
    high = int((wall - late - _EPOCH).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_at(middle, zone) == late:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, zone)


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, for differences only


def _offset_at(seconds: int, zone: ZoneInfo) -> timedelta | None:
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=UTC).astimezone(zone).utcoffset()


@lru_cache(maxsize=1024)  # a batch asks for each day once for each key that has it, and for the end of the day before
def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a local day: its midnight, or where that does not exist the first time that does.

    Example:
        >>> first_instant(date(2018, 11, 4), get_zone("America/Sao_Paulo")).isoformat()
        '2018-11-04T01:00:00-02:00'
    """
    return resolve_wall_time(datetime.combine(day, time()), zone)


@lru_cache(maxsize=256)
def skipped_days(zone: ZoneInfo) -> tuple[int, ...]:
    """Return the ordinals of the days that clocks of a zone never showed: it moved to the other side of the date line.

    Example:
        >>> [date.fromordinal(day).isoformat() for day in skipped_days(get_zone("Pacific/Apia"))]
        ['2011-12-30']
    """
    new_years = [datetime(year, 1, 1, tzinfo=zone) for year in _YEARS]
    found: list[int] = []
    for this, following in pairwise(new_years):
        if (following.utcoffset() or _NONE) - (this.utcoffset() or _NONE) > timedelta(hours=12):
            days = range(this.toordinal(), following.toordinal() + 1)
            starts = [first_instant(date.fromordinal(day), zone) for day in (*days, days.stop)]
            found += [day for day, (start, end) in zip(days, pairwise(starts), strict=True) if start == end]
    return tuple(found)


#: Zones moved over the date line from 1844 on; after these years no change of any zone is known.
_YEARS = range(1840, 2040)
_NONE = timedelta(0)


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """Return the calendar date that clocks of ``zone`` show at ``instant``.

    Example:
        >>> local_date(datetime(2026, 11, 23, 1, 30, tzinfo=UTC), get_zone("America/New_York"))
        datetime.date(2026, 11, 22)
    """
    return instant.astimezone(zone).date()


def last_day_before(end: datetime) -> date:
    """Return the calendar date of the last instant before ``end``, in the zone of ``end``.

    Example:
        >>> last_day_before(datetime(2018, 11, 4, 1, tzinfo=get_zone("America/Sao_Paulo")))  # there was no midnight
        datetime.date(2018, 11, 3)
    """
    return (end.astimezone(UTC) - timedelta.resolution).astimezone(end.tzinfo).date()
