"""Hourly: the hours of sessions, over every change of the clocks."""

import itertools
import json
import pickle
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import CalendarError, Hourly, PartitionError, PartitionScheme, UnknownPartition
from flowctx.core.dates.cadence import Cadence
from flowctx.core.dates.calendar import get_calendar
from flowctx.core.dates.zones import first_instant

NY = "America/New_York"
# Clocks change at midnight in Beirut and Havana, by two hours at Troll, and India is half an hour off.
ZONES = [
    NY,
    "Europe/London",
    "UTC",
    "Asia/Kolkata",
    "Asia/Beirut",
    "America/Havana",
    "America/Sao_Paulo",
    "Antarctica/Troll",
]
CALENDARS = ["EVERY_DAY", "WEEKDAYS", "XNYS"]
HOUR = timedelta(hours=1)


@st.composite
def cadences(draw):
    """An hourly cadence over some days from 2000 to 2026."""
    start = draw(st.dates(date(2000, 1, 1), date(2026, 6, 1)) | st.sampled_from([date(2026, 3, 7), date(2025, 10, 31)]))
    return Hourly(
        start=start,
        end=start + timedelta(days=draw(st.integers(3, 12))),
        calendar=draw(st.sampled_from(CALENDARS)),
        timezone=draw(st.sampled_from(ZONES)),
        delay=timedelta(minutes=draw(st.sampled_from([0, 15, 150]))),
    )


def plain_list(cadence):
    """The hours of the sessions, one after the other by the clock."""
    calendar = get_calendar(cadence.calendar)
    at = first_instant(cadence.start, cadence.zone).astimezone(UTC)
    last = first_instant(cadence.end + timedelta(days=1), cadence.zone).astimezone(UTC)
    hours = []
    while at < last:
        local = at.astimezone(cadence.zone)
        if calendar.is_session(local.date()):
            hours.append(local)
        at += HOUR
    return hours


@given(cadences())
@settings(max_examples=80, deadline=None)
def test_the_hours_are_those_of_a_plain_list(cadence):
    """Each hour of each session is there, once, in order; its window is one hour, and it is due after it."""
    expected = plain_list(cadence)
    stamps = [hour.timestamp() for hour in expected]
    assert [hour.timestamp() for hour in cadence] == stamps
    assert len(cadence) == len(expected)
    texts = [cadence.text(hour) for hour in cadence]
    assert len(set(texts)) == len(texts)
    for index, (hour, text) in enumerate(zip(expected, texts, strict=True)):
        assert cadence.index(hour) == index
        assert cadence.parse(text).timestamp() == hour.timestamp()
        window = cadence.window(hour)
        assert [moment.timestamp() - hour.timestamp() for moment in window] == [0, 3600]
        assert cadence.due(hour).timestamp() == hour.timestamp() + 3600 + cadence.delay.total_seconds()
        assert cadence.containing(hour.astimezone(UTC) + timedelta(minutes=59)).timestamp() == hour.timestamp()
        assert cadence.due_count(cadence.due(hour)) == index + 1
    assert (
        Cadence.from_dict(json.loads(json.dumps(cadence.to_dict()))) == cadence == pickle.loads(pickle.dumps(cadence))
    )


@given(st.sampled_from(ZONES), st.sampled_from(CALENDARS), st.integers(0, 200_000))
@settings(max_examples=200, deadline=None)
def test_any_position_is_found_back(zone, calendar, position):
    """Over two decades, the n-th hour has the index n, and the next one is later."""
    cadence = Hourly(start="2003-01-01", calendar=calendar, timezone=zone)
    if calendar == "XNYS":
        position %= 130_000
    hour, following = cadence[position], cadence[position + 1]
    assert cadence.index(hour) == position
    assert following.timestamp() > hour.timestamp()


