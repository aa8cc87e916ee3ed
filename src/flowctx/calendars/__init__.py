"""Named calendars: those of exchange_calendars, cached on disk and corrected, and your own from a file of holidays.

With a warm cache neither pandas nor exchange_calendars is imported, so that parsing a DAG file stays cheap.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from datetime import date
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from flowctx.calendars.corrections import corrected, corrections
from flowctx.calendars.exchange import build, canonical_name, edition
from flowctx.core.dates.calendar import BusinessCalendar, unknown_calendar
from flowctx.core.dates.closes import Closes
from flowctx.core.dates.parsing import parse_date
from flowctx.core.errors import CalendarError, MissingExtra
from flowctx.core.whole_files import write_whole

#: Raise it when what is in a cache file changes.
_FORMAT: Final = 2


def load_calendar(name: str) -> BusinessCalendar:
    """Return a calendar of exchange_calendars by its name or an alias of it.

    Sessions are known from 1990 to 2039, or for as much of that as the library vouches for, and so are closing times.
    They are kept in a cache folder (``FLOWCTX_CACHE_DIR``, else ``XDG_CACHE_HOME/flowctx``, else ``~/.cache/flowctx``),
    by the versions of all that they depend on, which are the calendar's version; a damaged file is made anew, and where
    nothing can be written nothing is kept. Corrections that the file of ``FLOWCTX_CALENDARS`` has for the calendar are
    made; see :mod:`flowctx.calendars.corrections`.

    Args:
        name: Such as ``XNYS``, ``XLON`` or an alias, ``NYSE``; the calendar has the name that the library gives it.

    Raises:
        CalendarError: There is no such calendar (the message names the nearest ones), it cannot be trusted with the
            versions that are installed, or the file of corrections is wrong.
        MissingExtra: exchange_calendars is not installed.

    Example:
        >>> load_calendar("XNYS").is_session(date(2012, 10, 29))
        False
    """
    try:
        known_as = edition()
    except PackageNotFoundError:
        error = unknown_calendar(name, ())
        raise (error if "did you mean" in str(error) else _missing(name)) from None
    found = _base(name, known_as)
    calendar = BusinessCalendar.from_ordinals(
        found["name"],
        found["sessions"],
        bounds=(found["first"], found["last"]),
        version=known_as,
        reloadable=True,
        closes=Closes.from_dict(found),
    )
    return corrected(calendar, _canonical)


def check_corrections() -> None:
    """Read the file of ``FLOWCTX_CALENDARS``, if it is set, and correct each calendar that it names.

    Raises:
        CalendarError: The file cannot be read, names a calendar that there is not, or says what cannot be.
        MissingExtra: exchange_calendars is not installed.

    Example:
        >>> os.environ.pop("FLOWCTX_CALENDARS", None) and None
        >>> check_corrections()
    """
    for name in corrections(_canonical):
        load_calendar(name)


def _base(name: str, known_as: str) -> dict[str, Any]:
    """Return a calendar as the library has it, in plain data: from the cache, or worked out and kept there."""
    path = _cache_path(name, known_as)
    found = _read(path, known_as)
    if found is None:
        found = build(name)
        _write(path, {"format": _FORMAT, "edition": known_as, **found})
    return found


def _canonical(name: str) -> str:
    """Return the name that the library gives a calendar; of one that is cached, without importing the library."""
    try:
        return str(_base(name, edition())["name"])
    except PackageNotFoundError:
        raise _missing(name) from None
    except CalendarError:  # there is none, or one that cannot be trusted: its name is right all the same
        return canonical_name(name)


def _missing(name: str) -> MissingExtra:
    return MissingExtra(f"the calendar {name!r}", "calendars", module="exchange_calendars")


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
        CalendarError: A line is no date, the file cannot be read, or another calendar has the name; the message says
            which line or file it is, or what to call it.

    Example:
        >>> folder = Path(__import__("tempfile").mkdtemp())
        >>> _ = (folder / "desk.txt").write_text("2012-10-29  # Sandy")
        >>> calendar_from_file(folder / "desk.txt").is_session(date(2012, 10, 29))
        False
    """
    holidays = []
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CalendarError(
            f"the file of holidays {file} cannot be read ({why}); name a text file with one date a line, by its whole "
            "path where the current folder may be another"
        ) from error
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                holidays.append(parse_date(text, "holiday"))
            except CalendarError as error:
                raise CalendarError(f"{file}, line {number}: {error}") from None
    return BusinessCalendar.from_holidays(name or file.stem, holidays, weekmask=weekmask, first=first, last=last)


# -- the cache --------------------------------------------------------------------------------------------------


def _cache_path(name: str, known_as: str) -> Path | None:
    """Return the cache file of a calendar, or None if this user has no folder for it."""
    try:
        if own := os.environ.get("FLOWCTX_CACHE_DIR"):
            folder = Path(own)
        else:
            base = os.environ.get("XDG_CACHE_HOME")
            folder = (Path(base) if base else Path.home() / ".cache") / "flowctx"
    except RuntimeError:  # no home folder can be determined
        return None
    return folder / "calendars" / f"{quote(name, safe='')[:100]}-{quote(known_as, safe='+')}-f{_FORMAT}.json"


_CONTENT: Final = ("name", "first", "last", "sessions", "timezone", "closes", "special_closes")


def _checksum(content: dict[str, Any]) -> int:
    text = json.dumps([content[field] for field in _CONTENT])
    return zlib.crc32(text.encode())


def _read(path: Path | None, known_as: str) -> dict[str, Any] | None:
    """Return what a cache file holds, or None if it is missing, damaged or of another edition."""
    if path is None:
        return None
    try:
        found = json.loads(path.read_bytes())
        fits = found["format"] == _FORMAT and found["edition"] == known_as
        if fits and found["checksum"] == _checksum(found):
            return {field: found[field] for field in _CONTENT}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _write(path: Path | None, content: dict[str, Any]) -> None:
    """Write a cache file in one step, so that other processes see all of it or nothing; or let it be."""
    if path is None:
        return
    data = json.dumps({**content, "checksum": _checksum(content)}, separators=(",", ":")).encode()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
