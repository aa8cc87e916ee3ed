"""The window and the due time of an as-of date together."""

from datetime import UTC, date, timedelta

import pytest

from flowctx import CalendarError, Daily, Hourly, PartitionScheme
from flowctx.core.dates.moments import KEPT


def test_moments_are_the_window_and_the_due_time():
    """They are what the cadence says of a day, asked again, and after many other days."""
    cadence = Daily(start="2012-01-01", timezone="America/New_York", delay=timedelta(hours=2, minutes=30))
    day = date(2012, 3, 10)
    for _ in range(2):
        moments = cadence.moments("2012-03-10")
        assert (moments.as_of_date, moments.as_of_text) == (day, "2012-03-10")
        assert (moments.window, moments.due) == (cadence.window(day), cadence.due(day))
        assert moments.window_text == ("2012-03-10T00:00:00-05:00", "2012-03-11T00:00:00-05:00", "America/New_York")
        assert moments.due_text == ("2012-03-11T03:00:00-04:00", "America/New_York")
        assert (moments.due_utc, moments.due_utc.tzinfo) == (moments.due.astimezone(UTC), UTC)
        for other in cadence[100 : 100 + KEPT]:
            cadence.moments(other.isoformat())


def test_two_hours_that_clocks_show_alike_have_moments_of_their_own():
    """The hour that comes twice when clocks go back is two partitions, due an hour apart."""
    hours = Hourly(start="2026-11-01", end="2026-11-01", timezone="America/New_York")
    texts = [hours.moments(hours.text(hour)).window_text[0] for hour in hours[0:4]]
    assert texts == [f"2026-11-01T0{hour}:00:00-0{offset}:00" for hour, offset in ((0, 4), (1, 4), (1, 5), (2, 5))]


def test_keys_of_one_day_have_their_own_delays():
    """A day is due at another time for each value of the dimension by which delays differ."""
    delays = {"tier": {"T1": timedelta(days=1), "OTC": timedelta(days=2)}}
    scheme = PartitionScheme(date=Daily(start="2012-01-03", delay=delays), tier=["T1", "OTC"])
    for _ in range(2):
        due = [scheme.moments(key).due for key in scheme.select("date=2012-01-04")]
        assert due == [scheme.due(key) for key in scheme.select("date=2012-01-04")]
        assert [moment.day for moment in due] == [6, 7]
    assert PartitionScheme(tier=["T1"]).moments(PartitionScheme(tier=["T1"])[0]) is None


@pytest.mark.parametrize("text", ["2011-12-31", "2012-01-07", "soon"])
def test_what_is_no_as_of_date_has_no_moments(text):
    """It is before the start, no session, or not written like a date."""
    with pytest.raises(CalendarError, match=text):
        Daily(start="2012-01-01", calendar="WEEKDAYS").moments(text)
