"""When runs are due: on the as-of date itself, after an early close, later for one tier than for another."""

import json
import pickle
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import (
    CalendarError,
    Daily,
    Hourly,
    Monthly,
    PartitionError,
    PartitionScheme,
    Weekly,
    Workflow,
    Yearly,
    run,
)
from flowctx.core.dates.cadence import Cadence
from flowctx.core.dates.due_rules import DueRule, parse_delay
from flowctx.testing import FakeClock

NY = "America/New_York"
WEEKS, FOUR_WEEKS = timedelta(weeks=2), timedelta(weeks=4)
TIERS = PartitionScheme(
    week_ending=Weekly(start="2026-01-01", timezone=NY, delay={"tier": {"T1": WEEKS, "T2": WEEKS, "OTC": FOUR_WEEKS}}),
    tier=["T1", "T2", "OTC"],
    venue=["A", "B"],
)


def due(cadence, *days):
    """The due times of some as-of dates, as text."""
    return [cadence.due(date.fromisoformat(day)).isoformat() for day in days]


def test_a_day_can_be_due_on_its_own_evening():
    """17:00 is that of the as-of date by the clocks of the zone, in winter and in summer."""
    evening = Daily(start="2026-01-01", calendar="XNYS", timezone=NY, due="17:00")
    assert due(evening, "2026-03-06", "2026-03-09") == ["2026-03-06T17:00:00-05:00", "2026-03-09T17:00:00-04:00"]
    assert evening.latest_due(datetime(2026, 3, 9, 20, 59, tzinfo=UTC)) == date(2026, 3, 6)
    assert evening.latest_due(datetime(2026, 3, 9, 21, 0, tzinfo=UTC)) == date(2026, 3, 9)
    assert due(Weekly(start="2026-01-01", due=time(17)), "2026-03-06") == ["2026-03-06T17:00:00+00:00"]


def test_a_half_day_can_be_due_the_same_afternoon():
    """Half an hour after the close is 13:30 on the day after Thanksgiving, and 16:30 on others."""
    closing = Daily(start="2026-01-01", calendar="XNYS", timezone=NY, due="close + 30min")
    days = ("2026-11-25", "2026-11-27", "2026-12-24")
    times = ["2026-11-25T16:30:00-05:00", "2026-11-27T13:30:00-05:00", "2026-12-24T13:30:00-05:00"]
    assert due(closing, *days) == times
    elsewhere = Daily(start="2026-01-01", calendar="XNYS", timezone="Europe/London", due="close")
    assert due(elsewhere, "2026-03-06", "2026-03-09") == ["2026-03-06T21:00:00+00:00", "2026-03-09T20:00:00+00:00"]
    months = Monthly(start="2026-01-01", calendar="XNYS", timezone=NY, as_of="last_session", due="close + 1h 30min")
    assert due(months, "2026-11-30") == ["2026-11-30T17:30:00-05:00"]


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: Daily(start="2026-01-01", due="5pm"), "write '17:00', 'close' or 'close"),
        (lambda: Daily(start="2026-01-01", due="17:0"), "write it as HH:MM"),
        (lambda: Daily(start="2026-01-01", due="close + 30"), "write it as 30min, 2h or 1h 30min"),
        (lambda: Daily(start="2026-01-01", due="close + 30h"), "pass delay= instead"),
        (lambda: Daily(start="2026-01-01", due="17:00", delay=timedelta(1)), "pass one of them"),
        (lambda: Daily(start="2026-01-01", delay=timedelta(-1)), "pass due='17:00'"),
        (lambda: Weekly(start="2026-01-01", due="close"), "pass as_of='last_session'"),
        (lambda: Hourly(start="2026-01-01", due="17:00"), "pass delay="),
        (
            lambda: (
                Daily(start="2026-01-01", due="close")[0:1]
                and due(Daily(start="2026-01-01", due="close"), "2026-01-01")
            ),
            "no closing times; give it some",
        ),
        (lambda: Daily(start="2026-01-01", delay={"tier": {}}), "delays differ by one dimension"),
        (lambda: Daily(start="2026-01-01", delay={"tier": {"T1": 3}}), "tier=T1 is 3; pass timedelta"),
        (lambda: Yearly(start="2026-01-01", ends_in="SMARCH"), "use one of JAN, FEB"),
    ],
)
def test_what_cannot_be_is_refused(make, remedy):
    """The message says what to write."""
    with pytest.raises(CalendarError, match=remedy):
        make()


