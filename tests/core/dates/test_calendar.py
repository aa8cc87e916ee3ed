"""BusinessCalendar, its built-in ones, and how calendars are found by name."""

import copy
import json
import pickle
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import EVERY_DAY, WEEKDAYS, BusinessCalendar, CalendarError
from flowctx.core.dates.calendar import get_calendar
from flowctx.core.dates.parsing import parse_weekmask

DAYS = st.dates(date(2000, 1, 1), date(2003, 12, 31))
DESK = BusinessCalendar.from_holidays("DESK", ["2012-10-29", "2012-10-30", "2012-12-25"])


@st.composite
def calendars(draw):
    """A calendar of some days, and those days."""
    days = draw(st.sets(DAYS, min_size=1, max_size=60))
    return BusinessCalendar.from_sessions("SOME", days, first="2000-01-01", last="2003-12-31"), sorted(days)


@given(calendars(), DAYS, st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_look_ups_agree_with_a_list(made, day, n):
    """Every look-up gives what searching the list of sessions gives, or refuses where the list has nothing."""
    calendar, days = made
    before, after = [d for d in days if d < day], [d for d in days if d > day]
    assert calendar.is_session(day) == (day in days)
    for call, answer in [
        (lambda: calendar.previous(day, n), before[-n] if len(before) >= n else None),
        (lambda: calendar.next(day, n), after[n - 1] if len(after) >= n else None),
        (lambda: calendar.on_or_before(day), ([*before, day] if day in days else before)[-1:] or None),
        (lambda: calendar.on_or_after(day), ([day, *after] if day in days else after)[:1] or None),
    ]:
        if answer is None:
            with pytest.raises(CalendarError, match="known from 2000-01-01 to 2003-12-31"):
                call()
        else:
            assert call() == (answer if isinstance(answer, date) else answer[0])


@given(calendars(), DAYS, DAYS)
@settings(max_examples=60, deadline=None)
def test_ranges_agree_with_a_list(made, a, b):
    """A range of sessions is what a list would hold, counted without being listed; backwards it is empty."""
    calendar, days = made
    inside = [d for d in days if a <= d <= b]
    assert list(calendar.sessions(a, b)) == inside
    assert calendar.count(a, b) == len(calendar.sessions(a, b)) == len(inside)


@given(calendars())
@settings(max_examples=60, deadline=None)
def test_index_and_at_are_inverse(made):
    """Sessions are numbered from zero in order."""
    calendar, days = made
    assert [calendar.index(d) for d in days] == list(range(len(days)))
    assert [calendar.at(i) for i in range(len(days))] == days


@given(st.dates(), st.integers(1, 10))
@settings(max_examples=60, deadline=None)
def test_weekdays_are_arithmetic(day, n):
    """WEEKDAYS counts Mondays to Fridays, over all dates that Python knows."""
    assert WEEKDAYS.is_session(day) == (day.weekday() < 5)
    if date(1, 2, 1) < day < date(9999, 12, 1):
        assert WEEKDAYS.count(WEEKDAYS.next(day), WEEKDAYS.next(day, n)) == n
        assert WEEKDAYS.count(WEEKDAYS.previous(day, n), WEEKDAYS.previous(day)) == n


@given(st.dates(date(1, 1, 2), date(9999, 12, 30)))
@settings(max_examples=60, deadline=None)
def test_every_day_is_a_session(day):
    """EVERY_DAY steps by one day and counts days."""
    assert EVERY_DAY.is_session(day)
    assert EVERY_DAY.next(day) - day == day - EVERY_DAY.previous(day) == timedelta(days=1)


@given(calendars())
@settings(max_examples=60, deadline=None)
def test_a_calendar_survives_json_pickle_and_copy(made):
    """A calendar of one's own comes back equal from its dict and from a pickle, holidays, extra days and all."""
    calendar, _ = made
    assert BusinessCalendar.from_dict(json.loads(json.dumps(calendar.to_dict()))) == calendar
    assert pickle.loads(pickle.dumps(calendar)) == calendar
    assert hash(pickle.loads(pickle.dumps(calendar))) == hash(calendar)
    assert copy.deepcopy(calendar) is calendar


def test_the_built_in_ones_are_written_by_name():
    """WEEKDAYS and EVERY_DAY take a name and a version, and come back as themselves."""
    for calendar in (WEEKDAYS, EVERY_DAY):
        assert calendar.to_dict() == {"name": calendar.name, "version": "1"} == calendar.identity
        assert BusinessCalendar.from_dict(calendar.to_dict()) is calendar
        assert pickle.loads(pickle.dumps(calendar)) is calendar


def test_equality_is_by_content():
    """Same name, bounds and sessions make the same calendar; one session more makes another, with another version."""
    a = BusinessCalendar.from_sessions("A", ["2012-10-26", "2012-10-31"])
    assert a == BusinessCalendar.from_sessions("A", [date(2012, 10, 31), "2012-10-26"])
    more = BusinessCalendar.from_sessions("A", ["2012-10-26", "2012-10-29", "2012-10-31"])
    assert a != more
    assert a.version != more.version
    assert a != BusinessCalendar.from_sessions("B", ["2012-10-26", "2012-10-31"])
    assert a != "A"


def test_a_calendar_is_immutable():
    """Nothing of a calendar can be set or deleted."""
    with pytest.raises(AttributeError, match="immutable"):
        DESK.name = "OTHER"
    with pytest.raises(AttributeError, match="immutable"):
        del DESK.name


def test_holidays_cover_whole_years():
    """Without bounds, a list of holidays is taken to cover the years that it mentions."""
    assert (DESK.first, DESK.last) == (date(2012, 1, 1), date(2012, 12, 31))
    assert DESK.count(date.min, date.max) == WEEKDAYS.count(date(2012, 1, 1), date(2012, 12, 31)) - 3


def test_a_weekmask_may_start_on_any_day():
    """SUN-THU, single days and flags from Monday all work."""
    riyadh = BusinessCalendar.from_holidays("R", [], weekmask="SUN-THU", first="2024-01-01", last="2024-12-31")
    assert riyadh.is_session(date(2024, 9, 22))
    assert not riyadh.is_session(date(2024, 9, 20))
    assert parse_weekmask("0000011") == parse_weekmask("sat, SUNDAY") == {5, 6}


def test_an_extra_session_is_open():
    """A Saturday worked is a session, and survives being written down."""
    made = BusinessCalendar.from_holidays("W", ["2024-04-29"], extra=["2024-04-27"])
    assert made.previous(date(2024, 4, 30)) == date(2024, 4, 27)
    assert BusinessCalendar.from_dict(made.to_dict()) == made


def test_explain_tells_a_holiday_from_a_weekend():
    """The reason and the sessions on both sides are in the message."""
    assert DESK.explain(date(2012, 10, 29)) == (
        "2012-10-29 is a holiday in DESK: sessions around it are 2012-10-26 and 2012-10-31"
    )
    assert "2012-10-27 is a Saturday, a weekend day in DESK" in DESK.explain(date(2012, 10, 27))
    assert DESK.explain(date(2012, 10, 26)) == "2012-10-26 is a session of DESK"
    with pytest.raises(CalendarError, match="2012-10-26 and 2012-10-31"):
        DESK.index(date(2012, 10, 29))


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: DESK.is_session(date(2013, 1, 1)), "known from 2012-01-01 to 2012-12-31"),
        (lambda: DESK.previous(date(2012, 1, 2)), "session number 1 before 2012-01-02"),
        (lambda: DESK.next(date(2012, 12, 28), 3), "session number 3 after"),
        (lambda: DESK.at(-1), "session -1 is outside"),
        (lambda: DESK.next(date(2012, 10, 26), 0), "n counts from 1"),
        (lambda: DESK.is_session(datetime(2012, 10, 26, tzinfo=UTC)), r"pass d=value.date\(\)"),
        (lambda: DESK.is_session("2012-10-26"), "pass a datetime.date"),
        (lambda: BusinessCalendar(), "from_sessions"),
        (lambda: BusinessCalendar.from_sessions("A", []), "at least one"),
        (lambda: BusinessCalendar.from_sessions("A", ["2012-10-26"], last="2012-10-25"), "swap them"),
        (lambda: BusinessCalendar.from_sessions("A", ["2012-10-26"], first="2012-11-01", last="2013-01-01"), "widen"),
        (lambda: BusinessCalendar.from_sessions(" ", ["2012-10-26"]), "short printable text"),
        (lambda: BusinessCalendar.from_holidays("A", []), "pass first= and last="),
        (lambda: BusinessCalendar.from_holidays("A", ["29.10.2012"]), "write it as YYYY-MM-DD"),
        (lambda: BusinessCalendar.from_holidays("A", ["2012-10-29"], weekmask="MO-FR"), "MON, TUE"),
        (lambda: BusinessCalendar.from_holidays("A", ["2012-10-29"], weekmask=""), "MON-FRI"),
        (lambda: BusinessCalendar.from_holidays("A", ["2012-10-29"], weekmask="0000000"), "no open weekday"),
        (lambda: BusinessCalendar.from_holidays("A", ["2012-10-29"], extra=["2014-01-01"]), "widen first= and last="),
        (
            lambda: BusinessCalendar.from_holidays("A", ["2012-10-29"], first="2012-10-29", last="2012-10-29"),
            "no session between",
        ),
        (lambda: BusinessCalendar.from_dict({"name": "A"}), "not a calendar written by"),
        (lambda: BusinessCalendar.from_dict([1]), "not a calendar written by"),
        (lambda: get_calendar("WEEKDAY"), "did you mean WEEKDAYS"),
        (lambda: get_calendar(None), "pass a name or a BusinessCalendar"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(call, remedy):
    """Each error says what to write instead."""
    with pytest.raises(CalendarError, match=remedy):
        call()


def test_a_calendar_object_needs_no_look_up():
    """Where a name is wanted a calendar will do."""
    assert get_calendar(DESK) is DESK
    assert get_calendar("WEEKDAYS") is WEEKDAYS
