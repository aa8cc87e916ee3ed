"""Daily, Weekly, Monthly, Quarterly: as-of dates, windows, due times."""

import itertools
import json
import pickle
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import BusinessCalendar, CalendarError, Daily, Hourly, Monthly, Quarterly, Weekly, Yearly
from flowctx.core.dates.cadence import Cadence
from flowctx.core.dates.calendar import get_calendar
from flowctx.core.dates.zones import first_instant, get_zone, resolve_wall_time

ALL_OPEN = BusinessCalendar.from_holidays("D", [], first="1990-01-01", last="2020-12-31", weekmask="MON-SUN")
CALENDARS = ["XNYS", "XLON", "XTKS", "WEEKDAYS"]
# In the last two, clocks jump over midnight in spring; in Lord Howe they move by half an hour.
ZONES = [
    "America/New_York",
    "Europe/London",
    "Asia/Tokyo",
    "UTC",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Cairo",
]
KINDS = {
    "daily": lambda **more: Daily(**more),
    "weekly": lambda **more: Weekly(**more),
    "weekly-last": lambda **more: Weekly(as_of="last_session", **more),
    "monthly": lambda **more: Monthly(**more),
    "monthly-last": lambda **more: Monthly(as_of="last_session", **more),
    "quarterly": lambda **more: Quarterly(**more),
    "quarterly-last": lambda **more: Quarterly(as_of="last_session", **more),
    "yearly": lambda **more: Yearly(ends_in="JUN", **more),
    "yearly-last": lambda **more: Yearly(ends_in="JUN", as_of="last_session", **more),
}
DAY = timedelta(days=1)
NAIVE = datetime(1997, 1, 1), datetime(2026, 12, 1)  # noqa: DTZ001
NY = "America/New_York"


def whole(kind, calendar, **more):
    """The cadence of a kind over 1995 to 2026, or what its calendar knows of it."""
    return KINDS[kind](
        start=max(date(1995, 1, 1), get_calendar(calendar).first), end="2026-12-31", calendar=calendar, **more
    )


@st.composite
def cadences(draw, **fixed):
    """A cadence of any kind, calendar, zone, delay and ends_on, with or without an end."""
    start = draw(st.dates(date(1997, 1, 1), date(2024, 12, 31)))
    more = {
        "start": start,
        "end": draw(st.none() | st.dates(start, date(2026, 12, 31))),
        "calendar": draw(st.sampled_from(CALENDARS)),
        "timezone": draw(st.sampled_from(ZONES)),
        "delay": timedelta(minutes=draw(st.integers(0, 3 * 24 * 60))),
        **fixed,
    }
    kind = draw(st.sampled_from(list(KINDS)))
    if kind.startswith("weekly"):
        more["ends_on"] = draw(st.sampled_from(["MON", "FRI", "SAT", "SUN"]))
    return KINDS[kind](**more)


def period_of(kind, day):
    """The number of the week (to Friday), month, quarter or year (to June) of a day."""
    if kind == "week":
        return (day + timedelta(days=(4 - day.weekday()) % 7)).toordinal()
    if kind == "year":
        return day.year + (day.month > 6)
    return day.year * 12 + day.month - 1 if kind == "month" else day.year * 4 + (day.month - 1) // 3


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("kind", list(KINDS))
def test_as_of_dates_are_those_of_a_plain_list(kind, calendar):
    """Sessions, last days and last sessions of periods, worked out day by day, are the as-of dates."""
    cadence = whole(kind, calendar)
    sessions = get_calendar(calendar)
    days = [date.fromordinal(o) for o in range(cadence.start.toordinal(), date(2027, 6, 30).toordinal() + 1)]
    unit, _, named_by = kind.partition("-")
    if unit == "daily":
        expected = [day for day in days if sessions.is_session(day)]
    else:
        kept = [day for day in days if sessions.is_session(day)] if named_by else days
        name = {"weekly": "week", "monthly": "month", "quarterly": "quarter", "yearly": "year"}[unit]
        expected = [list(group)[-1] for _, group in itertools.groupby(kept, lambda day: period_of(name, day))]
    assert list(cadence) == [day for day in expected if day <= cadence.end]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("kind", list(KINDS))
