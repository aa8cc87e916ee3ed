"""As-of dates as a sequence: counted, numbered, found, and explained where they are not."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import BusinessCalendar, CalendarError, Daily, Hourly, Monthly, Quarterly, Weekly, Yearly

DAYS = Daily(start="2012-01-02", end="2012-12-31", calendar="WEEKDAYS")
FRIDAYS = Weekly(start="2012-01-01", end="2012-06-30")
ENDLESS = Daily(start="2012-01-02", calendar="WEEKDAYS")
TWO = Daily(start="2012-01-02", calendar=BusinessCalendar.from_sessions("TWO", ["2012-01-02", "2012-01-03"]))
ANY_DAY = st.dates(date(2011, 6, 1), date(2013, 6, 1))
CADENCES = st.sampled_from([DAYS, FRIDAYS, Monthly(start="2012-01-15", end="2012-11-01")])


@given(CADENCES, ANY_DAY, ANY_DAY)
def test_positions_agree_with_a_list(cadence, a, b):
    """Counts, ranges and membership are those of the list of all as-of dates."""
    plain = list(cadence)
    assert cadence.count(a) == sum(day <= a for day in plain)
    assert [cadence[i] for i in cadence.indexes(a, b)] == [day for day in plain if a <= day <= b]
    assert (a in cadence) == (a in plain)
    assert (len(cadence), bool(cadence), list(cadence[3:9:2])) == (len(plain), True, plain[3:9:2])


@given(CADENCES, ANY_DAY)
def test_neighbours_are_the_nearest(cadence, day):
    """The last as-of date before a day and the first on or after it, as far as there are any."""
    plain = list(cadence)
    assert cadence.neighbours(day) == [*[d for d in plain if d < day][-1:], *[d for d in plain if d >= day][:1]]


@given(CADENCES, st.integers(-300, 300))
def test_indexes_count_from_both_ends(cadence, index):
    """A position, or one counted from the end, is that of a list; one outside is an error with the length."""
    plain = list(cadence)
    if -len(plain) <= index < len(plain):
        assert cadence[index] == plain[index]
    else:
        with pytest.raises(IndexError, match=f"this cadence has {len(plain)} as-of dates"):
            cadence[index]


def test_an_as_of_date_may_be_looked_for_in_a_part():
    """As for a list, an index may be asked for between two others; unlike a list, the error says where it is."""
    assert FRIDAYS.index(date(2012, 1, 13), 1, 2) == 1
    with pytest.raises(CalendarError, match="2012-01-13 is entry 1, not between 2 and None"):
        FRIDAYS.index(date(2012, 1, 13), 2)
    with pytest.raises(CalendarError, match="entry 1, not between 0 and 1"):
        FRIDAYS.index(date(2012, 1, 13), 0, 1)


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (date(2011, 12, 30), "2011-12-30 is before the start 2012-01-02; the first as-of date is 2012-01-02"),
        (date(2013, 1, 1), "2013-01-01 is after the end 2012-12-31; the last as-of date is 2012-12-31"),
        (date(2012, 1, 7), "2012-01-07 is a Saturday, a weekend day in WEEKDAYS"),
        (date(2012, 1, 6), "2012-01-06 is an as-of date of Daily"),
    ],
)
def test_a_date_is_explained(day, words):
    """One sentence says why a date is none of the as-of dates, or that it is one."""
    assert DAYS.explain(day).startswith(words)


def test_without_an_end_there_is_no_length():
    """What counts all takes an end; a slice from the front does not."""
    for ask in (len, lambda c: c.count(), lambda c: c[-1], lambda c: c[5:], lambda c: c[:-1]):
        with pytest.raises(CalendarError, match="has no end"):
            ask(ENDLESS)
    assert list(ENDLESS[:2]) == [date(2012, 1, 2), date(2012, 1, 3)]
    assert (bool(ENDLESS), ENDLESS.bounded, DAYS.bounded, ENDLESS.known_until) == (True, False, True, None)


def test_past_the_calendar_nothing_is_guessed():
    """What is not known is an error, unless only what is known is asked for."""
    assert TWO.known_until == date(2012, 1, 3)
    assert (TWO.known_count(date(2013, 1, 1)), TWO.known_count_before(date(2012, 1, 3))) == (2, 1)
    with pytest.raises(CalendarError, match="^2013-01-01 is outside what is known of the calendar TWO"):
        TWO.count(date(2013, 1, 1))
    with pytest.raises(CalendarError, match="entry 2 of Daily.* is later than is known of its calendar"):
        TWO[2]


def test_texts_are_those_of_keys():
    """An as-of date is written in one form, and read from that form only."""
    assert (DAYS.text(date(2012, 1, 3)), DAYS.parse("2012-01-03")) == ("2012-01-03", date(2012, 1, 3))
    assert (DAYS.parse("20120103"), DAYS.parse_bound("x"), DAYS.parse_span("2012-01-03")) == (None, None, range(0))
    assert DAYS.goes_backwards(date(2012, 1, 3), date(2012, 1, 2))
    assert not DAYS.goes_backwards(date(2012, 1, 3), date(2012, 1, 3))


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: Daily(start="2012-01-03", end="2012-01-02"), "start=2012-01-03 is after end=2012-01-02; swap them"),
        (lambda: Daily(start="2012-01-03", calendar=5), "pass a name such as 'XNYS', or a BusinessCalendar"),
        (lambda: Daily(start="2012-01-03", calendar=""), "pass a name"),
        (lambda: Daily(start=datetime(2012, 1, 3, tzinfo=UTC)), "is a datetime"),
        (lambda: Daily(start="2012-01-03", timezone="Mars/Olympus"), "no time zone"),
        (lambda: Daily(start="2012-01-03", due="17:00", delay=timedelta(1)), "pass one of them"),
        (lambda: Daily(start="2012-01-03", calendar="NOWHERE")[0], "NOWHERE"),
    ],
)
def test_what_cannot_be_is_refused(make, remedy):
    """Each parameter is checked where it enters, the calendar when it is first needed."""
    with pytest.raises(CalendarError, match=remedy):
        make()


def test_an_empty_cadence_says_none():
    """Between two Saturdays there may be no as-of date at all."""
    empty = Daily(start="2012-01-07", end="2012-01-08", calendar="WEEKDAYS")
    assert (len(empty), bool(empty), list(empty)) == (0, False, [])
    assert empty.explain(date(2012, 1, 1)) == "2012-01-01 is before the start 2012-01-07; the first as-of date is none"


def test_a_zone_may_be_an_object():
    """It is kept by its name."""
    assert Daily(start="2012-01-02", timezone=ZoneInfo("Asia/Tokyo")) == Daily(
        start="2012-01-02", timezone="Asia/Tokyo"
    )


@pytest.mark.parametrize("kind", [Hourly, Daily, Weekly, Monthly, Quarterly, Yearly])
def test_a_wrong_call_is_told_by_the_name_of_the_cadence(kind):
    """Nobody has named a class that stands behind it."""
    wrong = [((), {}), (("2026-01-05",), {}), ((), {"start": "2026-01-05", "calender": "XNYS"})]
    for positional, named in wrong:
        with pytest.raises(TypeError, match=rf"^{kind.__name__}(\.__init__)?\(\) "):
            kind(*positional, **named)
