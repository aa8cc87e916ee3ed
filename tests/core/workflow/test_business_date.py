"""AsOf: one business date from what an engine knows of a run's time."""

import pickle
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import WEEKDAYS, AsOf, CalendarError, Daily, PartitionKey, PartitionScheme, UnknownPartition, Weekly
from flowctx.core.dates.zones import get_zone
from flowctx.core.workflow.business_date import DATE_DIMENSIONS, RunTiming

NY = "America/New_York"
NAIVE = datetime(2012, 10, 26)  # noqa: DTZ001
RULES = [
    AsOf.default(),
    AsOf.window_start(),
    AsOf.window_end(),
    AsOf.last_session("XNYS"),
    AsOf.previous_session("XNYS"),
    AsOf.key("date"),
]


def at(*when, zone=NY):
    """An instant by the wall clock of a zone."""
    return datetime(*when, tzinfo=get_zone(zone))


def fired(*when):
    """A run for an instant."""
    return RunTiming(timezone=NY, fired_at=at(*when))


def between(start, end, zone=NY):
    """A run for a window."""
    return RunTiming(timezone=zone, window_start=at(*start, zone=zone), window_end=at(*end, zone=zone))


# An Airflow data interval of a cron at 06:00, for Friday; a Dagster week from Saturday to Friday; a month.
INTERVAL = between((2012, 10, 26, 6), (2012, 10, 27, 6))
WEEK = between((2012, 10, 20), (2012, 10, 27))
MONTH = between((2012, 10, 1), (2012, 11, 1))
MONDAY = fired(2012, 10, 29, 6)  # the exchange was closed


@pytest.mark.parametrize(
    ("run", "rule", "expected", "source"),
    [
        (INTERVAL, AsOf.window_start(), "2012-10-26", "window_start"),
        (INTERVAL, AsOf.window_end(), "2012-10-27", "window_end"),
        (INTERVAL, AsOf.default(), "2012-10-26", "window_start"),
        (INTERVAL, AsOf.last_session("XNYS"), "2012-10-26", "window_end+last_session:XNYS"),
        (INTERVAL, AsOf.previous_session("XNYS"), "2012-10-26", "window_end+previous_session:XNYS"),
        (WEEK, AsOf.window_start(), "2012-10-20", "window_start"),
        (WEEK, AsOf.window_end(), "2012-10-26", "window_end"),
        (WEEK, AsOf.last_session("XNYS"), "2012-10-26", "window_end+last_session:XNYS"),
        (WEEK, AsOf.previous_session("XNYS"), "2012-10-26", "window_end+previous_session:XNYS"),
        (MONTH, AsOf.window_end(), "2012-10-31", "window_end"),
        (MONDAY, AsOf.window_start(), "2012-10-29", "fired_at"),
        (MONDAY, AsOf.window_end(), "2012-10-29", "fired_at"),
        (MONDAY, AsOf.default(), "2012-10-29", "fired_at"),
        (MONDAY, AsOf.last_session("XNYS"), "2012-10-26", "fired_at+last_session:XNYS"),
        (MONDAY, AsOf.previous_session("XNYS"), "2012-10-26", "fired_at+previous_session:XNYS"),
        (fired(2012, 10, 31, 6), AsOf.last_session("XNYS"), "2012-10-31", "fired_at+last_session:XNYS"),
        (fired(2012, 10, 31, 6), AsOf.previous_session("XNYS"), "2012-10-26", "fired_at+previous_session:XNYS"),
    ],
)
def test_each_rule_takes_one_fact(run, rule, expected, source):
    """The date and the fact that it came from."""
    result = rule.resolve(run)
    assert (str(result.date), result.source) == (expected, source)


def test_dates_are_those_of_the_schedule_s_zone():
    """20:30 in New York is the next day in UTC; the schedule's zone decides."""
    instant = at(2026, 11, 22, 20, 30)
    for zone, day in ((NY, 22), ("UTC", 23), ("Asia/Tokyo", 23)):
        for run in (
            RunTiming(timezone=zone, fired_at=instant.astimezone(UTC)),
            RunTiming(timezone=zone, window_start=instant, window_end=instant),
        ):
            assert AsOf.default().resolve(run).date == date(2026, 11, day)
            assert AsOf.window_end().resolve(run).source == "fired_at"


def test_the_last_day_inside_a_window_knows_clock_changes():
    """A window that ends at 01:00, since midnight did not exist, still ends on the day before."""
    sao_paulo = between((2018, 11, 3), (2018, 11, 4, 1), zone="America/Sao_Paulo")
    assert AsOf.window_end().resolve(sao_paulo).date == date(2018, 11, 3)


