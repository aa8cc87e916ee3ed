"""The look-ups of a calendar; those that every calendar shares are compared with a list in test_calendar."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import EVERY_DAY, WEEKDAYS, BusinessCalendar, CalendarError

DESK = BusinessCalendar.from_sessions(
    "DESK", ["2026-01-05", "2026-01-06", "2026-01-08"], first="2026-01-03", last="2026-01-10"
)
MON, TUE, THU = date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 8)


def test_a_session_or_the_next_to_it():
    """A session is itself; a closed day is the session before or after it."""
    assert (DESK.on_or_before(TUE), DESK.on_or_after(TUE)) == (TUE, TUE)
    assert (DESK.on_or_before(date(2026, 1, 7)), DESK.on_or_after(date(2026, 1, 7))) == (TUE, THU)


@pytest.mark.parametrize(
    ("look", "what"),
    [
        (lambda: DESK.on_or_before(date(2026, 1, 4)), "the session on or before 2026-01-04"),
        (lambda: DESK.on_or_after(date(2026, 1, 9)), "the session on or after 2026-01-09"),
        (lambda: DESK.previous(MON), "session number 1 before 2026-01-05"),
        (lambda: DESK.next(THU), "session number 1 after 2026-01-08"),
        (lambda: DESK.next(MON, 3), "session number 3 after 2026-01-05"),
        (lambda: DESK.ordinal_at(3), "session 3"),
        (lambda: DESK.at(-1), "session -1"),
        (lambda: DESK.is_session(date(2026, 1, 11)), "2026-01-11"),
        (lambda: DESK.count(date(2026, 1, 2), TUE), "2026-01-02"),
    ],
)
def test_what_is_outside_is_refused(look, what):
    """Outside of its bounds nothing is guessed; the message says what was asked and what is known."""
    with pytest.raises(CalendarError, match=f"{what} is outside the calendar DESK.*from 2026-01-03 to 2026-01-10"):
        look()


def test_bounds_need_not_be_sessions():
    """The first and last day that are known may be closed ones."""
    assert (DESK.first, DESK.last, DESK.bounded) == (date(2026, 1, 3), date(2026, 1, 10), True)
    assert (DESK.is_session(DESK.first), DESK.is_session(DESK.last)) == (False, False)


def test_its_own_bounds_stand_for_themselves():
    """The first and last date of Python stand for the calendar's bounds in ranges."""
    assert list(DESK.sessions(date.min, date.max)) == [MON, TUE, THU]
    assert (DESK.count(date.min, date.max), DESK.count(THU, MON), list(DESK.sessions(THU, MON))) == (3, 0, [])


def test_steps_count_from_one():
    """Neither no step nor a step backwards is taken."""
    for step in (DESK.previous, DESK.next):
        with pytest.raises(CalendarError, match="n counts from 1"):
            step(TUE, 0)
    assert (DESK.next(MON), DESK.next(MON, 2), DESK.previous(THU, 2)) == (TUE, THU, MON)


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (date(2026, 1, 4), "2026-01-04 is a Sunday, a weekend day in DESK: the session next to it is 2026-01-05"),
        (TUE, "2026-01-06 is a session of DESK"),
        (date(2026, 1, 9), "2026-01-09 is a Friday, a weekend day in DESK: the session next to it is 2026-01-08"),
    ],
)
def test_a_closed_day_is_explained(day, words):
    """The weekday, and the sessions around it, say why a day is closed."""
    assert DESK.explain(day) == words


def test_a_holiday_is_a_closed_day_of_the_week_that_is_open_as_a_rule():
    """Of a calendar that is only a list, most days decide which weekdays are open."""
    sessions = [day for day in WEEKDAYS.sessions(date(2026, 1, 1), date(2026, 3, 31)) if day != date(2026, 2, 16)]
    made = BusinessCalendar.from_sessions("LIST", sessions)
    assert "2026-02-16 is a holiday in LIST" in made.explain(date(2026, 2, 16))
    assert "2026-02-15 is a Sunday, a weekend day in LIST" in made.explain(date(2026, 2, 15))


def test_closing_times_are_asked_of_sessions_only():
    """A calendar without closing times says so, and a closed day has none."""
    with pytest.raises(CalendarError, match="DESK has no closing times; give it some"):
        DESK.close(MON)
    with pytest.raises(CalendarError, match="is a Friday"):
        DESK.closes_early(date(2026, 1, 9))
    assert DESK.closes is None


def test_a_half_day_ends_early():
    """A session with a time of its own that is before the usual one, and no other."""
    desk = BusinessCalendar.from_holidays(
        "D",
        ["2026-01-01"],
        close="16:00",
        timezone="UTC",
        special_closes={"2026-12-24": "12:00", "2026-12-23": "17:00"},
    )
    assert [desk.closes_early(date(2026, 12, day)) for day in (22, 23, 24)] == [False, False, True]


@given(st.dates(date(1, 1, 2), date(9999, 12, 30)))
def test_positions_count_sessions(day):
    """The position of a day is the number of sessions before it, in calendars of arithmetic as in those of a table."""
    for calendar in (EVERY_DAY, WEEKDAYS):
        here, after = calendar.position(day.toordinal()), calendar.position((day + timedelta(days=1)).toordinal())
        assert after - here == calendar.is_session(day)
