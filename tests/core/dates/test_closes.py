"""When the sessions of a calendar end."""

from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import BusinessCalendar, CalendarError
from flowctx.core.dates.closes import Closes, parse_minutes

DAY = date(2026, 11, 27)
HALF = Closes.of("America/New_York", "16:00", {DAY: "13:00"})


@given(st.times().map(lambda at: at.replace(second=0, microsecond=0)))
def test_a_time_of_the_day_is_its_minutes(at):
    """A text, and the time itself, are the minutes from midnight."""
    minutes = at.hour * 60 + at.minute
    assert parse_minutes(at.isoformat("minutes"), "close") == parse_minutes(at, "close") == minutes


@pytest.mark.parametrize(
    "value", ["16", "4pm", "16:00:30", "25:00", "", None, time(16, 0, 30), time(16, 0, 0, 5), time(16, tzinfo=UTC)]
)
def test_what_is_no_time_of_the_day_is_refused(value):
    """Seconds, zones and other forms are refused by name, with an example."""
    with pytest.raises(CalendarError, match="close=.*'16:00'"):
        parse_minutes(value, "close")


def test_24_00_is_the_next_midnight():
    """A session that ends at midnight ends on the next day."""
    closes = Closes.of("Asia/Tokyo", "24:00")
    assert closes.at(DAY.toordinal()).isoformat() == "2026-11-28T00:00:00+09:00"


def test_a_half_day_ends_early():
    """A session of its own time has that, the others the usual one, by the clocks of the zone."""
    assert HALF.at(DAY.toordinal()) == datetime(2026, 11, 27, 18, 0, tzinfo=UTC)
    assert HALF.at(DAY.toordinal() + 3) == datetime(2026, 11, 30, 21, 0, tzinfo=UTC)
    assert (HALF.minutes(DAY.toordinal()), HALF.usual_minutes(DAY.toordinal())) == (13 * 60, 16 * 60)


def test_the_usual_time_may_change():
    """Each usual time holds from its first day on."""
    closes = Closes("Asia/Tokyo", ((1, 900), (DAY.toordinal(), 930)), {})
    assert [closes.minutes(DAY.toordinal() + n) for n in (-1, 0, 1)] == [900, 930, 930]


def test_they_come_back():
    """What is written is read back, also through JSON's lists."""
    data = HALF.to_dict()
    assert Closes.from_dict(data) == HALF
    assert data["special_closes"] == [[DAY.toordinal(), 780]]


def test_other_times_make_other_closes():
    """A correction adds to the times that there are; the first ones stay as they were."""
    more = HALF.with_times([(DAY.toordinal() + 3, 600)])
    assert (more.minutes(DAY.toordinal()), more.minutes(DAY.toordinal() + 3)) == (780, 600)
    assert HALF.minutes(DAY.toordinal() + 3) == 960
    assert hash(more.content) != hash(HALF.content)


@pytest.mark.parametrize("day", ["2026-11-28", "2026-11-26", "2027-01-04"])
def test_a_day_that_is_no_session_has_none(day):
    """A half day that was written for a weekend, a holiday or another year is a slip."""
    times = {"close": "16:00", "timezone": "America/New_York", "special_closes": {"2026-11-27": "13:00", day: "13:00"}}
    words = f"the calendar 'D' has special_closes= on {day}, which is none of its sessions"
    with pytest.raises(CalendarError, match=words):
        BusinessCalendar.from_holidays("D", ["2026-11-26"], **times)
    with pytest.raises(CalendarError, match=words):
        BusinessCalendar.from_sessions("D", ["2026-11-25", "2026-11-27"], **times)


def test_a_calendar_has_all_of_them_or_none():
    """Without any there are no closing times; a close without a zone is refused."""
    assert Closes.of_calendar("DESK", [], None, None, None) is None
    assert Closes.of_calendar("DESK", [], "16:00", "Asia/Tokyo", {}) == Closes.of("Asia/Tokyo", "16:00")
    for close, zone in (("16:00", None), (None, "Asia/Tokyo")):
        with pytest.raises(CalendarError, match="'DESK' needs close= and timezone="):
            Closes.of_calendar("DESK", [], close, zone, None)