def test_windows_tile(kind, calendar, zone):
    """Windows never overlap; those of periods that follow each other, and of days that do, meet exactly."""
    cadence = whole(kind, calendar, timezone=zone)
    spans = [cadence._axis.window(day.toordinal()) for day in cadence]
    gaps = {later[0] - earlier[1] for earlier, later in itertools.pairwise(spans)}
    assert min(gaps) == 0
    assert gaps == {0} or kind == "daily" or (kind, calendar) == ("weekly-last", "XTKS")
    for day in list(cadence)[:: 1 + len(cadence) // 150]:
        window = cadence.window(day)
        assert window.start < window.end
        following = cadence.containing(window.end.date())
        if following is not None:
            assert cadence.window(following).start == window.end
        assert cadence.containing(window.start.date()) == day
        assert (
            cadence.containing((window.end.astimezone(UTC) - timedelta(seconds=1)).astimezone(cadence.zone).date())
            == day
        )


@given(cadences())
@settings(max_examples=60, deadline=None)
def test_index_inverts_access(cadence):
    """The i-th as-of date has index i, for any i, from either end if there are two."""
    size = min(len(cadence), 40) if cadence.bounded else 12 if isinstance(cadence, Yearly) else 40
    days = list(cadence[:size])
    assert [cadence.index(day) for day in days] == list(range(size))
    assert days == sorted(set(days)) == list(itertools.islice(cadence, size))
    assert all(day in cadence and cadence.count(day) == i + 1 for i, day in enumerate(days))
    if cadence.bounded and days:
        assert cadence[-1] == cadence[len(cadence) - 1] <= cadence.end


@given(cadences(), st.dates(date(1997, 1, 1), date(2026, 12, 31)))
@settings(max_examples=150, deadline=None)
def test_every_day_finds_its_window(cadence, day):
    """The as-of date whose window contains a day is the only one that does; every other day has none."""
    found = cadence.containing(day)
    noon = datetime.combine(day, time(12), cadence.zone)
    near = cadence[max(0, cadence.count(day) - 2) : cadence.count(min(day + 100 * DAY, date(2026, 12, 31))) + 1]
    holding = [d for d in near if cadence.window(d).start <= noon < cadence.window(d).end]
    assert holding == ([] if found is None else [found])


@given(
    cadences(),
    st.datetimes(*NAIVE, timezones=st.sampled_from([UTC, get_zone(NY)])),
)
@settings(max_examples=150, deadline=None)
def test_due_count_agrees_with_due_times(cadence, now):
    """Exactly the first n as-of dates are due, whatever clocks do around them."""
    n = cadence.due_count(now)
    assert n >= 0
    if n:
        assert cadence.due(cadence[n - 1]) <= now
        assert cadence.latest_due(now) == cadence[n - 1]
    if not cadence.bounded or n < len(cadence):
        assert cadence.due(cadence[n]) > now
        assert cadence.first_due_after(now) == cadence[n]
    else:
        assert cadence.first_due_after(now) is None


@given(cadences())
@settings(max_examples=60, deadline=None)
def test_due_is_the_end_of_the_window_plus_the_delay_by_the_wall_clock(cadence):
    """A due time reads as the window's last midnight plus the delay, unless no clock ever shows that."""
    if not cadence:
        return
    window, due = cadence.window(cadence[0]), cadence.due(cadence[0])
    wall = datetime.combine(window.end.date(), time()) + cadence.delay
    shown = due.replace(tzinfo=None)
    assert shown == wall or (shown > wall and due == resolve_wall_time(wall, cadence.zone))
    assert window.end <= due


@given(cadences())
@settings(max_examples=60, deadline=None)
def test_a_cadence_survives_json_and_pickle(cadence):
    """A cadence is equal to what its dict and its pickle give back, and to its repr evaluated."""
    assert Cadence.from_dict(json.loads(json.dumps(cadence.to_dict()))) == cadence
    assert pickle.loads(pickle.dumps(cadence)) == cadence
    assert hash(pickle.loads(pickle.dumps(cadence))) == hash(cadence)
    scope = {kind.__name__: kind for kind in (Daily, Weekly, Monthly, Quarterly, Yearly)}
    import datetime as module

    assert eval(repr(cadence), {"datetime": module, **scope}) == cadence


def test_a_calendar_of_ones_own_is_written_whole():
    """A cadence on a list of holidays carries the list."""
    desk = BusinessCalendar.from_holidays("DESK", ["2012-10-29", "2012-10-30"])
    daily = Daily(start="2012-10-26", end="2012-10-31", calendar=desk)
    again = Cadence.from_dict(json.loads(json.dumps(daily.to_dict())))
    assert again == daily
    assert list(again) == [date(2012, 10, 26), date(2012, 10, 31)]


def test_a_named_calendar_is_kept_by_name():
    """A cadence is the same whether its calendar was passed as a name or loaded."""
    assert Daily(start="2012-01-03", calendar=get_calendar("XNYS")) == Daily(start="2012-01-03", calendar="XNYS")


def test_a_calendar_is_loaded_at_first_use():
    """Making a cadence, comparing it and writing it down need no calendar; counting does."""
    daily = Daily(start="2012-01-03", end="2012-12-31", calendar="XNYZ")
    assert daily == Cadence.from_dict(daily.to_dict())
    with pytest.raises(CalendarError, match="did you mean .*XNYS"):
        len(daily)


def test_replace_makes_a_checked_copy():
    """dataclasses.replace works, and checks."""
    weeks = Weekly(start="2012-01-01", ends_on="sunday")
    assert replace(weeks, end="2012-02-01").end == date(2012, 2, 1)
    assert weeks.ends_on == "SUN"
    with pytest.raises(CalendarError, match="swap them"):
        replace(weeks, end="2011-01-01")
    with pytest.raises(AttributeError):
        weeks.start = date(2013, 1, 1)


def test_xnys_weeks_from_2016_to_2027_disagree_22_times():
    """22 of 617 weeks do not end on a Friday session: a week's last day and its last session are not the same."""
    more = {"start": "2016-01-02", "end": "2027-10-31", "calendar": "XNYS"}
    by_end, by_session = Weekly(**more), Weekly(as_of="last_session", **more)
    assert len(by_end) == len(by_session) == 617
    assert sum(a != b for a, b in zip(by_end, by_session, strict=True)) == 22
    assert [by_end.window(a) for a in by_end] == [by_session.window(b) for b in by_session]


def test_a_week_without_sessions_has_no_entry():
    """Tokyo was closed from 2019-04-27 to 05-06: that week has no last session, and belongs to no window."""
    weeks = Weekly(start="2019-04-01", end="2019-05-31", calendar="XTKS", as_of="last_session")
    assert date(2019, 4, 26) in weeks
    assert weeks[weeks.index(date(2019, 4, 26)) + 1] == date(2019, 5, 10)
    assert weeks.containing(date(2019, 4, 30)) is None
    assert weeks.window(date(2019, 5, 10)).start.date() == date(2019, 5, 4)
    assert date(2019, 5, 3) in Weekly(start="2019-04-01", calendar="XTKS")


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 3, 9), 24)])
def test_a_daily_window_is_one_local_day(day, hours):
    """A day lasts 23 hours when clocks go forward, and 25 when they go back."""
    window = Daily(start="2026-01-01", timezone=NY).window(day)
    assert window.end.astimezone(UTC) - window.start.astimezone(UTC) == timedelta(hours=hours)
    assert (window.start.hour, window.end.hour) == (0, 0)


