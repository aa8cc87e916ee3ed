"""Which business date a run has: that of its partition, and nothing says another one."""

from datetime import UTC, date, datetime

import pytest

from core.workflow.test_business_date import RULES as BUSINESS_DATE_RULES
from flowctx import (
    AsOf,
    CalendarError,
    ContextError,
    Daily,
    Hourly,
    Monthly,
    PartitionKey,
    PartitionScheme,
    Weekly,
)
from flowctx.core.dates.zones import get_zone
from flowctx.core.workflow.business_date import RunTiming
from flowctx.core.workflow.date_of_run import date_of_run, day_beside, says_date

NY = "America/New_York"
NOW = datetime(2026, 11, 27, 23, tzinfo=UTC)
RULES = [*BUSINESS_DATE_RULES, AsOf.key("fund")]
DAYS = PartitionScheme(date=Daily(start="2026-01-02", calendar="XNYS", timezone=NY), tier=["T1"])
WEEKS = PartitionScheme(week=Weekly(start="2026-01-02", calendar="XNYS", timezone=NY))
SESSIONS = PartitionScheme(week=Weekly(start="2026-01-02", calendar="XNYS", timezone=NY, as_of="last_session"))
MONTHS = PartitionScheme(month=Monthly(start="2026-01-02", calendar="XNYS", timezone=NY))
HOURS = PartitionScheme(hour=Hourly(start="2026-01-02", timezone=NY))
TWO = PartitionScheme(date=Daily(start="2026-01-02"), settled=["2026-01-05", "2026-01-07"])


def tick(partition, scheme=None, **more):
    """What an engine knows of a run for a partition that is started now, by a schedule."""
    return RunTiming(timezone=NY, fired_at=NOW, partition=partition, scheme=scheme, **more)


def interval(partition, scheme=None):
    """The same, where the run has an interval of its own."""
    return RunTiming(timezone=NY, window_start=NOW.replace(day=26), window_end=NOW, partition=partition, scheme=scheme)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("time", [tick, interval, lambda *_: None], ids=["tick", "interval", "nothing"])
def test_a_partition_of_a_cadence_has_its_own_date(rule, time):
    """A rule is asked of the partition alone, never of the time of its run, and says the same day or nothing."""
    key = DAYS.key(date="2026-01-05", tier="T1")
    found = date_of_run(key, DAYS, time=time(key, DAYS), as_of=rule)
    assert found == (date(2026, 1, 5), "partition.date", None)
    repeated = date_of_run(key, DAYS, time=time(key, DAYS), as_of=rule, as_of_date=date(2026, 1, 5))
    assert repeated == (date(2026, 1, 5), "caller", None)


@pytest.mark.parametrize(
    ("scheme", "key", "rule", "gives"),
    [
        (WEEKS, "2026-04-03", AsOf.last_session("XNYS"), "2026-04-02"),
        (WEEKS, "2026-01-09", AsOf.window_start(), "2026-01-03"),
        (MONTHS, "2026-01-31", AsOf.previous_session("XNYS"), "2026-01-30"),
        (HOURS, "2026-01-09T10:00-05:00", AsOf.previous_session("XNYS"), "2026-01-08"),
        (TWO, "2026-01-05|2026-01-07", AsOf.key("settled"), "2026-01-07"),
    ],
)
def test_a_rule_that_contradicts_a_cadence_is_refused(scheme, key, rule, gives):
    """The error has both dates, whether or not the caller repeats one of them, and says how to have one."""
    key = scheme.parse(key)
    day = scheme.as_of_date(key)
    words = (
        rf"the rule AsOf\..* gives {gives}, which is not the business date of partition .*: by its scheme that is {day}"
    )
    for as_of_date in (None, day):
        with pytest.raises(ContextError, match=words):
            date_of_run(key, scheme, time=tick(key, scheme), as_of=rule, as_of_date=as_of_date)
    assert date_of_run(key, scheme, time=tick(key, scheme), as_of=AsOf.default()).date == day


def test_a_rule_and_a_cadence_may_say_the_same():
    """A cadence that takes the last session agrees with the rule of that name, in the week of a holiday, too."""
    key = SESSIONS.parse("2026-04-02")
    assert date_of_run(key, SESSIONS, time=tick(key, SESSIONS), as_of=AsOf.last_session("XNYS")).date == date(
        2026, 4, 2
    )
    key = TWO.parse("2026-01-05|2026-01-05")
    assert date_of_run(key, TWO, as_of=AsOf.key("settled")).date == date(2026, 1, 5)


@pytest.mark.parametrize(
    ("rule", "day", "source"),
    [
        (None, 10, "partition.date"),
        (AsOf.window_start(), 10, "partition.date"),
        (AsOf.last_session("XNYS"), 9, "partition.date+last_session:XNYS"),
        (AsOf.previous_session("XNYS"), 9, "partition.date+previous_session:XNYS"),
    ],
)
@pytest.mark.parametrize("time", [tick, interval])
def test_without_a_cadence_a_rule_is_asked_of_the_partition_s_date(rule, day, source, time):
    """The time of the run does not count where the partition says a date, with a scheme of values or without one."""
    key = PartitionKey(date="2026-01-10")
    for scheme in (None, PartitionScheme(date=["2026-01-10"])):
        assert date_of_run(key, scheme, time=time(key, scheme), as_of=rule)[:2] == (date(2026, 1, day), source)


