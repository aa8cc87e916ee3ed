"""Periods of days by number, and the as-of dates that stand for them by position."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import WEEKDAYS, BusinessCalendar
from flowctx.core.dates.periods import LastSessions, Months, PeriodEnds, SessionDays, Weeks

PERIODS = st.sampled_from([Weeks(4), Weeks(6), Months(1), Months(3), Months(12), Months(12, shift=2)])
DAYS = st.dates(date(1990, 1, 1), date(2040, 12, 31)).map(date.toordinal)
DESK = BusinessCalendar.from_holidays("DESK", ["2012-12-31"], first="2012-01-02", last="2013-03-15")


def day(text):
    return date.fromisoformat(text).toordinal()


@given(PERIODS, DAYS)
def test_every_day_is_in_one_period(periods, ordinal):
    """A day's period starts on or before it, the next one after it, and each has the number that leads back to it."""
    number = periods.number(ordinal)
    first, after = periods.first_day(number), periods.first_day(number + 1)
    assert first <= ordinal < after
    assert (periods.number(first), periods.number(after)) == (number, number + 1)


@pytest.mark.parametrize(
    ("periods", "inside", "first", "last"),
    [
        (Weeks(4), "2012-10-24", "2012-10-20", "2012-10-26"),
        (Weeks(6), "2012-10-24", "2012-10-22", "2012-10-28"),
        (Months(1), "2012-02-15", "2012-02-01", "2012-02-29"),
        (Months(3), "2012-02-15", "2012-01-01", "2012-03-31"),
        (Months(12), "2012-02-15", "2012-01-01", "2012-12-31"),
        (Months(12, shift=3), "2012-02-15", "2011-04-01", "2012-03-31"),
    ],
)
def test_periods_begin_and_end(periods, inside, first, last):
    """Weeks end on their weekday, months and quarters with the calendar, fiscal years where they are said to."""
    number = periods.number(day(inside))
    assert (periods.first_day(number), periods.first_day(number + 1) - 1) == (day(first), day(last))


AXES = st.sampled_from(
    [SessionDays(WEEKDAYS), PeriodEnds(Weeks(4)), PeriodEnds(Months(3)), LastSessions(Months(1), WEEKDAYS)]
)


@given(AXES, DAYS)
def test_a_position_is_that_of_the_next_as_of_date(axis, ordinal):
    """The as-of date at the position of a day is on or after it, and the one before is before it."""
    position = axis.position(ordinal)
    assert axis.at(position) >= ordinal > axis.at(position - 1)
    assert axis.position(axis.at(position)) == position


@given(AXES, DAYS)
def test_a_window_holds_its_as_of_date(axis, ordinal):
    """The as-of date is in its window, which starts where its period does and does not reach into the next one."""
    as_of = axis.at(axis.position(ordinal))
    first, after = axis.window(as_of)
    assert first <= as_of < after
    assert axis.period_start(as_of) == first
    assert axis.window(axis.at(axis.position(as_of) + 1))[0] >= after


@pytest.mark.parametrize("axis", [PeriodEnds(Months(1)), SessionDays(WEEKDAYS), LastSessions(Months(1), WEEKDAYS)])
def test_without_bounds_all_is_known(axis):
    """Arithmetic has no first and no last day."""
    assert axis.known_range() is None


def test_sessions_are_known_as_far_as_their_calendar():
    """Of a calendar with bounds nothing is known outside of them."""
    assert SessionDays(DESK).known_range() == (day("2012-01-02"), day("2013-03-15"))


def test_a_month_that_is_not_known_to_its_end_has_no_last_session():
    """The calendar may go on: until it does, the last month that is known is the one before."""
    axis = LastSessions(Months(1), DESK)
    assert axis.known_range() == (day("2012-01-02"), day("2013-02-28"))
    assert axis.at(axis.position(day("2013-02-01"))) == day("2013-02-28")
    with pytest.raises(IndexError):
        axis.at(axis.position(day("2013-03-01")))


def test_a_month_ends_with_its_last_session():
    """A holiday on the last day moves the as-of date, and the window stays the month."""
    axis = LastSessions(Months(1), DESK)
    as_of = axis.at(axis.position(day("2012-12-01")))
    assert date.fromordinal(as_of) == date(2012, 12, 28)
    assert axis.window(as_of) == (day("2012-12-01"), day("2013-01-01"))


def test_a_period_without_sessions_has_no_as_of_date():
    """The next as-of date is that of the next period with a session."""
    closed = [date(2012, 10, 29) + timedelta(days=n) for n in range(5)]
    axis = LastSessions(Weeks(4), DESK.with_holidays(closed))
    assert axis.at(axis.position(day("2012-10-27"))) == day("2012-11-09")