@pytest.mark.parametrize(
    ("zone", "left_out"), [("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Kwajalein", date(1993, 8, 21))]
)
@pytest.mark.parametrize("calendar", ["EVERY_DAY", ALL_OPEN])
def test_a_day_that_the_zone_left_out_is_no_as_of_date(zone, left_out, calendar):
    """No window is empty, and the other days are numbered and found without it; so are the hours."""
    daily = Daily(start=left_out - 3 * DAY, end=left_out + 3 * DAY, timezone=zone, calendar=calendar)
    days = [left_out + n * DAY for n in (-3, -2, -1, 1, 2, 3)]
    assert list(daily) == days
    assert [daily.index(day) for day in days] == list(range(6))
    assert all(start < end for start, end in map(daily.window, days))
    assert (left_out in daily, daily.containing(left_out)) == (False, None)
    with pytest.raises(CalendarError, match=f"{left_out} was left out by the clocks of {zone}; as-of dates around it"):
        daily.window(left_out)
    hours = Hourly(start=daily.start, end=daily.end, timezone=zone, calendar=calendar)
    assert sorted({hour.date() for hour in hours}) == days
    later = Daily(start=left_out + DAY, timezone=zone, calendar=calendar)
    assert (later[0], later[10]) == (left_out + DAY, left_out + 11 * DAY)