def test_an_hour_that_comes_twice_is_two_keys_and_one_that_is_left_out_none():
    """In New York, 8 March 2026 has 23 hours and 1 November 25, each with its own text."""
    scheme = PartitionScheme(hour=Hourly(start="2026-03-08", end="2026-11-01", timezone=NY), symbol=["FB", "IBM"])
    spring, autumn = scheme.select("hour=2026-03-08"), scheme.select("hour=2026-11-01,symbol=IBM")
    assert (len(spring), len(autumn)) == (46, 25)
    assert [key.hour for key in autumn][1:3] == ["2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00"]
    assert "2026-03-08T02:00-05:00" not in [key.hour for key in spring]
    assert len(scheme.select("hour=2026-11-01T01:00-04:00..2026-11-01T03:00-05:00,symbol=FB")) == 4
    assert scheme.parse(scheme.text(autumn[2])) == autumn[2]
    assert scheme.select(str(autumn)).digest() == autumn.digest()
    assert scheme.as_of_date(autumn[24]) == date(2026, 11, 1)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("2026-01-09", "is not an hour; write it with its offset"),
        ("2026-01-09T10:00", "is not an hour; write it with its offset"),
        ("2026-01-09T10:30-05:00", "is no full hour of America/New_York; it is in the one .* 2026-01-09T10:00-05:00"),
        ("2026-01-09T15:00Z", "is not written as its hour is; write 2026-01-09T10:00-05:00"),
        ("2026-01-09T10:00:00-05:00", "is not written as its hour is; write 2026-01-09T10:00-05:00"),
        ("2026-01-10T10:00-05:00", "no hour of a session: 2026-01-10 is a Saturday"),
    ],
)
def test_what_is_no_hour_says_so(key, remedy):
    """A day, an hour without offset, half an hour and an hour of a closed day are no keys."""
    scheme = PartitionScheme(hour=Hourly(start="2026-01-01", calendar="XNYS", timezone=NY))
    with pytest.raises(UnknownPartition, match=remedy):
        scheme.check({"hour": key})


def test_clocks_that_change_by_half_an_hour_are_refused():
    """On Lord Howe Island some hours are half; the message says what to do."""
    with pytest.raises(CalendarError, match="change by a part of an hour, .* not all whole; use timezone='UTC'"):
        len(Hourly(start="2026-01-01", end="2026-01-02", timezone="Australia/Lord_Howe"))


def test_clocks_that_changed_by_half_an_hour_before_are_no_matter():
    """In Caracas hours are whole since May 2016; where they begin before, the message says when they may begin."""
    hours = Hourly(start="2016-05-02", end="2026-01-31", timezone="America/Caracas")
    assert (len(hours), hours.index(hours[80_000])) == (85_488, 80_000)
    assert hours.text(hours[0]) == "2016-05-02T00:00-04:00"
    with pytest.raises(CalendarError, match="is before the start 2016-05-02"):
        hours.index(hours[0] - timedelta(hours=1))
    with pytest.raises(
        CalendarError, match="on 2016-05-01, .* begin with start='2016-05-02' or later, or use timezone"
    ):
        len(Hourly(start="2016-05-01", end="2016-05-03", timezone="America/Caracas"))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_a_start_before_what_is_known_is_no_matter_of_clocks(zone):
    """Of 1985 it is not known which hours there were, whatever the clocks did."""
    with pytest.raises(CalendarError, match="known"):
        len(Hourly(start="1985-01-01", end="1995-01-01", timezone=zone))


@pytest.mark.parametrize("text", ["0001-01-01T00:00Z", "9999-12-31T23:30+00:00", "1950-01-01T00:00Z"])
def test_hours_of_other_times_are_no_hours(text):
    """Nothing is advised that would be refused next."""
    hours = Hourly(start="2026-01-01", timezone="Asia/Tokyo")
    assert hours.parse(text) is None
    assert hours.say_not_written(text) == hours.not_written


def test_a_day_stands_for_its_hours_in_ranges():
    """Ends of a range may be days; a range that goes backwards is refused."""
    scheme = PartitionScheme(hour=Hourly(start="2026-01-01", timezone=NY))
    assert len(scheme.select("hour=2026-01-05..2026-01-06")) == 48
    assert len(scheme.keys(until="2026-01-02")) == 48
    with pytest.raises(PartitionError, match="goes backwards"):
        scheme.select("hour=2026-01-06..2026-01-05")


def test_a_skipped_day_has_no_hours():
    """Samoa left out 30 December 2011."""
    days = [hour.date() for hour in Hourly(start="2011-12-29", end="2011-12-31", timezone="Pacific/Apia")]
    assert [(day.day, len(list(group))) for day, group in itertools.groupby(days)] == [(29, 24), (31, 24)]


def test_hours_are_asked_for_by_aware_datetimes():
    """A date, and a naive datetime, are refused with what to pass."""
    cadence = Hourly(start="2026-01-01", timezone=NY)
    with pytest.raises(CalendarError, match="these are hours; pass an aware datetime such as 2026-01-09T00:00-05:00"):
        cadence.window(date(2026, 1, 9))
    with pytest.raises(CalendarError, match="is a naive datetime"):
        cadence.window(datetime(2026, 1, 9, 10))  # noqa: DTZ001
