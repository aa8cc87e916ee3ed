"""Hours of a zone by number, and those of sessions by position."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import EVERY_DAY, WEEKDAYS, BusinessCalendar, CalendarError
from flowctx.core.dates.hours import SessionHours, zone_hours

NY = zone_hours("America/New_York")
ZONES = st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Europe/London"])
MOMENTS = st.datetimes(datetime(1991, 1, 1), datetime(2090, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001


@given(ZONES, MOMENTS)
def test_every_moment_is_in_one_hour(name, moment):
    """Its hour starts on a full hour of the zone's clocks, at most an hour before, and leads back to its number."""
    hours = zone_hours(name)
    number = hours.number(moment)
    start = hours.start(number)
    assert 0 <= moment.timestamp() - start.timestamp() < 3600
    assert (start.minute, start.second, hours.number(start)) == (0, 0, number)


@pytest.mark.parametrize(("day", "count"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 7, 1), 24)])
def test_a_day_has_as_many_hours_as_its_clocks_show(day, count):
    """23 where clocks are put on, 25 where they are put back, and all of them belong to the day."""
    first, after = NY.first_of(day.toordinal()), NY.first_of(day.toordinal() + 1)
    assert after - first == count
    assert {NY.day_of(number) for number in range(first, after)} == {day.toordinal()}


def test_only_days_that_are_uneven_are_listed():
    """What they have over 24 hours adds up to nothing over a year."""
    uneven = dict(zip(NY.uneven, NY.excess, strict=True))
    assert uneven[date(2026, 3, 8).toordinal()] == -1
    assert uneven[date(2026, 11, 1).toordinal()] == 1
    assert sum(uneven.values()) == 0
    assert zone_hours("UTC").uneven == ()


@pytest.mark.parametrize(
    ("name", "since", "shift"),
    [
        ("America/New_York", date(1990, 1, 1), 0),
        ("America/Caracas", date(2016, 5, 2), 0),
        ("Asia/Colombo", date(2006, 4, 16), 1800),
        ("Australia/Lord_Howe", date(2099, 10, 5), 0),
    ],
)
def test_hours_are_whole_since_clocks_last_changed_by_a_part_of_one(name, since, shift):
    """They are numbered as clocks show them since that day; days that are uneven are known from there on."""
    hours = zone_hours(name)
    assert (date.fromordinal(hours.whole_since), hours.shift) == (since, shift)
    assert hours.start(hours.first_of(since.toordinal())).isoformat()[:16] == f"{since}T00:00"
    assert all(day >= since.toordinal() - 2 for day in hours.uneven)


CALENDARS = st.sampled_from(
    [EVERY_DAY, WEEKDAYS, BusinessCalendar.from_holidays("D", ["2026-03-08"], weekmask="SUN-SAT")]
)
HOURS_2026 = st.integers(NY.first_of(date(2026, 1, 2).toordinal()), NY.first_of(date(2026, 12, 30).toordinal()))


@given(CALENDARS, HOURS_2026)
def test_a_position_is_that_of_the_next_hour_of_a_session(calendar, hour):
    """The hour at the position of an hour is that hour, or the next one on a session; the one before is before it."""
    axis = SessionHours(calendar, NY)
    position = axis.position(hour)
    assert axis.at(position) >= hour > axis.at(position - 1)
    assert axis.position(axis.at(position)) == position
    assert calendar.is_session(date.fromordinal(NY.day_of(axis.at(position))))


@pytest.mark.parametrize(("first", "last"), [("2026-07-01", "2026-12-31"), ("2026-01-01", "2026-10-31")])
def test_every_hour_of_a_calendar_is_at_its_position(first, last):
    """From the first to the last, also where clocks were put back and not on, or the other way; there are no more."""
    desk = BusinessCalendar.from_holidays("DESK", [], weekmask="SUN-SAT", first=first, last=last)
    axis = SessionHours(desk, NY)
    low, high = axis.known_range()
    count = high - low + 1
    assert [axis.at(position) for position in (*range(49), *range(count - 49, count))] == [
        *range(low, low + 49),
        *range(high - 48, high + 1),
    ]
    with pytest.raises(CalendarError, match="session"):
        axis.at(count)


def test_an_hour_is_its_own_window():
    """It starts with itself and ends with the next one."""
    axis = SessionHours(WEEKDAYS, NY)
    assert (axis.window(5), axis.period_start(5), axis.known_range()) == ((5, 6), 5, None)


def test_hours_are_known_as_far_as_the_calendar():
    """From the first hour of its first day to the last hour of its last."""
    low, high = SessionHours(BusinessCalendar.from_holidays("D", ["2026-01-01"]), NY).known_range()
    assert NY.start(low).isoformat() == "2026-01-01T00:00:00-05:00"
    assert NY.start(high).isoformat() == "2026-12-31T23:00:00-05:00"
