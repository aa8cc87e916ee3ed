"""A calendar corrected is another calendar."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import WEEKDAYS, BusinessCalendar, CalendarError

DESK = BusinessCalendar.from_holidays("DESK", ["2026-01-01"], version="1", close="16:00", timezone="Asia/Tokyo")
DAYS = st.sets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=5)


@given(DAYS)
def test_days_are_closed(days):
    """The days given are no sessions any more, and no other day changes; the first calendar stays as it was."""
    before = set(DESK.sessions(DESK.first, DESK.last))
    assert set(DESK.with_holidays(days).sessions(DESK.first, DESK.last)) == before - days
    assert set(DESK.sessions(DESK.first, DESK.last)) == before


@given(DAYS)
def test_days_are_opened(days):
    """The days given are sessions, and no other day changes."""
    before = set(DESK.sessions(DESK.first, DESK.last))
    assert set(DESK.with_sessions(days).sessions(DESK.first, DESK.last)) == before | days


def test_a_calendar_is_made_longer():
    """Up to its new last day only the days listed are sessions."""
    longer = DESK.with_sessions(["2027-01-04"], last="2027-01-08")
    assert longer.last == date(2027, 1, 8)
    assert list(longer.sessions(date(2027, 1, 1), longer.last)) == [date(2027, 1, 4)]
    assert DESK.with_sessions([], last="2026-01-02").last == DESK.last


def test_closing_times_are_changed():
    """A session that ends early does so in the corrected calendar only."""
    short = DESK.with_closes({"2026-12-30": "11:30"})
    assert (short.closes_early(date(2026, 12, 30)), DESK.closes_early(date(2026, 12, 30))) == (True, False)
    assert short.close(date(2026, 12, 30)).isoformat() == "2026-12-30T11:30:00+09:00"


def test_the_version_says_that_it_is_corrected():
    """A version of one's own is added to that of the calendar; else a digest of what it is now."""
    named, other = DESK.with_holidays(["2026-09-10"], version="typhoon"), DESK.with_holidays(["2026-09-10"])
    assert (named.version, named.name) == ("1+typhoon", "DESK")
    assert other.version.startswith("1+corrected.")
    assert other.version == DESK.with_holidays([date(2026, 9, 10)]).version
    assert other.version != DESK.with_holidays(["2026-09-11"]).version


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (lambda: DESK.with_holidays(["2027-01-01"]), "2027-01-01 is outside the calendar DESK"),
        (
            lambda: DESK.with_sessions(["2027-01-01"]),
            "2027-01-01 is outside the calendar DESK.*; pass last=, the last day",
        ),
        (lambda: DESK.with_sessions(["2025-12-31"]), "2025-12-31 is outside"),
        (lambda: DESK.with_closes({"2026-01-01": "12:00"}), "2026-01-01 is a holiday in DESK"),
        (lambda: WEEKDAYS.with_holidays(["2026-09-10"]), "has no bounds and cannot be corrected"),
        (lambda: BusinessCalendar.from_holidays("A", ["2026-01-01"]).with_closes({}), "no closing times"),
    ],
)
def test_what_cannot_be_corrected_is_refused(wrong, remedy):
    """The message says which day, or what to make instead."""
    with pytest.raises(CalendarError, match=remedy):
        wrong()


def test_corrections_are_made_one_after_the_other():
    """A day that was closed is opened again, and what was corrected before stays."""
    made = DESK.with_holidays(["2026-09-10", "2026-09-11"]).with_sessions(["2026-09-10"])
    assert [made.is_session(date(2026, 9, 9) + timedelta(days=n)) for n in range(3)] == [True, True, False]
