"""Which partitions a partition takes in: against a brute-force reading of windows."""

import itertools
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import (
    BusinessCalendar,
    CalendarError,
    Daily,
    Hourly,
    Monthly,
    PartitionError,
    PartitionScheme,
    Quarterly,
    Weekly,
    Yearly,
)
from flowctx.core.partitions.mapping import PartitionMapping, same_dates

CALENDARS = ("XNYS", "WEEKDAYS", "EVERY_DAY", "XTKS")
KINDS = (
    (Hourly, {}),
    (Daily, {}),
    (Weekly, {}),
    (Weekly, {"as_of": "last_session", "ends_on": "WED"}),
    (Monthly, {}),
    (Monthly, {"as_of": "last_session"}),
    (Quarterly, {"as_of": "last_session"}),
    (Yearly, {}),
)
STATIC = st.lists(st.sampled_from("ABCD"), min_size=1, max_size=3, unique=True)


@st.composite
def cadences(draw):
    """Any kind of cadence within half a year, in a zone whose midnights change."""
    kind, options = draw(st.sampled_from(KINDS))
    start = date(2018, 9, 1) + timedelta(days=draw(st.integers(0, 90)))
    end = start + timedelta(days=draw(st.integers(0, 6 if kind is Hourly else 100)))
    return kind(
        start=start, end=end, calendar=draw(st.sampled_from(CALENDARS)), timezone="America/Sao_Paulo", **options
    )


@st.composite
def schemes(draw):
    """A scheme with up to two static dimensions, and perhaps a cadence, in any order."""
    parts = {name: draw(STATIC) for name in draw(st.lists(st.sampled_from(["fund", "tier"]), unique=True))}
    if not parts or draw(st.integers(0, 3)):
        parts["date"] = draw(cadences())
    return PartitionScheme(**{name: parts[name] for name in draw(st.permutations(list(parts)))})


def taken_in(upstream, downstream, previous, where, key):
    """Read the rule word by word, over every key there is."""
    window = downstream.window(key)
    before = None
    if previous:
        wide = replace(upstream.cadence, start=window.start.date() - timedelta(days=21 * 31), end=date(2019, 6, 30))
        if isinstance(wide, Hourly):
            wide = replace(wide, start=window.start.date() - timedelta(days=10))
        ended = [day for day in wide if wide.window(day).end <= window.start]
        before = {upstream.cadence.text(day) for day in ended[len(ended) - previous :]}
    for other in upstream:
        if any(other[name] not in values for name, values in where.items()):
            continue
        static = (set(other) & set(key)) - {upstream.cadence_dimension, *where}
        if any(other[name] != key[name] for name in static):
            continue
        theirs = upstream.window(other)
        if before is not None and other[upstream.cadence_dimension] not in before:
            continue
        if before is None and theirs and window and not (window.start <= theirs.start and theirs.end <= window.end):
            continue
        yield other