@pytest.mark.parametrize(("start", "end"), [((1, 30, 0), (1, 0, 1)), ((1, 0, 0), (1, 0, 1)), ((1, 30, 0), (2, 0, 0))])
def test_a_window_over_a_clock_change_is_one(start, end):
    """Clocks show an earlier time at its end, or the same: its ends are compared as moments, in whatever zone."""
    opens, closes = (at(2026, 11, 1, hour, minute).replace(fold=fold) for hour, minute, fold in (start, end))
    run = RunTiming(timezone=NY, window_start=opens, window_end=closes)
    assert [moment.isoformat() for moment in run.window] == [opens.isoformat(), closes.isoformat()]
    assert (run.instant, AsOf.default().resolve(run).source) == (None, "window_start")
    with pytest.raises(CalendarError, match="before it starts"):
        RunTiming(timezone=NY, window_start=closes, window_end=opens)


@given(st.datetimes(datetime(1997, 1, 1), datetime(2026, 1, 1)), st.sampled_from(RULES), st.integers(1, 900))  # noqa: DTZ001
@settings(max_examples=60, deadline=None)
def test_no_rule_looks_ahead(when, rule, hours):
    """A business date is never after the day on which the run is fired."""
    instant = when.replace(tzinfo=get_zone(NY))
    for run in (
        RunTiming(timezone=NY, fired_at=instant),
        RunTiming(timezone=NY, window_start=instant - timedelta(hours=hours), window_end=instant),
    ):
        found = rule.resolve(run).date
        assert found is None or found <= instant.date()


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_nothing_known_gives_no_date(rule):
    """A manual run without any time has no business date, whatever the clock on the wall says."""
    assert rule.resolve(RunTiming()) == (None, "none", None)
    assert rule.resolve(RunTiming(partition=PartitionKey(tier="T1"))).date is None


def test_a_cadence_decides_by_default():
    """A partition of a scheme with a cadence has that date, whatever its dimension is called and the window says."""
    scheme = PartitionScheme(w=Weekly(start="2012-01-01"), date=["2011-01-01"])
    run = RunTiming(
        partition=scheme.parse("2012-10-26|2011-01-01"),
        scheme=scheme,
        window_start=at(2012, 10, 20),
        window_end=at(2012, 10, 27),
    )
    assert AsOf.default().resolve(run)[:2] == (date(2012, 10, 26), "partition.w")
    with pytest.raises(UnknownPartition):
        AsOf.default().resolve(RunTiming(partition=PartitionKey(w="2012-10-27", date="2011-01-01"), scheme=scheme))


@pytest.mark.parametrize("name", DATE_DIMENSIONS)
def test_a_dimension_with_a_date_s_name_and_form_decides_by_default(name):
    """Without a cadence, a dimension counts if its name and its value both say that it is a date."""
    run = fired(2026, 1, 12)
    key = PartitionKey(**{name: "2026-01-09", "tier": "T1"})
    assert AsOf.default().resolve(RunTiming(partition=key, timezone=NY, fired_at=run.fired_at))[:2] == (
        date(2026, 1, 9),
        f"partition.{name}",
    )
    other = PartitionKey(**{name: "2026-W02"})
    assert AsOf.default().resolve(RunTiming(partition=other, timezone=NY, fired_at=run.fired_at)).source == "fired_at"
    assert AsOf.default().resolve(RunTiming(partition=PartitionKey(tier="2026-01-09"))).date is None


def test_key_reads_one_dimension():
    """AsOf.key takes the named dimension, has no date without it, and refuses what is no date."""
    rule = AsOf.key("week_ending")
    assert rule.resolve(RunTiming(partition=PartitionKey(week_ending="2026-01-09"))).source == "partition.week_ending"
    assert rule.resolve(RunTiming(partition=PartitionKey(tier="T1"), fired_at=at(2026, 1, 9))).date is None
    with pytest.raises(CalendarError, match="YYYY-MM-DD, or use another rule"):
        rule.resolve(RunTiming(partition=PartitionKey(week_ending="Friday")))


def test_the_window_may_come_from_the_scheme():
    """Where the engine has no window of its own, the partition's is used, in the cadence's zone."""
    scheme = PartitionScheme(week=Weekly(start="2012-01-01", timezone=NY))
    run = RunTiming(partition=scheme.parse("2012-10-26"), scheme=scheme)
    assert AsOf.window_start().resolve(run).date == date(2012, 10, 20)
    assert AsOf.window_end().resolve(run).date == date(2012, 10, 26)


