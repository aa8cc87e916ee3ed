"""What every cadence has: windows, due times, and its form in JSON."""

import json
import pickle
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import BusinessCalendar, CalendarError, Daily, Hourly, Monthly, Quarterly, Weekly, Yearly
from flowctx.core.dates.windows import Cadence

NY = "America/New_York"
TWO = BusinessCalendar.from_sessions("TWO", ["2012-01-02", "2012-01-03"])
KINDS = [Daily, Hourly, Weekly, Monthly, Quarterly, Yearly]
MORNINGS = Daily(start="2012-01-02", end="2012-12-31", timezone=NY, delay=timedelta(hours=6))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("delay", [timedelta(hours=6), {"tier": {"T1": timedelta(1), "T2": timedelta(2)}}])
def test_a_cadence_comes_back(kind, delay):
    """JSON, pickle and repr each give an equal cadence, with all that it was made with."""
    cadence = kind(start="2012-01-02", end="2012-12-31", calendar=TWO, timezone=NY, delay=delay)
    assert Cadence.from_dict(json.loads(json.dumps(cadence.to_dict()))) == cadence
    assert pickle.loads(pickle.dumps(cadence)) == cadence
    assert replace(cadence, end=None).end is None


@pytest.mark.parametrize(
    "data", [{}, {"kind": "fortnightly"}, {"kind": "daily"}, {"kind": "daily", "delay_seconds": 0}]
)
def test_what_is_no_cadence_is_refused(data):
    """The message lists the kinds that there are."""
    with pytest.raises(CalendarError, match="not a cadence written by to_dict.*daily, "):
        Cadence.from_dict(data)


@given(st.datetimes(datetime(2011, 12, 25), datetime(2013, 1, 5)).map(lambda t: t.replace(tzinfo=UTC)))  # noqa: DTZ001
def test_what_is_due_agrees_with_a_list(now):
    """At any moment the as-of dates that are due are those whose due time has come; the next one is still to come."""
    came = [day for day in MORNINGS if MORNINGS.due(day) <= now]
    to_come = [day for day in MORNINGS if MORNINGS.due(day) > now]
    assert MORNINGS.due_count(now) == MORNINGS.known_due_count(now) == len(came)
    assert MORNINGS.latest_due(now) == (came[-1] if came else None)
    assert MORNINGS.first_due_after(now) == (to_come[0] if to_come else None)


def test_six_in_the_morning_is_that_of_the_wall_clock():
    """The delay is counted by the clocks of the zone, in summer as in winter."""
    assert [MORNINGS.due(date(2012, month, 2)).isoformat() for month in (1, 7)] == [
        "2012-01-03T06:00:00-05:00",
        "2012-07-03T06:00:00-04:00",
    ]
    assert MORNINGS.due_wall_time(date(2012, 1, 2)) == datetime(2012, 1, 3, 6)  # noqa: DTZ001


@pytest.mark.parametrize("kind", [Daily, Weekly, Monthly, Quarterly, Yearly])
@given(st.dates(date(2012, 2, 1), date(2014, 1, 1)))
def test_a_day_is_in_the_window_of_its_as_of_date(kind, day):
    """The window that contains a day starts on or before it, by the clocks of the zone, and ends after it."""
    cadence = kind(start="2011-01-01", end="2016-12-31", timezone=NY)
    window = cadence.window(cadence.containing(day))
    assert window.start.date() <= day < window.end.date()


def test_what_is_in_no_window_has_no_as_of_date():
    """A closed day of a daily cadence, and days before the first and after the last window."""
    weekdays = Daily(start="2012-01-02", end="2012-01-13", calendar="WEEKDAYS")
    days = [date(2012, 1, 7), date(2012, 1, 1), date(2012, 1, 16)]
    assert [weekdays.containing(day) for day in days] == [None, None, None]


def test_past_its_calendar_a_cadence_goes_on_with_what_is_known():
    """What may be due and is not known is refused, unless only what is known counts."""
    cadence = Daily(start="2012-01-02", calendar=TWO)
    later = datetime(2013, 1, 1, tzinfo=UTC)
    assert cadence.known_due_count(later) == 2
    with pytest.raises(CalendarError, match="outside what is known of the calendar TWO"):
        cadence.due_count(later)


@pytest.mark.parametrize("ask", ["due_count", "known_due_count", "latest_due", "first_due_after"])
def test_now_has_a_zone(ask):
    """A naive time is refused: whose clock would it be?"""
    with pytest.raises(CalendarError, match="naive"):
        getattr(MORNINGS, ask)(datetime(2012, 1, 2))  # noqa: DTZ001


def test_a_delay_that_differs_is_asked_of_the_scheme():
    """An as-of date alone is due at no one time; with one of the delays it is."""
    cadence = Weekly(start="2012-01-01", delay={"tier": {"T1": timedelta(weeks=2)}})
    with pytest.raises(CalendarError, match=r"the delay differs by tier"):
        cadence.due(date(2012, 1, 6))
    assert cadence.with_delay(timedelta(weeks=2)).due(date(2012, 1, 6)).date() == date(2012, 1, 21)