@pytest.mark.parametrize("day", [date(2026, 3, 7), date(2026, 3, 8), date(2026, 10, 31), date(2026, 11, 1)])
def test_six_in_the_morning_stays_six(day):
    """A delay of six hours means 06:00 by the wall clock, on days with a change of clocks too."""
    due = Daily(start="2026-01-01", timezone=NY, delay=timedelta(hours=6)).due(day)
    assert (due.date(), due.time()) == (day + DAY, time(6))


def test_a_time_that_does_not_exist_moves_to_the_next_that_does():
    """02:30 on the day clocks go forward is 03:00; of two 01:30s when they go back, the first counts."""
    half_past_two = Daily(start="2026-01-01", timezone=NY, delay=timedelta(hours=2, minutes=30))
    assert half_past_two.due(date(2026, 3, 7)).isoformat() == "2026-03-08T03:00:00-04:00"
    half_past_one = Daily(start="2026-01-01", timezone=NY, delay=timedelta(hours=1, minutes=30))
    assert half_past_one.due(date(2026, 10, 31)).isoformat() == "2026-11-01T01:30:00-04:00"


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T01:00:00-02:00"),
        ("Africa/Cairo", date(2024, 4, 26), "2024-04-26T01:00:00+03:00"),
        ("America/Havana", date(2024, 11, 3), "2024-11-03T00:00:00-04:00"),  # midnight comes twice
        ("America/Toronto", date(1919, 3, 31), "1919-03-31T00:30:00-04:00"),  # from 23:30 to 00:30
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-31T00:00:00+14:00"),  # a day that was left out
        ("Europe/London", date(2024, 3, 31), "2024-03-31T00:00:00+00:00"),
    ],
)
def test_a_day_begins_at_its_first_instant(zone, day, first):
    """Midnight, or where clocks jump over it the time they jump to, or the first of two."""
    assert first_instant(day, get_zone(zone)).isoformat() == first


@given(
    st.datetimes(*NAIVE),
    st.sampled_from([*ZONES, "Pacific/Apia", "America/Caracas"]),
)
@settings(max_examples=300, deadline=None)
def test_a_resolved_wall_time_exists(wall, zone):
    """It shows the same or the next existing time on a clock, and a second before it no clock showed it yet."""
    instant = resolve_wall_time(wall, get_zone(zone))
    assert instant.astimezone(UTC).astimezone(instant.tzinfo).replace(tzinfo=None) == instant.replace(tzinfo=None)
    assert instant.replace(tzinfo=None) >= wall
    if instant.replace(tzinfo=None) > wall:
        before = (instant.astimezone(UTC) - timedelta(seconds=1)).astimezone(instant.tzinfo)
        assert before.replace(tzinfo=None) < wall


