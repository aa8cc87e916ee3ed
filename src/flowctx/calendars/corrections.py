"""Corrections of named calendars from a file in TOML, which the setting ``FLOWCTX_CALENDARS`` names.

One table for each calendar, by its name or an alias; each entry may be left out::

    [XHKG]
    version = "typhoons-2026"       # goes into ctx.metadata["calendar"]; a digest of the result if not given
    holidays = ["2026-09-10"]       # closed after all
    sessions = ["2026-09-12"]       # open after all
    last = "2027-06-30"             # known until then: of the days after the library's last, only those in sessions
    closes = { "2026-12-24" = "12:00" }

Whoever makes the keys and whoever checks them must read the same corrections: put the file where the scheduler, the
workers and the code locations all see it. A process reads it once: restart those that go on when it has changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import date, time
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from flowctx.core.dates.calendar import EVERY_DAY, WEEKDAYS, BusinessCalendar
from flowctx.core.errors import CalendarError
from flowctx.core.hashing import sha256

#: The environment variable with the path of the file.
SETTING: Final = "FLOWCTX_CALENDARS"
_ENTRIES: Final = {"version": str, "holidays": list, "sessions": list, "last": str, "closes": dict}


def corrected(calendar: BusinessCalendar, canonical: Callable[[str], str]) -> BusinessCalendar:
    """Return the calendar as the file of corrections has it; the calendar itself if it says nothing of it.

    Args:
        calendar: As the library has it.
        canonical: Returns the name that the library gives a calendar, of one of its names.

    Raises:
        CalendarError: The file cannot be read, or says something that cannot be; the message names the file.
    """
    found = corrections(canonical).get(calendar.name)
    if not found:
        return calendar
    try:
        return _apply(calendar, found)
    except CalendarError as error:
        raise CalendarError(f"{os.environ[SETTING]}, [{calendar.name}]: {error}") from None


def corrections(canonical: Callable[[str], str]) -> Mapping[str, Mapping[str, Any]]:
    """Return what the file of corrections says of each calendar, by the name that the library gives it.

    Args:
        canonical: Returns that name, of one of the calendar's names.

    Raises:
        CalendarError: The file cannot be read, or names a calendar that there is not, or one twice.
    """
    path = os.environ.get(SETTING)
    return _by_name(path, canonical) if path else {}


@lru_cache(maxsize=4)  # a process has one edition of all calendars: cadences keep theirs, too
def _by_name(path: str, canonical: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    for name, entries in _read(path).items():
        if name in (EVERY_DAY.name, WEEKDAYS.name):
            raise CalendarError(
                f"{path}, [{name}]: {name} is built in and cannot be corrected; make a calendar of your own: "
                "BusinessCalendar.from_holidays(...)"
            )
        try:
            own = canonical(name)
        except CalendarError as error:
            raise CalendarError(f"{path}, [{name}]: {error}") from None
        if own in found:
            raise CalendarError(
                f"{path}: [{names[own]}] and [{name}] are one calendar, {own}; write one table, [{own}]"
            )
        found[own], names[own] = entries, name
    return found


def _apply(calendar: BusinessCalendar, entries: Mapping[str, Any]) -> BusinessCalendar:
    made = calendar
    if entries.get("sessions") or entries.get("last"):
        made = made.with_sessions(map(_text, entries.get("sessions", [])), last=_text(entries.get("last")))
    if entries.get("holidays"):
        made = made.with_holidays(map(_text, entries["holidays"]))
    if entries.get("closes"):
        made = made.with_closes({_text(day): _text(at) for day, at in entries["closes"].items()})
    digest = sha256(repr([*made.sessions(made.first, made.last), made.closes and made.closes.content]))[:8]
    version = f"{calendar.version}+{entries.get('version') or f'corrected.{digest}'}"
    bounds = (made.first.toordinal(), made.last.toordinal())
    ordinals = (day.toordinal() for day in made.sessions(made.first, made.last))
    # By its name it is found again, corrections included, wherever the same file is set.
    return BusinessCalendar.from_ordinals(
        made.name, ordinals, bounds=bounds, version=version, reloadable=True, closes=made.closes
    )


def _text(value: Any) -> Any:
    """Return dates and times that TOML itself has as text."""
    if isinstance(value, time):
        return value.isoformat("minutes")
    return value.isoformat() if isinstance(value, date) else value


def _read(path: str) -> dict[str, dict[str, Any]]:
    import tomllib  # only those who correct calendars pay for it

    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CalendarError(f"{SETTING}={path!r} cannot be read ({error}); correct the path, or unset it") from None
    except ValueError as error:
        raise CalendarError(f"{SETTING}={path!r} is no file in TOML: {error}") from None
    for name, table in tables.items():
        entries = table if isinstance(table, dict) else {name: table}
        for entry, value in entries.items():
            kind = _ENTRIES.get(entry) if isinstance(table, dict) else None
            if kind is None or not isinstance(_text(value), kind):
                raise CalendarError(
                    f"{path}, [{name}]: {entry} = {value!r} is no correction; a calendar takes "
                    'version = "...", holidays = [...], sessions = [...], last = "...", closes = {...}'
                )
    return tables
