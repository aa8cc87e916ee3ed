"""Zones by name, and what their clocks show."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import CalendarError
from flowctx.core.dates.zones import (
    check_aware,
    first_instant,
    get_zone,
    local_date,
    resolve_wall_time,
    skipped_days,
    zone_name,
)

NY = get_zone("America/New_York")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("America/New_Yrok", "did you mean America/New_York"),
        ("Tokyo", "did you mean Asia/Tokyo"),
        ("???", "use an IANA name such as 'America/New_York' or 'UTC'"),
        ("", "use an IANA name"),
        ("America", "there is no time zone 'America'"),
        ("../etc/passwd", "there is no time zone"),
        (None, "there is no time zone 'None'"),
    ],
)
def test_a_zone_that_is_not_known_is_refused(name, remedy):
    """A wrong name is never UTC: the message has the names that are near."""
    with pytest.raises(CalendarError, match=remedy):
        get_zone(name)


@pytest.mark.parametrize(
    ("zone", "name"), [("Asia/Tokyo", "Asia/Tokyo"), (ZoneInfo("Asia/Tokyo"), "Asia/Tokyo"), (UTC, "UTC")]
)
def test_zones_are_kept_by_name(zone, name):
    """A name, a zone object and UTC all have one."""
    assert zone_name(zone) == name


def test_a_fixed_offset_has_no_name():
    """An offset does not know when clocks change, so it is refused with the remedy."""
    with pytest.raises(CalendarError, match="has no IANA name; pass a name such as 'America/New_York'"):
        zone_name(timezone(timedelta(hours=-5)))


@pytest.mark.parametrize(
    ("value", "remedy"),
    [(datetime(2012, 1, 1), "naive datetime; give it a zone"), (date(2012, 1, 1), "date; pass an aware datetime")],  # noqa: DTZ001
)
def test_a_time_without_a_zone_is_refused(value, remedy):
    """The message names the parameter."""
    with pytest.raises(CalendarError, match=f"now=.*{remedy}"):
        check_aware(value, "now")


@pytest.mark.parametrize(
    ("wall", "instant"),
    [
        (datetime(2026, 3, 8, 1, 59), "2026-03-08T01:59:00-05:00"),  # noqa: DTZ001
        (datetime(2026, 3, 8, 2, 0), "2026-03-08T03:00:00-04:00"),  # noqa: DTZ001
        (datetime(2026, 3, 8, 2, 59), "2026-03-08T03:00:00-04:00"),  # noqa: DTZ001
        (datetime(2026, 11, 1, 1, 30), "2026-11-01T01:30:00-04:00"),  # noqa: DTZ001
        (datetime(2026, 11, 1, 2, 0), "2026-11-01T02:00:00-05:00"),  # noqa: DTZ001
    ],
)
def test_a_time_that_clocks_skip_is_the_next_one(wall, instant):
    """A time that does not exist is the moment of the jump, and of two that do it is the first."""
    assert resolve_wall_time(wall, NY).isoformat() == instant


@given(
    st.dates(date(1950, 1, 1), date(2050, 1, 1)), st.sampled_from(["America/Havana", "Europe/Lisbon", "Asia/Beirut"])
)
def test_a_day_begins_where_the_one_before_ends(day, name):
    """The first instant of a day shows that day, and the second before it does not."""
    zone = get_zone(name)
    start = first_instant(day, zone).astimezone(UTC)
    assert local_date(start, zone) == day
    assert local_date(start - timedelta(seconds=1), zone) < day


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("Pacific/Apia", ["2011-12-30"]),
        ("Pacific/Kwajalein", ["1993-08-21"]),
        ("Asia/Tokyo", []),
        ("America/Juneau", []),
    ],
)
def test_a_zone_that_moves_over_the_date_line_leaves_out_a_day(name, days):
    """One day of it was never shown; other zones have shown them all."""
    assert [date.fromordinal(day).isoformat() for day in skipped_days(get_zone(name))] == days


def test_a_date_is_that_of_the_zone():
    """One instant has two dates, depending on whose clock is looked at."""
    instant = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)
    assert (local_date(instant, NY), local_date(instant, get_zone("Asia/Tokyo"))) == (
        date(2026, 11, 22),
        date(2026, 11, 23),
    )
