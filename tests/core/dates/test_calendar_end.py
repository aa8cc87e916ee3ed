"""What is said of a cadence whose calendar ends."""

from datetime import UTC, date, datetime, timedelta

import pytest

from flowctx import BusinessCalendar, Daily, get_calendar
from flowctx.core.dates.calendar_end import calendar_end


@pytest.mark.parametrize(
    ("left", "end", "said"),
    [
        (61, None, None),
        (60, None, "60 days from now; dates after it will not be scheduled"),
        (5, None, "5 days from now"),
        (0, None, "0 days from now"),
        (
            -1,
            None,
            "which is past: dates after it are not scheduled; make the calendar of later dates, too, with last=",
        ),
        (-1, "2026-06-01", None),
    ],
)
def test_the_end_of_a_calendar_is_announced(left, end, said):
    """From 60 days before its last day there is a warning, then an error; a cadence that ends earlier has none."""
    desk = BusinessCalendar.from_holidays("DESK", ["2026-01-01"], version="7")
    cadence = Daily(start="2026-01-01", end=end, calendar=desk)
    notice = calendar_end(cadence, datetime(2026, 12, 31, 12, tzinfo=UTC) - timedelta(days=left))
    if said is None:
        assert notice is None
    else:
        assert said in str(notice)
        assert str(notice).startswith("the calendar DESK (7) is known until 2026-12-31, ")
        assert notice.ended is (left < 0)


def test_each_calendar_has_the_remedy_that_it_can_have():
    """One of your own is in no edition of exchange_calendars, and the file of corrections does not take it."""
    own, soon = BusinessCalendar.from_holidays("DESK", ["2026-01-01"]), datetime(2026, 12, 1, tzinfo=UTC)
    notices = [
        str(calendar_end(Daily(start="2026-01-01", calendar=calendar), soon))
        for calendar in (own, get_calendar("XSHG"), get_calendar("XSHG").with_holidays(["2026-11-30"]))
    ]
    assert ["exchange_calendars" in notice for notice in notices] == [False, True, True]
    assert ["FLOWCTX_CALENDARS" in notice for notice in notices] == [False, True, True]
    assert all("last" in notice and "or give the cadence an end=" in notice for notice in notices)


def test_a_calendar_without_bounds_has_no_end():
    """WEEKDAYS is known for ever."""
    assert calendar_end(Daily(start="2026-01-01", calendar="WEEKDAYS"), datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert get_calendar("XSHG").last == date(2026, 12, 31)