def test_the_time_of_the_run_counts_where_the_partition_says_no_date():
    """A partition without a date is dated as its run is, and the caller may say any date."""
    key = PartitionKey(tier="T1")
    assert date_of_run(key, time=tick(key)) == (date(2026, 11, 27), "fired_at", None)
    assert date_of_run(key, time=interval(key), as_of=AsOf.last_session("XNYS")).date == date(2026, 11, 27)
    assert date_of_run(key, time=tick(key), as_of_date=date(2026, 1, 9)) == (date(2026, 1, 9), "caller", None)
    assert date_of_run(key) == date_of_run() == (None, "none", None)


@pytest.mark.parametrize("scheme", [None, PartitionScheme(date=["2026-01-09"])], ids=["no scheme", "values"])
@pytest.mark.parametrize("time", [tick, interval, lambda *_: None], ids=["tick", "interval", "nothing"])
def test_a_caller_s_date_is_that_of_the_partition(scheme, time):
    """A date that the partition does not have is refused without a cadence, in the words that there are with one."""
    key = PartitionKey(date="2026-01-09")
    words = "as_of_date=2026-01-05 is not the business date of partition date=2026-01-09, which is 2026-01-09; pass one"
    for rule in (None, AsOf.default(), AsOf.last_session("XNYS")):
        with pytest.raises(ContextError, match=words):
            date_of_run(key, scheme, time=time(key, scheme), as_of=rule, as_of_date=date(2026, 1, 5))
        assert (
            date_of_run(key, scheme, time=time(key, scheme), as_of=rule, as_of_date=date(2026, 1, 9)).source == "caller"
        )


def test_of_two_dates_in_a_partition_the_caller_says_one():
    """A third date is refused, and so is another one than that of ``as_of_date`` or of a rule's dimension."""
    key = PartitionKey(date="2026-01-09", month_ending="2026-01-31")
    with pytest.raises(CalendarError, match="has 2 dates"):
        date_of_run(key)
    for day in (9, 31):
        assert date_of_run(key, as_of_date=date(2026, 1, day)).date == date(2026, 1, day)
    with pytest.raises(ContextError, match="which is 2026-01-09 or 2026-01-31; pass one"):
        date_of_run(key, as_of_date=date(2026, 1, 10))
    with pytest.raises(ContextError, match="which is 2026-01-09; pass one"):
        date_of_run(PartitionKey(as_of_date="2026-01-09", date="2026-01-10"), as_of_date=date(2026, 1, 10))
    with pytest.raises(ContextError, match="which is 2026-01-09; pass one"):
        date_of_run(PartitionKey(settled="2026-01-09"), as_of=AsOf.key("settled"), as_of_date=date(2026, 1, 10))


@pytest.mark.parametrize(
    ("rule", "fine", "other"), [(None, (10, 16), (9, 17)), (AsOf.previous_session("XNYS"), (12, 16), (9, 20))]
)
def test_a_caller_s_date_lies_in_the_window_of_the_partition(rule, fine, other):
    """Where an engine knows the window of a key, as Dagster does, the caller may say which of its days is meant."""
    key = PartitionKey(loaded="2026-01-10")
    start, end = (datetime(2026, 1, day, tzinfo=get_zone(NY)) for day in (10, 17))
    time = tick(key, window_start=start, window_end=end, window_of_partition=True)
    for day in fine:
        assert date_of_run(key, time=time, as_of=rule, as_of_date=date(2026, 1, day)).date == date(2026, 1, day)
    for day in other:
        with pytest.raises(ContextError, match="is not the business date of partition loaded=2026-01-10"):
            date_of_run(key, time=time, as_of=rule, as_of_date=date(2026, 1, day))


def test_a_date_stands_beside_a_partition_that_says_none():
    """A cadence, a dimension that is a date, and a window of the partition's own say what its runs are about."""
    day, fund = date(2026, 1, 9), PartitionKey(fund="GROWTH")
    hours = PartitionScheme(hour=Hourly(start="2026-01-02"), fund=["GROWTH"])
    assert not says_date(fund, None, RunTiming(fired_at=NOW))
    assert says_date(fund, None, RunTiming(window_start=NOW, window_end=NOW, window_of_partition=True))
    assert says_date(PartitionKey(hour="2026-01-09T16:00+00:00", fund="GROWTH"), hours)
    assert day_beside(fund, None, day) == "2026-01-09"
    assert [day_beside(key, None, day) for key in (PartitionKey(date="2026-01-10"), PartitionKey(at="2026-01-09"))] == [
        None
    ] * 2
    assert day_beside(fund, None, None) is None