DUES = st.sampled_from(
    ["00:00", "02:30", "17:00", "23:59", "close", "close + 30min", "close - 1h", "close + 23h 59min"]
)


@given(
    DUES,
    st.sampled_from([NY, "Europe/London", "Asia/Tokyo", "America/Sao_Paulo"]),
    st.dates(date(2010, 1, 1), date(2026, 6, 1)),
)
@settings(max_examples=80, deadline=None)
def test_due_times_are_in_order_and_counted(rule, zone, start):
    """With any rule due times ascend, and just at and just before each of them the count is right."""
    cadence = Daily(start=start, end=start + timedelta(days=30), calendar="XNYS", timezone=zone, due=rule)
    times = [cadence.due(day) for day in cadence]
    stamps = [moment.timestamp() for moment in times]
    assert stamps == sorted(set(stamps))
    for count, moment in enumerate(times):
        assert cadence.due_count(moment) == cadence.known_due_count(moment) == count + 1
        assert cadence.due_count(moment - timedelta(microseconds=1)) == count
    assert (
        Cadence.from_dict(json.loads(json.dumps(cadence.to_dict()))) == cadence == pickle.loads(pickle.dumps(cadence))
    )
    assert eval(repr(cadence), {"Daily": Daily}) == cadence
    assert replace(cadence, end=None).due_at == cadence.due_at


def test_a_delay_can_differ_by_a_dimension():
    """Tier 1 is due after two weeks and OTC after four, and an as-of date alone is due at no one time."""
    [t1, otc] = [TIERS.due(TIERS.key(week_ending="2026-01-09", tier=tier, venue="A")) for tier in ("T1", "OTC")]
    assert (t1.date(), otc.date()) == (date(2026, 1, 24), date(2026, 2, 7))
    assert [(cadence.delay, values) for cadence, values in TIERS.cadences] == [
        (WEEKS, ("T1", "T2")),
        (FOUR_WEEKS, ("OTC",)),
    ]
    with pytest.raises(CalendarError, match=r"the delay differs by tier, .* scheme.due\(key\)"):
        TIERS.cadence.due(date(2026, 1, 9))
    assert (
        PartitionScheme.from_dict(json.loads(json.dumps(TIERS.to_dict()))) == TIERS == pickle.loads(pickle.dumps(TIERS))
    )
    assert eval(repr(TIERS.cadence), {"Weekly": Weekly, "datetime": __import__("datetime")}) == TIERS.cadence


@given(st.datetimes(datetime(2025, 12, 1), datetime(2026, 6, 1)).map(lambda at: at.replace(tzinfo=UTC)))  # noqa: DTZ001
@settings(max_examples=60, deadline=None)
def test_the_keys_that_are_due_are_those_of_a_plain_list(now):
    """Of keys whose delays differ, exactly those are due whose time has come."""
    expected = [key for key in TIERS.keys(until="2026-06-30") if TIERS.due(key) <= now]
    assert list(TIERS.due_keys(now)) == expected