def test_a_session_rule_says_which_calendar_it_asked():
    """The calendar comes with the result, for the context's metadata; a calendar of one's own works too."""
    run = RunTiming(partition=PartitionKey(date="2012-10-29"))
    assert AsOf.last_session("XNYS").resolve(run).calendar.identity["name"] == "XNYS"
    assert AsOf.last_session(WEEKDAYS).resolve(run).date == date(2012, 10, 29)
    assert AsOf.previous_session("XNYS").resolve(run)[:2] == (
        date(2012, 10, 26),
        "partition.date+previous_session:XNYS",
    )
    with pytest.raises(CalendarError, match="did you mean"):
        AsOf.last_session("WEEKDAY").resolve(run)


@pytest.mark.parametrize("rule", [AsOf.last_session, AsOf.previous_session])
def test_an_alias_is_the_calendar_that_it_names(rule):
    """Rules of sessions are equal whichever name a calendar is given by, and show the one name."""
    assert (rule("NYSE"), hash(rule("NYSE"))) == (rule("XNYS"), hash(rule("XNYS")))
    assert repr(rule("NYSE")) == f"AsOf.{rule.__name__}('XNYS')"
    assert rule("NYSE") != rule("LSE")


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: RunTiming(fired_at=NAIVE), "fired_at=.* is a naive datetime; give it a zone"),
        (lambda: RunTiming(window_start=NAIVE, window_end=at(2012, 10, 27)), "naive datetime"),
        (lambda: RunTiming(window_start=at(2012, 10, 26)), "both ends"),
        (lambda: RunTiming(window_start=at(2012, 10, 26), window_end=at(2012, 10, 25)), "before it starts"),
        (lambda: RunTiming(timezone="New York"), "America/New_York"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(make, remedy):
    """Each error says what to write instead."""
    with pytest.raises(CalendarError, match=remedy):
        make()


def test_rules_are_values():
    """Rules compare, hash, pickle and read as they are written."""
    for rule in RULES:
        assert pickle.loads(pickle.dumps(rule)) == rule
        assert eval(repr(rule)) == rule
    assert len(set(RULES)) == len(RULES)
    assert repr(AsOf.previous_session("XNYS")) == "AsOf.previous_session('XNYS')"


def test_a_daily_scheme_and_its_windows_agree():
    """For a daily scheme every rule about the window gives the partition's own date."""
    scheme = PartitionScheme(date=Daily(start="2012-10-01", end="2012-11-30", calendar="XNYS", timezone=NY))
    for key in scheme:
        window = scheme.window(key)
        run = RunTiming(timezone=NY, window_start=window.start, window_end=window.end)
        for rule in (AsOf.default(), AsOf.window_start(), AsOf.window_end(), AsOf.last_session("XNYS")):
            assert rule.resolve(run).date == scheme.as_of_date(key)
        assert AsOf.previous_session("XNYS").resolve(run).date == scheme.as_of_date(key)


def test_two_dates_in_a_partition_need_a_rule():
    """Of two dimensions that hold different dates none is picked; a rule says which, and ``as_of_date`` is one."""
    two = RunTiming(partition=PartitionKey(date="2012-10-26", month_ending="2012-10-31"))
    with pytest.raises(CalendarError, match=r"has 2 dates, date and month_ending; say which .*AsOf.key\('date'\)"):
        AsOf.default().resolve(two)
    assert AsOf.key("month_ending").resolve(two).date == date(2012, 10, 31)
    named = RunTiming(partition=PartitionKey(as_of_date="2012-10-26", month_ending="2012-10-31"))
    assert AsOf.default().resolve(named) == (date(2012, 10, 26), "partition.as_of_date", None)


def test_a_zone_that_is_not_known_is_not_utc():
    """Dates of a schedule without zone are errors, until the rule says the zone."""
    run = RunTiming(timezone=None, fired_at=at(2012, 10, 26, 22))
    for rule in (AsOf.default(), AsOf.window_end(), AsOf.previous_session("WEEKDAYS")):
        with pytest.raises(CalendarError, match="say the zone in the rule"):
            rule.resolve(run)
    assert AsOf.default(timezone=NY).resolve(run).date == date(2012, 10, 26)
    assert AsOf.previous_session("WEEKDAYS", timezone=NY).resolve(run).date == date(2012, 10, 25)
    assert repr(AsOf.default(timezone=NY)) == "AsOf.default(timezone='America/New_York')"
