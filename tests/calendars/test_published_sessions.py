"""Every calendar against the answers that its library publishes, the library under pandas 2, and another library."""

from __future__ import annotations

import csv
import hashlib
from datetime import date
from itertools import groupby
from pathlib import Path

import exchange_calendars
import pandas_market_calendars
import pytest

from flowctx import BusinessCalendar, CalendarError
from flowctx.calendars import exchange
from flowctx.core.dates.calendar import get_calendar

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

HERE = Path(__file__).parent


def rows(name: str) -> list[list[str]]:
    """Return the rows of a table beside this file, without its header."""
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))[1:]


#: Counts and digests by year, of the answer files in the library's repository.
PUBLISHED = {name: list(years) for name, years in groupby(rows("published_sessions.tsv"), key=lambda row: row[0])}
#: What exchange_calendars 4.13.2 says under pandas 2.3.3, which breaks none of its rules.
UNDER_PANDAS_2 = rows("with_pandas_2.tsv")
#: Years in which the answers of the repository are newer than the release: closures of 2026 that it does not know.
NEWER = {("XIDX", "2026"), ("XKRX", "2026")}


def digest(texts: list[str]) -> str:
    """Return what the tables have for a list of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def days(calendar: BusinessCalendar, first: date, last: date) -> list[str]:
    """Return the sessions between two days that the calendar knows."""
    low, high = max(first, calendar.first), min(last, calendar.last)
    return [] if low > high else [day.isoformat() for day in calendar.sessions(low, high)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_calendar_has_the_published_sessions(name: str) -> None:
    """Each year of each calendar has the sessions of the library's own answer file, none more and none fewer."""
    calendar, compared = get_calendar(name), 0
    for _, year, first, last, sessions, expected in (years := PUBLISHED[name]):
        # Years at either end of a file may be partial; any other is compared from its first day to its last.
        low = first if year == years[0][1] else f"{year}-01-01"
        high = last if year == years[-1][1] else f"{year}-12-31"
        found = days(calendar, date.fromisoformat(low), date.fromisoformat(high))
        if date.fromisoformat(first) < calendar.first or (name, year) in NEWER:
            continue
        assert (year, len(found), digest(found)) == (year, int(sessions), expected)
        compared += len(found)
    assert compared > 200


def test_the_answers_are_all_there() -> None:
    """The table holds all of the library's answer files: 70 calendars and 486,236 sessions, some before 1990."""
    assert len(PUBLISHED) == 70
    assert sum(int(row[4]) for years in PUBLISHED.values() for row in years) == 486_236


@pytest.mark.parametrize("row", UNDER_PANDAS_2, ids=lambda row: row[0])
def test_a_calendar_is_that_of_the_library_under_pandas_2(row: list[str]) -> None:
    """Sessions and closing times from 1990 to 2039 are the library's own, where no pandas breaks its rules."""
    name, first, last, sessions, expected, closing = row
    calendar = get_calendar(name)
    assert (calendar.first.isoformat(), calendar.last.isoformat()) == (first, last)
    found = list(calendar.sessions(calendar.first, calendar.last))
    assert (len(found), digest([day.isoformat() for day in found])) == (int(sessions), expected)
    assert calendar.closes is not None
    walls = [calendar.closes.wall_time(day.toordinal()).isoformat("T", "minutes") for day in found]
    assert digest(walls) == closing


def test_every_calendar_of_the_library_is_compared() -> None:
    """The table has every calendar that the installed library has."""
    assert {row[0] for row in UNDER_PANDAS_2} == set(exchange_calendars.get_calendar_names(include_aliases=False))


@pytest.mark.parametrize(
    ("ours", "theirs", "first", "last"),
    [
        ("XNYS", "NYSE", "1990-01-01", "2026-12-31"),
        ("XLON", "LSE", "1990-01-01", "2026-12-31"),
        ("XTKS", "JPX", "1997-01-01", "2026-12-31"),
    ],
)
def test_another_library_agrees(ours: str, theirs: str, first: str, last: str) -> None:
    """The rules that pandas_market_calendars has of its own give the same sessions, and New York's closing times."""
    schedule = pandas_market_calendars.get_calendar(theirs).schedule(first, last)
    calendar = get_calendar(ours)
    found = days(calendar, date.fromisoformat(first), date.fromisoformat(last))
    # 1998-05-06 is a session in Tokyo there and none here; the two libraries have not settled it.
    open_there = [day.date().isoformat() for day in schedule.index]
    assert sorted(set(open_there) ^ set(found)) == (["1998-05-06"] if ours == "XTKS" else [])
    assert len(found) > 7_000
    if ours == "XNYS":  # before 2006, five closes differ: three storms and computers that stopped, and 1999-12-31
        closes = zip(open_there, schedule["market_close"], strict=True)
        apart = [d for d, close in closes if close.timestamp() != calendar.close(date.fromisoformat(d)).timestamp()]
        assert apart == ["1994-02-11", "1996-01-08", "1997-10-27", "1999-12-31", "2005-06-01"]


@pytest.mark.parametrize(
    ("day", "is_open"),
    [
        ("2026-09-21", False),  # Yom Kippur
        ("2026-04-06", True),  # Easter Monday
        ("2024-10-11", False),  # the eve of Yom Kippur
        ("2024-04-01", True),  # Easter Monday
        ("2024-04-23", False),  # Passover
    ],
)
def test_tel_aviv_keeps_its_own_feasts(day: str, is_open: bool) -> None:
    """Yom Kippur is no session, and Easter Monday is one, whatever pandas is installed."""
    assert get_calendar("XTAE").is_session(date.fromisoformat(day)) is is_open


def test_rules_that_pandas_breaks_are_refused_unless_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calendar whose sessions come out otherwise here and in the library is an error, not a guess."""
    monkeypatch.setattr(exchange, "CHECKED", frozenset())
    with pytest.raises(CalendarError, match=r"XTAE cannot be trusted here: .*pandas .* pass a BusinessCalendar"):
        exchange.build("XTAE")
    with pytest.raises(CalendarError, match="ASEX cannot be trusted here"):
        exchange.build("ASEX")
