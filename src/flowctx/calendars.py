"""Named calendars: those of exchange_calendars, cached on disk, and your own from a file of holidays.

With a warm cache neither pandas nor exchange_calendars is imported, so that parsing a DAG file stays cheap.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from datetime import date, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from flowctx.core.dates.calendar import BusinessCalendar, unknown_calendar
from flowctx.core.dates.parsing import parse_date
from flowctx.core.errors import CalendarError, MissingExtra

#: The days that a calendar is built for, where it knows them; explicit, since the library's own move with today's date.
FIRST: Final = date(1990, 1, 1)
LAST: Final = date(2039, 12, 31)

#: Raise it when what is in a cache file, or how sessions are worked out, changes.
_FORMAT: Final = 1
_LIBRARY: Final = "exchange_calendars"


def load_calendar(name: str) -> BusinessCalendar:
    """Return a calendar of exchange_calendars by its name or an alias of it.

    Sessions are known from 1990 to 2039, or for as much of that as the library vouches for. They are kept in a cache
    folder (``FLOWCTX_CACHE_DIR``, else ``XDG_CACHE_HOME/flowctx``, else ``~/.cache/flowctx``), by library version; a
    damaged file is made anew, and where nothing can be written nothing is kept.

    Args:
        name: Such as ``XNYS``, ``XLON`` or an alias, ``NYSE``; the calendar has the name that the library gives it.

    Raises:
        CalendarError: There is no such calendar; the message names the nearest ones.
        MissingExtra: exchange_calendars is not installed.

    Example:
        >>> load_calendar("XNYS").is_session(date(2012, 10, 29))
        False
    """
    try:
        edition = version(_LIBRARY)
    except PackageNotFoundError:
        error = unknown_calendar(name, ())
        raise (error if "did you mean" in str(error) else MissingExtra(f"the calendar {name!r}", "calendars")) from None
    path = _cache_path(name, edition)
    found = _read(path, edition)
    if found is None:
        found = _build(name)
        _write(path, {"format": _FORMAT, "library": edition, **found})
    return BusinessCalendar.from_ordinals(
        found["name"],
        found["sessions"],
        bounds=(found["first"], found["last"]),
        version=edition,
        reloadable=True,
    )


def calendar_from_file(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    weekmask: str = "MON-FRI",
    first: date | str | None = None,
    last: date | str | None = None,
) -> BusinessCalendar:
    """Make a calendar from a text file of holidays: one ISO date a line; ``#`` starts a comment.

    Args:
        path: The file, in UTF-8.
        name: What to call the calendar; the file's name without its suffix if not given.
        weekmask: The open weekdays; see :meth:`BusinessCalendar.from_holidays`.
        first: First day that the file covers; 1 January of the first holiday's year if not given.
        last: Last such day; 31 December of the last holiday's year if not given.

    Raises:
        CalendarError: A line is no date; the message names the file and the line.
        OSError: The file cannot be read.

    Example:
        >>> folder = Path(__import__("tempfile").mkdtemp())
        >>> _ = (folder / "desk.txt").write_text("2012-10-29  # Sandy")
        >>> calendar_from_file(folder / "desk.txt").is_session(date(2012, 10, 29))
        False
    """
    holidays = []
    file = Path(path)
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                holidays.append(parse_date(text, "holiday"))
            except CalendarError as error:
                raise CalendarError(f"{file}, line {number}: {error}") from None
    return BusinessCalendar.from_holidays(name or file.stem, holidays, weekmask=weekmask, first=first, last=last)


# -- the cache --------------------------------------------------------------------------------------------------


def _cache_path(name: str, edition: str) -> Path | None:
    """Return the cache file of a calendar, or None if this user has no folder for it."""
    try:
        if "FLOWCTX_CACHE_DIR" in os.environ:
            folder = Path(os.environ["FLOWCTX_CACHE_DIR"])
        else:
            base = os.environ.get("XDG_CACHE_HOME")
            folder = (Path(base) if base else Path.home() / ".cache") / "flowctx"
    except RuntimeError:  # no home folder can be determined
        return None
    return folder / "calendars" / f"{quote(name, safe='')[:100]}-{quote(edition, safe='')}-f{_FORMAT}.json"


def _checksum(sessions: list[int]) -> int:
    return zlib.crc32(repr(sessions).encode())


def _read(path: Path | None, edition: str) -> dict[str, Any] | None:
    """Return what a cache file holds, or None if it is missing, damaged or of another edition."""
    if path is None:
        return None
    try:
        found = json.loads(path.read_bytes())
        fits = found["format"] == _FORMAT and found["library"] == edition
        if fits and found["checksum"] == _checksum(found["sessions"]):
            return {key: found[key] for key in ("name", "first", "last", "sessions")}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _write(path: Path | None, content: dict[str, Any]) -> None:
    """Write a cache file in one step, so that other processes see all of it or nothing; or let it be."""
    if path is None:
        return
    import tempfile  # takes a while to import, and a warm cache does without

    text = json.dumps({**content, "checksum": _checksum(content["sessions"])}, separators=(",", ":"))
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise


# -- exchange_calendars -----------------------------------------------------------------------------------------


def _build(name: str) -> dict[str, Any]:
    """Work out the sessions of one calendar from the library's rules.

    The rules are evaluated here, not through the library's ``sessions``: with pandas 3, exchange_calendars 4.13 drops
    the extra Saturdays and Sundays of XKRX, XMOS and XTAE and fails on Orthodox Easter.
    """
    try:
        from exchange_calendars.calendar_utils import global_calendar_dispatcher as dispatcher
    except ImportError:
        raise MissingExtra(f"the calendar {name!r}", "calendars") from None
    known = dispatcher.get_calendar_names()
    if name not in known:
        raise unknown_calendar(name, known)
    canonical = dispatcher.resolve_alias(name)
    kind: Any = dispatcher._calendar_factories.get(canonical) or type(dispatcher.get_calendar(canonical))
    calendar = kind.__new__(kind)  # its rules need no construction, which fails where its opening times do
    low, high = kind.bound_min(), kind.bound_max()
    first = FIRST if low is None else max(FIRST, low.date())
    last = LAST if high is None else min(LAST, high.date())
    closed = _holidays(calendar)
    masks = [(first, last, calendar.weekmask), *_special_masks(calendar)]
    sessions = []
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        day = date.fromordinal(ordinal)
        mask = next(mask for low, high, mask in reversed(masks) if low <= day <= high)
        if mask[day.weekday()] == "1" and day not in closed:
            sessions.append(ordinal)
    return {"name": canonical, "first": first.toordinal(), "last": last.toordinal(), "sessions": sessions}


def _special_masks(calendar: Any) -> list[tuple[date, date, str]]:
    """Return the stretches of time, both ends included, that have another weekly pattern."""
    return [
        (date.min if low is None else low.date(), date.max if high is None else high.date(), mask)
        for low, high, mask in getattr(calendar, "special_weekmasks", ())
    ]


def _holidays(calendar: Any) -> set[date]:
    from exchange_calendars.exchange_calendar import HolidayCalendar
    from pandas import Timestamp

    closed = {Timestamp(day).date() for day in calendar.adhoc_holidays}
    regular = calendar.regular_holidays
    if regular is not None:
        orthodox = [rule for rule in regular.rules if _is_orthodox(rule)]
        if orthodox:
            regular = HolidayCalendar([rule for rule in regular.rules if rule not in orthodox])
        closed.update(day.date() for day in regular.holidays())
        closed.update(day for rule in orthodox for day in _orthodox(rule))
    return closed


def _offsets(rule: Any) -> list[Any]:
    return rule.offset if isinstance(rule.offset, list) else [rule.offset]


def _is_orthodox(rule: Any) -> bool:
    return type(_offsets(rule)[0]).__name__ == "OrthodoxEaster"


def _orthodox(rule: Any) -> set[date]:
    """Return the days of a holiday that is so many days from Orthodox Easter."""
    from dateutil.easter import EASTER_ORTHODOX, easter  # type: ignore[import-untyped]
    from pandas import Timedelta

    shift = sum((Timedelta(offset).to_pytimedelta() for offset in _offsets(rule)[1:]), timedelta(0))
    days = {easter(year, EASTER_ORTHODOX) + shift for year in range(FIRST.year, LAST.year + 1)}
    low = date.min if rule.start_date is None else rule.start_date.date()
    high = date.max if rule.end_date is None else rule.end_date.date()
    return {day for day in days if low <= day <= high}