@settings(max_examples=100)
@given(schemes(), schemes(), st.sampled_from([0, 0, 1, 3, 20]), st.data())
def test_the_rule_agrees_with_a_brute_force_reading_of_windows(upstream, downstream, previous, data):
    """Whatever the cadences, calendars and dimensions are, exactly those are taken in that the rule names."""
    names = [name for name in upstream.dimensions if name != upstream.cadence_dimension]
    where = {
        n: data.draw(st.lists(st.sampled_from(upstream.values(n)), min_size=1))
        for n in names
        if data.draw(st.booleans())
    }
    try:
        mapping = PartitionMapping(upstream, downstream, previous=previous, where=where)
    except PartitionError:
        return
    keys = downstream.keys()
    for key in itertools.islice(keys, 0, None, max(1, len(keys) // 2)):
        found = mapping.keys(key)
        assert list(found) == list(taken_in(upstream, downstream, previous, where, key))
        assert [upstream.key_at(list(path)) for path in mapping.paths(key)] == list(found)
        assert not mapping.one or len(found) <= 1


@settings(max_examples=25)
@given(schemes(), schemes(), st.sampled_from([0, 0, 1, 3]), st.data())
def test_who_reads_a_selection_is_who_takes_in_one_of_its_keys(upstream, downstream, previous, data):
    """The way back agrees with asking each key of the reader for what it takes in."""
    try:
        mapping = PartitionMapping(upstream, downstream, previous=previous)
    except PartitionError:
        return
    first, length = data.draw(st.integers(0, max(0, len(upstream) - 1))), data.draw(st.integers(1, 9))
    some = upstream.keys()[first : first + length : data.draw(st.integers(1, 3))]
    dates = len(downstream.cadence) if downstream.cadence else 0
    wanted, keys = set(some), list(itertools.islice(downstream, 300))
    found = set(itertools.islice(mapping.readers(some, dates), 10_000))
    assert [key for key in keys if key in found] == [k for k in keys if wanted.intersection(mapping.keys(k))]


def test_a_week_takes_in_its_sessions_and_a_month_too():
    """A closed day belongs to no window, and a week has the sessions between its Saturday and its Friday."""
    days = PartitionScheme(date=Daily(start="2012-10-01", calendar="XNYS", timezone="America/New_York"))
    weeks = PartitionScheme(week=Weekly(start="2012-10-01", timezone="America/New_York"), fund=["A"])
    taken = PartitionMapping(days, weeks).keys(weeks.key(week="2012-11-02", fund="A"))
    assert [key.date for key in taken] == ["2012-10-31", "2012-11-01", "2012-11-02"]


def test_previous_counts_sessions_across_the_start():
    """At the start of a scheme there are fewer before, and on its first date none."""
    days = PartitionScheme(date=Daily(start="2012-01-03", calendar="XNYS"), fund=["A", "B"])
    mapping = PartitionMapping(days, days, previous=2)
    found = {day: [str(k) for k in mapping.keys(days.key(date=day, fund="B"))] for day in ("2012-01-03", "2012-01-04")}
    assert found == {"2012-01-03": [], "2012-01-04": ["date=2012-01-03|fund=B"]}


@pytest.mark.parametrize(
    ("kind", "options", "before"),
    [(Weekly, {}, "2026-12-24"), (Monthly, {}, "2026-11-30"), (Yearly, {"ends_in": "JUN"}, "2026-06-30")],
)
def test_a_last_session_is_read_to_the_end_of_its_calendar(kind, options, before):
    """The period that the calendar does not know to its end is not asked for: the one before it is known."""
    desk = BusinessCalendar.from_holidays("DESK", ["2026-12-25"], first="2025-01-01", last="2026-12-31")
    ends = PartitionScheme(end=kind(start="2025-01-01", calendar=desk, as_of="last_session", **options))
    days = PartitionScheme(date=Daily(start="2025-01-01", calendar=desk))
    mapping = PartitionMapping(ends, days, previous=1)
    assert [key.end for day in ("2026-12-28", "2026-12-31") for key in mapping.keys(days.key(date=day))] == [before] * 2
    later = PartitionScheme(date=Daily(start="2025-01-01"))
    with pytest.raises(CalendarError, match="^2027-.* is outside what is known of the calendar DESK"):
        PartitionMapping(ends, later, previous=1).keys(later.key(date="2028-01-03"))


def test_after_the_end_of_the_upstream_nothing_old_stands_in():
    """The date before is the date before: where the upstream ended years ago it is not there."""
    old = PartitionScheme(date=Daily(start="2012-01-03", end="2012-01-31"))
    new = PartitionScheme(date=Daily(start="2012-01-03"))
    mapping = PartitionMapping(old, new, previous=1)
    assert [str(k) for k in mapping.keys(new.key(date="2012-02-01"))] == ["date=2012-01-31"]
    assert not mapping.keys(new.key(date="2012-02-02"))


@pytest.mark.parametrize("end", ["2026-06-29", "2026-06-30"])
@pytest.mark.parametrize("previous", [1, 20])
def test_how_many_dates_an_end_is_ago_is_not_known_after_its_calendar(end, previous):
    """Which of the dates before are after the end, its calendar says: where it does not reach, none is taken for it."""
    desk = BusinessCalendar.from_holidays("DESK", [], first="2026-01-01", last="2026-06-30")
    old = PartitionScheme(date=Daily(start="2026-04-01", end=end, calendar=desk))
    new = PartitionScheme(date=Daily(start="2026-04-01"))
    mapping = PartitionMapping(old, new, previous=previous)
    found = mapping.keys(new.key(date="2026-07-01"))
    assert len(found) == previous - (end == "2026-06-29")
    with pytest.raises(CalendarError, match=f"; how many dates ago the end={end} is, only the calendar says: use an"):
        mapping.keys(new.key(date="2026-07-02"))


def test_dates_before_are_read_where_the_end_is_after_the_calendar():
    """What is known is read; what is not is refused."""
    desk = BusinessCalendar.from_holidays("DESK", [], first="2026-01-01", last="2026-06-30")
    days = PartitionScheme(date=Daily(start="2026-04-01", end="2026-12-31", calendar=desk))
    every = PartitionScheme(date=Daily(start="2026-04-01"))
    mapping = PartitionMapping(days, every, previous=1)
    assert [key.date for key in mapping.keys(every.key(date="2026-07-01"))] == ["2026-06-30"]
    with pytest.raises(CalendarError, match="^2026-07-01 is outside .* DESK .* give the cadence an end= by 2026-06-30"):
        mapping.keys(every.key(date="2026-07-02"))


@pytest.mark.parametrize("previous", [0, 1])
def test_readers_that_the_calendar_reaches_are_found(previous):
    """Those after its end are left out, since it is not known what they read."""
    desk = BusinessCalendar.from_holidays("DESK", [], first="2026-01-01", last="2026-06-10")
    days = PartitionScheme(date=Daily(start="2026-04-01", calendar=desk))
    months = PartitionScheme(month=Monthly(start="2026-04-01"))
    found = PartitionMapping(days, months, previous=previous).readers(days.select("date=2026-04-30|2026-06-10"), 8)
    assert [key.month for key in found] == ["2026-05-31" if previous else "2026-04-30"]


@pytest.mark.parametrize("kind", [Hourly, Daily, Monthly])
def test_dates_are_read_although_their_workflow_has_ended(kind):
    """A reader that goes on after the end of what it reads is still found from the dates that there were."""
    ended = PartitionScheme(date=kind(start="2018-09-01", end="2018-09-30"))
    going_on = PartitionScheme(date=kind(start="2018-09-01", end="2018-12-31"))
    found = PartitionMapping(ended, going_on).readers(ended.keys(), len(going_on.cadence))
    assert str(found) == str(going_on.keys()[: len(ended)])


def test_where_takes_the_place_of_what_the_rule_says():
    """A benchmark is read for every fund, and it is one partition."""
    days = PartitionScheme(date=Daily(start="2012-01-03"), fund=["A", "B"])
    mapping = PartitionMapping(days, days, previous=1, where={"fund": ["A"]})
    assert mapping.one
    assert [str(k) for k in mapping.keys(days.key(date="2012-01-05", fund="B"))] == ["date=2012-01-04|fund=A"]


def test_whether_one_partition_is_taken_in_is_a_matter_of_the_schemes():
    """All dimensions shared and the same dates make one; more funds, or another calendar, make several."""
    days = PartitionScheme(date=Daily(start="2012-01-03"), fund=["A", "B"])
    bare = PartitionScheme(date=Daily(start="2015-01-03"))
    sessions = PartitionScheme(date=Daily(start="2015-01-03", calendar="WEEKDAYS"))
    assert PartitionMapping(bare, days).one
    assert not PartitionMapping(days, bare).one
    assert PartitionMapping(days, bare, where={"fund": ["A"]}).one
    assert not PartitionMapping(sessions, bare).one
    assert not PartitionMapping(bare, bare, previous=20).one


def test_a_million_keys_cost_nothing():
    """A key is mapped by random access: a scheme of 24 million keys is not listed."""
    funds = [f"F{i}" for i in range(1000)]
    days = PartitionScheme(date=Daily(start="1960-01-01"), fund=funds)
    months = PartitionScheme(month=Monthly(start="1960-01-01"))
    mapping = PartitionMapping(days, months)
    taken = [mapping.keys(months.key(month=f"{year}-12-31")) for year in range(1960, 2026)]
    assert len(taken[0]) == 31_000
    assert str(taken[-1][30_999]) == "date=2025-12-31|fund=F999"


NY = {"timezone": "America/New_York"}
DAYS = PartitionScheme(date=Daily(start="2012-01-03", **NY), fund=["A", "B"])


@pytest.mark.parametrize(
    ("upstream", "downstream", "options", "words"),
    [
        (DAYS, None, {}, "its date has no end"),
        (DAYS, PartitionScheme(venue=["X"]), {}, "its date has no end"),
        (PartitionScheme(tier=["T1"]), DAYS, {}, r"none in common.*\.where\(tier=\.\.\.\)"),
        (PartitionScheme(tier=["T1"]), None, {}, r"none in common.*\.where\(tier=\.\.\.\)"),
        (DAYS, PartitionScheme(date=Daily(start="2012-01-03")), {}, "one timezone"),
        (PartitionScheme(month=Monthly(start="2012-01-01", **NY)), DAYS, {}, "from finer to coarser"),
        (PartitionScheme(date=["2012-01-03"]), DAYS, {}, "rename one of them"),
        (PartitionScheme(fund=["A"]), DAYS, {"previous": 1}, "the workflow that is read has none"),
        (DAYS, PartitionScheme(fund=["A"]), {"previous": 1}, "the reader has none"),
        (DAYS, DAYS, {"where": {"fnd": ["A"]}}, "did you mean 'fund'"),
        (DAYS, DAYS, {"where": {"fund": ["a"]}}, "names no value of fund"),
        (DAYS, DAYS, {"where": {"date": ["2012-01-03"]}}, r"\.previous\(n\)"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(upstream, downstream, options, words):
    """A mapping that would take in everything, or nothing, or parts of windows, is refused when it is made."""
    with pytest.raises(PartitionError, match=words):
        PartitionMapping(upstream, downstream, **options)


def test_dates_are_the_same_wherever_cadences_start():
    """Bounds and due times make no other dates; calendars do, where they name them."""
    assert same_dates(Weekly(start="2012-01-01", calendar="XNYS"), Weekly(start="2013-01-01", end="2014-01-01"))
    assert not same_dates(Daily(start="2012-01-01", calendar="XNYS"), Daily(start="2012-01-01"))
    assert not same_dates(Weekly(start="2012-01-01"), Weekly(start="2012-01-01", as_of="last_session"))