@pytest.mark.parametrize(
    ("dimensions", "remedy"),
    [
        ({"venue": ["A"]}, "differs by 'tier', which is no static dimension"),
        ({"tier": ["T1", "OTC"]}, "nothing for tier=OTC; give each of its values a delay"),
        ({"tier": ["T9"]}, "delay= has T1, and tier has T9; correct the values"),
    ],
)
def test_delays_are_those_of_the_dimension(dimensions, remedy):
    """A dimension that is not there, a value without delay and a delay without value are errors."""
    days = Daily(start="2026-01-01", delay={"tier": {"T1": WEEKS}})
    with pytest.raises((PartitionError, CalendarError), match=remedy):
        PartitionScheme(date=days, **dimensions)


def test_values_that_are_read_later_are_checked_then():
    """Where the values come from a callable, their delays are checked when they are first needed."""
    scheme = PartitionScheme(date=Daily(start="2026-01-01", delay={"tier": {"T1": WEEKS}}), tier=lambda: ["T1", "T2"])
    with pytest.raises(CalendarError, match="nothing for tier=T2"):
        assert scheme.cadences


def test_a_key_that_is_not_due_is_refused():
    """A run before its data is complete is an error that says when the key is due; a minute of clocks is allowed."""
    flow = Workflow("f", partitions=PartitionScheme(date=Daily(start="2026-01-01", timezone=NY, due="17:00")))
    flow.step(name="s")(lambda ctx: {})
    at = datetime(2026, 1, 9, 21, 58, 59, tzinfo=UTC)
    with pytest.raises(
        PartitionError, match="date=2026-01-09 is not due until 2026-01-09T17:00:00-05:00, .*run it then"
    ):
        run(flow, partition="date=2026-01-09", clock=FakeClock(at))
    assert run(flow, partition="date=2026-01-09", clock=FakeClock(at + timedelta(seconds=1))).status == "ok"


def test_what_is_known_is_counted_past_the_end_of_a_calendar():
    """Past its last day a calendar has no more as-of dates, and those that it has are due; guessing is refused."""
    shanghai = Daily(start="2026-12-01", calendar="XSHG", timezone="Asia/Shanghai")
    later = datetime(2027, 2, 1, tzinfo=UTC)
    assert shanghai.known_due_count(later) == 23 == len(PartitionScheme(date=shanghai).due_keys(later))
    with pytest.raises(CalendarError, match="outside what is known of the calendar XSHG"):
        shanghai.due_count(later)


TIMES = st.integers(0, 24 * 60 - 1)


@given(TIMES, st.booleans(), st.booleans())
def test_a_rule_s_own_text_is_the_rule(minutes, after_close, before):
    """A rule is read back from its text, and a rule is its own rule."""
    offset = timedelta(minutes=-minutes if before and after_close else minutes)
    rule = DueRule(after_close, offset)
    assert DueRule.parse(str(rule)) == DueRule.parse(rule) == rule


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("close", 0), (" close ", 0), ("close+30min", 30), ("close + 1h 30m", 90), ("close - 2 hours", -120)],
)
def test_a_time_after_the_close_has_many_spellings(text, minutes):
    """Blanks do not count, and hours and minutes have short and long names."""
    assert DueRule.parse(text) == DueRule(True, timedelta(minutes=minutes))


@pytest.mark.parametrize("text", ["open", "closed", "close 30min", "close + min", "close + 30min x", "", "close + 24h"])
def test_what_is_no_such_time_is_refused(text):
    """Nothing is read into a text that is not one of the forms."""
    with pytest.raises(CalendarError, match="due="):
        DueRule.parse(text)


def test_delays_by_value_are_kept_by_text():
    """A number or a member of an enumeration is known by the text that it has in a key, and one without is refused."""
    delays = parse_delay({"tier": {1: timedelta(1), "T2": timedelta(2)}})
    assert (delays.of("1"), delays.of("T2")) == (timedelta(1), timedelta(2))
    assert delays.to_dict() == {"tier": {"1": 86400.0, "T2": 172800.0}}
    assert (parse_delay(delays), parse_delay(None)) == (delays, timedelta(0))
    with pytest.raises(CalendarError, match="delay= has nothing for tier=T3"):
        delays.of("T3")