def test_without_an_end_there_is_no_length():
    """What needs a length says how to give one; what does not, works."""
    daily = Daily(start="2012-01-01")
    assert bool(daily)
    assert not daily.bounded
    assert daily[10**6] == date(2012, 1, 1) + 10**6 * DAY
    for needs in (lambda: len(daily), lambda: daily[-1], daily.count, lambda: daily[3:], lambda: daily[:-1]):
        with pytest.raises(CalendarError, match="end"):
            needs()
    assert list(daily[1:3]) == [date(2012, 1, 2), date(2012, 1, 3)]


def test_a_bounded_cadence_ends():
    """Past its end there is no entry, from either side; an empty one is false."""
    daily = Daily(start="2012-10-26", end="2012-10-31", calendar="XNYS")
    assert list(daily) == [date(2012, 10, 26), date(2012, 10, 31)] == list(daily[:])
    for index in (2, -3):
        with pytest.raises(IndexError, match="2 as-of dates"):
            daily[index]
    assert not Daily(start="2012-10-29", end="2012-10-30", calendar="XNYS")


def test_counts_clip_to_start_and_end():
    """Counting until a day before the start gives none, and after the end all."""
    daily = Daily(start="2012-10-26", end="2012-10-31", calendar="XNYS")
    assert daily.count(date(1990, 1, 1)) == 0
    assert daily.count(date(2100, 1, 1)) == 2
    assert daily.indexes(date(1990, 1, 1), date(2012, 10, 30)) == range(1)
    assert not daily.indexes(date(2012, 10, 29), date(2012, 10, 30))


def test_neighbours_lie_around():
    """The nearest as-of dates on both sides, as far as there are any."""
    daily = Daily(start="2012-10-26", end="2012-10-31", calendar="XNYS")
    assert daily.neighbours(date(2012, 10, 29)) == [date(2012, 10, 26), date(2012, 10, 31)]
    assert daily.neighbours(date(2012, 1, 1)) == [date(2012, 10, 26)]
    assert daily.neighbours(date(2013, 1, 1)) == [date(2012, 10, 31)]


def test_the_calendar_s_own_bounds_are_not_passed():
    """A cadence that outlives its calendar says so, and how far the calendar is known."""
    daily = Daily(start="2039-12-29", calendar="XNYS")
    assert daily[1] == date(2039, 12, 30)
    for beyond in (lambda: daily[2], lambda: list(daily), lambda: daily.count(date(2040, 1, 1))):
        with pytest.raises(CalendarError, match="XNYS"):
            beyond()
    assert daily.due_count(datetime(2040, 1, 1, tzinfo=UTC)) == 2
    with pytest.raises(CalendarError, match="2039-12-31"):
        daily.due_count(datetime(2040, 1, 3, tzinfo=UTC))
    with pytest.raises(CalendarError, match="start on or after 1997-01-01"):
        Daily(start="1995-01-01", calendar="XTKS")[0]
    months = Monthly(start="2039-11-01", calendar="XNYS", as_of="last_session")
    assert list(months[:2]) == [date(2039, 11, 30), date(2039, 12, 30)]
    assert months.known_until == date(2039, 12, 31)
    assert Weekly(start="2039-12-01", calendar="XNYS", as_of="last_session").known_until == date(2039, 12, 30)


