"""Dates as they enter: checked, parsed and named."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import EVERY_DAY, BusinessCalendar, CalendarError
from flowctx.core.dates.calendar_names import check_calendar_name
from flowctx.core.dates.parsing import (
    DateSequence,
    check_date,
    iso_date,
    parse_bounds,
    parse_date,
    parse_weekmask,
    weekday_name,
    weekday_number,
    weekmask_text,
)


def test_dates_are_read_in_one_form_only():
    """ISO 8601 with dashes is a date; week dates, compact forms and spaces are not."""
    assert parse_date("2012-10-26", "d") == parse_date(date(2012, 10, 26), "d") == date(2012, 10, 26)
    for text in ("20121026", "2012-W43-5", " 2012-10-26", "2012-10-26T00:00", "", "26/10/2012"):
        with pytest.raises(CalendarError, match="YYYY-MM-DD"):
            parse_date(text, "d")


def test_weekdays_have_short_and_long_names():
    """FRI, fri and Friday are the same day."""
    assert weekday_number("FRI", "d") == weekday_number("fri", "d") == weekday_number("Friday", "d") == 4
    with pytest.raises(CalendarError, match="use one of MON"):
        weekday_number(4, "d")


@given(st.dates())
def test_a_date_s_own_text_is_the_date(day):
    """Every date is read back from its ISO 8601 text, and is itself."""
    assert parse_date(day.isoformat(), "d") == iso_date(day.isoformat()) == parse_date(day, "d") == check_date(day, "d")


@given(st.text(st.sampled_from("0123456789-WT: "), max_size=12))
def test_no_other_text_is_a_date(text):
    """What is taken for a date is the text that the date writes itself as."""
    found = iso_date(text)
    assert found is None or found.isoformat() == text


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (datetime(2012, 10, 26, tzinfo=UTC), r"pass d=value\.date\(\), after value\.astimezone"),
        ("2012-10-26", "d='2012-10-26' is a str; pass a datetime.date"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_date_is_refused(value, remedy):
    """A datetime has a zone to think of and a text is to be parsed: neither is a date."""
    with pytest.raises(CalendarError, match=remedy):
        check_date(value, "d")


@given(st.dates())
def test_a_day_is_named_as_it_is_numbered(day):
    """The name of a day of the week is read back as its number."""
    assert weekday_number(weekday_name(day), "d") == day.weekday()


@pytest.mark.parametrize(
    ("text", "open_days"),
    [
        ("MON-FRI", {0, 1, 2, 3, 4}),
        ("SUN-THU", {6, 0, 1, 2, 3}),
        ("MON,WED, FRI", {0, 2, 4}),
        ("fri", {4}),
        ("MON-MON", {0}),
        ("1000001", {0, 6}),
    ],
)
def test_open_weekdays_are_read(text, open_days):
    """Ranges go over the week's end, lists have commas, and seven flags begin with Monday."""
    assert parse_weekmask(text) == open_days


@given(st.frozensets(st.integers(0, 6), min_size=1))
def test_open_weekdays_come_back(open_days):
    """Seven flags are read as they were written."""
    assert parse_weekmask(weekmask_text(open_days)) == open_days


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "is empty"),
        (None, "is empty"),
        ("0000000", "no open weekday"),
        (",", "no open weekday"),
        ("MO", "MON, TUE"),
    ],
)
def test_a_week_without_open_days_is_refused(text, remedy):
    """The message says how open weekdays are written."""
    with pytest.raises(CalendarError, match=remedy):
        parse_weekmask(text)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[2J", None, 5])
def test_a_calendar_s_name_can_be_read(name):
    """A calendar is named by a text in one line."""
    with pytest.raises(CalendarError, match="cannot name a calendar"):
        check_calendar_name(name)


def test_bounds_are_those_given_or_the_known_ones():
    """What is not given is the first or last day that is known, and the two may be one day."""
    low, high = date(2012, 1, 1), date(2012, 12, 31)
    assert parse_bounds("A", None, None, low, high) == (low.toordinal(), high.toordinal())
    assert parse_bounds("A", "2012-06-01", date(2012, 6, 1), low, high) == (date(2012, 6, 1).toordinal(),) * 2
    with pytest.raises(CalendarError, match="'A' has first=2013-01-01 after last=2012-12-31; swap them"):
        parse_bounds("A", "2013-01-01", None, low, high)


def test_a_date_sequence_is_lazy_and_slices():
    """Ten thousand years of days take no list, and a slice of them is a sequence too."""
    days = EVERY_DAY.sessions(date.min, date.max)
    assert len(days) == date.max.toordinal()
    assert days[-1] == date.max
    assert list(days[:3]) == [date(1, 1, 1), date(1, 1, 2), date(1, 1, 3)] == days[:3]
    assert isinstance(days[::1000], DateSequence)
    assert days[:2] != days[:3]
    assert repr(days[:0]) == "<no dates>"
    assert repr(days[:2]) == "<2 dates from 0001-01-01 to 0001-01-02>"


@given(st.lists(st.integers(1, 5000)), st.data())
def test_a_date_sequence_is_what_a_list_would_be(ordinals, data):
    """Slices, indexes and comparison agree with those of a list of the same dates."""
    days, plain = DateSequence(ordinals.__getitem__, range(len(ordinals))), [date.fromordinal(o) for o in ordinals]
    cut = data.draw(st.slices(len(plain)))
    assert (list(days[cut]), days == plain, len(days)) == (plain[cut], True, len(plain))
    assert hash(days[cut]) == hash(tuple(plain[cut]))
    assert days != "text"


@pytest.mark.parametrize("one", ["2026-01-01", date(2026, 1, 1)])
def test_one_date_where_a_list_is_meant(one: date | str) -> None:
    message = r"is a list of dates, and was given '2026-01-01'; write \['2026-01-01'\]"
    with pytest.raises(CalendarError, match=f"holidays {message}"):
        BusinessCalendar.from_holidays("D", one)  # type: ignore[arg-type]
    with pytest.raises(CalendarError, match=f"dates {message}"):
        BusinessCalendar.from_sessions("D", one)  # type: ignore[arg-type]
    known = BusinessCalendar.from_sessions("D", ["2026-01-01", "2026-01-02"])
    with pytest.raises(CalendarError, match=f"holidays {message}"):
        known.with_holidays(one)  # type: ignore[arg-type]
    with pytest.raises(CalendarError, match=f"sessions {message}"):
        known.with_sessions(one)  # type: ignore[arg-type]