def test_a_period_that_the_calendar_does_not_know_to_its_end_has_no_entry():
    """A month of which the last sessions are unknown is not named by the last known one."""
    known = BusinessCalendar.from_holidays("K", ["2024-01-01"], last="2024-02-15")
    months = Monthly(start="2024-01-01", calendar=known, as_of="last_session")
    assert months[0] == date(2024, 1, 31)
    with pytest.raises(CalendarError, match="later than is known"):
        months[1]
    assert months.due_count(datetime(2024, 2, 29, tzinfo=UTC)) == 1


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: Daily(start="2013-01-01", end="2012-01-01"), "swap them"),
        (lambda: Daily(start=NAIVE[0]), r"pass start=value.date\(\)"),
        (lambda: Daily(start="1/1/2012"), "YYYY-MM-DD"),
        (lambda: Daily(start="2012-01-01", timezone="America/NewYork"), "did you mean America/New_York"),
        (lambda: Daily(start="2012-01-01", timezone="Tokyo"), "did you mean Asia/Tokyo"),
        (lambda: Daily(start="2012-01-01", timezone=""), "IANA name"),
        (lambda: Daily(start="2012-01-01", timezone=None), "IANA name"),
        (lambda: Daily(start="2012-01-01", delay=timedelta(hours=-1)), r"timedelta\(0\) or more"),
        (lambda: Daily(start="2012-01-01", delay=6), r"timedelta\(0\) or more"),
        (lambda: Daily(start="2012-01-01", calendar=None), "pass a name such as 'XNYS'"),
        (lambda: Daily(start="2012-01-01").due_count(NAIVE[0]), "naive datetime; give it a zone"),
        (lambda: Daily(start="2012-01-01").due_count(date(2012, 1, 1)), "pass an aware datetime"),
        (lambda: Daily(start="2012-01-01").index("2012-01-01"), "pass a datetime.date"),
        (lambda: Daily(start="2012-01-01").index(NAIVE[0]), r"value.date\(\)"),
        (lambda: Weekly(start="2012-01-01", ends_on="FRY"), "use one of MON"),
        (lambda: Monthly(start="2012-01-01", as_of="last"), "'last_session'"),
        (lambda: Cadence.from_dict({"kind": "hourly"}), "not a cadence written by"),
        (lambda: Cadence.from_dict({"kind": "daily", "start": "2012-01-01"}), "not a cadence written by"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(call, remedy):
    """Each error says what to write instead."""
    with pytest.raises(CalendarError, match=remedy):
        call()


@pytest.mark.parametrize(
    ("cadence", "day", "words"),
    [
        (
            Daily(start="2012-01-03", calendar="XNYS"),
            date(2012, 10, 29),
            "2012-10-29 is a holiday in XNYS: sessions around it are 2012-10-26 and 2012-10-31",
        ),
        (Daily(start="2012-01-03", calendar="XNYS"), date(2012, 10, 27), "a Saturday, a weekend day in XNYS"),
        (
            Daily(start="2012-01-03"),
            date(2012, 1, 2),
            "before the start 2012-01-03; the first as-of date is 2012-01-03",
        ),
        (Daily(start="2012-01-03", end="2012-01-05"), date(2012, 1, 6), "the last as-of date is 2012-01-05"),
        (Weekly(start="2026-01-01"), date(2026, 1, 10), "is a Saturday.*2026-01-09 was probably meant .or 2026-01-16"),
        (Weekly(start="2026-01-01"), date(2026, 1, 8), "is a Thursday.*2026-01-09 was probably meant"),
        (Monthly(start="2026-01-01"), date(2026, 1, 30), "named by its last day: 2026-01-31 was probably meant"),
        (
            Weekly(start="2012-01-01", calendar="XNYS", as_of="last_session"),
            date(2012, 4, 6),
            "is a Friday; in XNYS its week is named by its last session, 2012-04-05",
        ),
        (
            Weekly(start="2019-01-01", calendar="XTKS", as_of="last_session"),
            date(2019, 5, 3),
            "its week has no session; as-of dates around it are 2019-04-26 and 2019-05-10",
        ),
    ],
)
def test_a_wrong_date_names_the_right_ones(cadence, day, words):
    """A date that is no as-of date is told why, and which ones lie around it."""
    with pytest.raises(CalendarError, match=words):
        cadence.index(day)
    assert day not in cadence


def test_zones_may_be_objects():
    """A ZoneInfo and datetime.UTC are taken by their names."""
    assert Daily(start="2012-01-01", timezone=ZoneInfo(NY)).timezone == NY
    assert Daily(start="2012-01-01", timezone=UTC) == Daily(start="2012-01-01")
