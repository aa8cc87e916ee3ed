"""A schedule requests each key when it is due, once, and says why where nothing is due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dagster_schemes import schemes
from adapters.dagster_support import Bench, persistent_instance
from flowctx import (
    BusinessCalendar,
    Daily,
    Hourly,
    Monthly,
    PartitionScheme,
    Quarterly,
    Weekly,
    Workflow,
    WorkflowError,
    Yearly,
    run,
)
from flowctx.dagster.cron import cron_schedules
from flowctx.dagster.partitions import from_dagster_key, partitions_def, to_dagster_key
from flowctx.dagster.schedules import workflow_schedule
from flowctx.ledger import open_ledger

# Dagster warns of the tags that it makes itself for partitions of two dimensions.
pytestmark = pytest.mark.filterwarnings("ignore:Non-compliant tag keys")

NEW_YORK = "America/New_York"
DELAYS = tuple(
    timedelta(days=days, minutes=minutes) for days, minutes in [(0, 0), (0, 360), (1, 1110), (3, 45), (40, 180)]
)
PRICES = PartitionScheme(
    date=Daily(start="2012-10-01", calendar="XNYS", timezone=NEW_YORK, delay=timedelta(hours=6)),
    tier=["T1", "T2"],
    venue=["NYSE", "N|Y"],
)


@dg.op
def work() -> None:
    """Do nothing."""


class Scheduled:
    """A partitioned job with its schedule, in a repository as Dagster's daemon would load it."""

    def __init__(self, scheme: PartitionScheme, **options) -> None:
        graph = dg.GraphDefinition(name="daily", node_defs=[work])
        self.job = graph.to_job(partitions_def=partitions_def(scheme))
        self.schedule = workflow_schedule(self.job, scheme, **options)
        self.repository = dg.Definitions(jobs=[self.job], schedules=[self.schedule]).get_repository_def()

    def ticks(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """Yield the times between two at which Dagster evaluates the schedule."""
        crons, zone = self.schedule.cron_schedule, self.schedule.execution_timezone
        for time in schedule_execution_time_iterator(first.timestamp(), crons, zone):
            if time.timestamp() > last.timestamp():
                return
            yield time

    def tick(self, at: datetime, instance: dg.DagsterInstance | None = None) -> list[dg.RunRequest] | str:
        """Return what a tick requests, or why it requests nothing."""
        with self.context(at, instance) as context:
            data = self.schedule.evaluate_tick(context)
        return list(data.run_requests) or data.skip_message

    def asked(self, at: datetime) -> list[dg.RunRequest] | str:
        """Return what a tick asks Dagster for, without Dagster's own look at it."""
        with self.context(at) as context:
            *found, last = self.schedule._execution_fn(context)
        return last.skip_message if isinstance(last, dg.SkipReason) else [*found, last]

    def context(self, at: datetime, instance: dg.DagsterInstance | None = None) -> dg.ScheduleEvaluationContext:
        """Return what Dagster tells a schedule at a tick."""
        return dg.build_schedule_context(instance=instance, scheduled_execution_time=at, repository_def=self.repository)


def requested(
    scheme: PartitionScheme, first: datetime, last: datetime, *, every: int = 1
) -> list[tuple[datetime, str]]:
    """Return what a schedule requests between two times: when, and Dagster's key.

    Dagster evaluates every so many of the ticks itself: it looks for each key in the list of all, which takes a while.
    """
    scheduled = Scheduled(scheme)
    ticks = enumerate(scheduled.ticks(first, last))
    made = [(tick, scheduled.asked(tick) if number % every else scheduled.tick(tick)) for number, tick in ticks]
    return [(tick, request.partition_key) for tick, found in made if not isinstance(found, str) for request in found]


@settings(max_examples=40, deadline=None)
@given(schemes(DELAYS))
def test_each_key_is_requested_when_it_is_due(scheme: PartitionScheme) -> None:
    """Over the whole life of a scheme, its keys are requested once each, at their due times and at no other."""
    if not scheme:
        return
    due = [scheme.due(key) for key in scheme]
    made = requested(scheme, min(due) - timedelta(days=3), max(due) + timedelta(days=3))
    times = {key: tick.astimezone(UTC) for tick, key in made}
    assert len(times) == len(made) == len(scheme)
    assert times == {to_dagster_key(key, scheme): scheme.due(key).astimezone(UTC) for key in scheme}


@pytest.mark.parametrize("delay", DELAYS, ids=str)
@pytest.mark.parametrize(
    ("kind", "calendar", "zone"),
    [(Weekly, "XLON", "Europe/London"), (Monthly, "XTKS", "Asia/Tokyo"), (Quarterly, "WEEKDAYS", "UTC")],
)
def test_three_decades_of_periods_are_requested_on_time(kind, calendar: str, zone: str, delay: timedelta) -> None:
    """From 1997 to 2026, every week, month and quarter with a session is requested exactly when it is due."""
    options = {"calendar": calendar, "timezone": zone, "delay": delay, "as_of": "last_session"}
    on_time(PartitionScheme(date=kind(start="1997-01-01", end="2026-06-30", **options)))


def test_years_of_sessions_are_requested_on_time() -> None:
    """From 2014 to 2026, every session of XNYS is requested exactly when it is due, more than a day later."""
    cadence = Daily(start="2014-01-01", end="2026-06-30", calendar="XNYS", timezone=NEW_YORK, delay=timedelta(hours=30))
    on_time(PartitionScheme(date=cadence))


def on_time(scheme: PartitionScheme) -> None:
    """Check every request over a scheme's whole life."""
    first, last = scheme.due(scheme[0]) - timedelta(days=9), scheme.due(scheme[-1]) + timedelta(days=9)
    made = requested(scheme, first, last, every=16)
    assert [(tick.timestamp(), key) for tick, key in made] == [
        (scheme.due(key).timestamp(), to_dagster_key(key, scheme)) for key in scheme
    ]


def test_friday_is_requested_once() -> None:
    """Over a weekend and a storm, Friday's keys are requested on Saturday morning and not again."""
    made = requested(PRICES, datetime(2012, 10, 26, 12, tzinfo=UTC), datetime(2012, 11, 1, 12, tzinfo=UTC))
    days = [(tick.date(), from_dagster_key(key, PRICES).date) for tick, key in made]
    assert days == [(date(2012, 10, 27), "2012-10-26")] * 4 + [(date(2012, 11, 1), "2012-10-31")] * 4


def test_requests_carry_key_date_and_config() -> None:
    """Each request has Dagster's key, the business date as a tag, a run key of its own and the configuration."""
    scheduled = Scheduled(PRICES, run_config={"ops": {}}, tags={"team": "desk"})
    requests = scheduled.tick(datetime(2012, 10, 27, 6, tzinfo=PRICES.cadence.zone))
    assert {request.partition_key for request in requests} == {
        f"2012-10-26|{tier}~{venue}" for tier in ("T1", "T2") for venue in ("NYSE", "N%7CY")
    }
    assert {request.tags["flowctx/as_of_date"] for request in requests} == {"2012-10-26"}
    assert all(request.tags["team"] == "desk" and request.run_config == {"ops": {}} for request in requests)
    assert requests[0].run_key == "date=2012-10-26|tier=T1|venue=NYSE"
    assert requests[0].tags["dagster/partition/tier~venue"] == "T1~NYSE"


@pytest.mark.parametrize(
    ("tick", "why"),
    [
        ("2012-10-30T06:00", "2012-10-29 is a holiday in XNYS.*2012-10-26 and 2012-10-31"),
        ("2012-10-28T06:00", "2012-10-27 is a Saturday"),
        ("2012-09-30T06:00", "before the start"),
        ("2012-10-27T05:00", "2012-10-26 is not due until 2012-10-27T06:00:00-04:00"),
    ],
)
def test_a_tick_with_nothing_due_says_why(tick: str, why: str) -> None:
    """On a holiday, before the start and too early, nothing is requested, for a reason."""
    at = datetime.fromisoformat(tick).replace(tzinfo=PRICES.cadence.zone)
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(Scheduled(PRICES).tick(at))


def test_six_stays_six_when_clocks_change() -> None:
    """By the wall clock, ticks stay where they are over both changes of 2026."""
    scheme = PartitionScheme(date=Daily(start="2026-01-01", timezone=NEW_YORK, delay=timedelta(hours=6)))
    made = requested(scheme, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC))
    assert {tick.astimezone(scheme.cadence.zone).hour for tick, _ in made} == {6}
    assert len(made) == 274


@pytest.mark.parametrize("minutes", [0, 30, 90, 150])
@pytest.mark.parametrize("zone", [NEW_YORK, "Europe/London", "America/Sao_Paulo", "America/Havana"])
def test_no_key_is_lost_where_a_time_is_skipped_or_comes_twice(zone: str, minutes: int) -> None:
    """At any hour at which clocks change, each day is requested once, at most the length of the change late."""
    delay = timedelta(minutes=minutes)
    scheme = PartitionScheme(date=Daily(start="2010-01-01", end="2012-12-31", timezone=zone, delay=delay))
    made = requested(scheme, datetime(2010, 1, 1, 12, tzinfo=UTC), datetime(2013, 1, 2, tzinfo=UTC), every=16)
    assert [key for _, key in made] == [to_dagster_key(key, scheme) for key in scheme]
    late = {tick.timestamp() - scheme.due(from_dagster_key(key, scheme)).timestamp() for tick, key in made}
    assert late <= {0.0, 1800.0, 3600.0}


@settings(max_examples=40, deadline=None)
@given(st.timedeltas(timedelta(0), timedelta(days=100)))
def test_any_delay_has_ticks(delay: timedelta) -> None:
    """A delay is rounded up to whole minutes, so that a tick is never before the due time."""
    scheme = PartitionScheme(date=Monthly(start="2012-01-01", end="2012-06-30", delay=delay))
    made = requested(scheme, datetime(2012, 1, 1, tzinfo=UTC), datetime(2012, 12, 31, tzinfo=UTC))
    assert len(made) == 6
    for tick, key in made:
        assert timedelta(0) <= tick - scheme.due(from_dagster_key(key, scheme)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("cadence", "cron"),
    [
        (Daily(start="2012-01-01", delay=timedelta(hours=6)), "0 6 * * *"),
        (Daily(start="2012-01-01", calendar="WEEKDAYS"), "0 0 * * 2,3,4,5,6"),
        (Weekly(start="2012-01-01", delay=timedelta(days=2, hours=6)), "0 6 * * 1"),
        (Monthly(start="2012-01-01", delay=timedelta(days=4)), "0 0 5 * *"),
        (Quarterly(start="2012-01-01"), "0 0 1 1,4,7,10 *"),
        (Yearly(start="2012-01-01", ends_in="JUN", delay=timedelta(days=1)), "0 0 2 7 *"),
        (Hourly(start="2012-01-01", delay=timedelta(minutes=75)), "15 * * * *"),
        (Daily(start="2012-01-01", calendar="WEEKDAYS", due="17:00"), "0 17 * * 1,2,3,4,5"),
        (
            Daily(start="2025-01-01", calendar="XNYS", timezone=NEW_YORK, due="close + 30min"),
            ["30 13 * * 1,2,3,4,5", "30 16 * * 1,2,3,4,5"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_ticks_are_few(cadence, cron: str | list[str]) -> None:
    """A schedule ticks only on days on which something can be due."""
    assert cron_schedules([cadence]) == cron


def test_a_tick_makes_up_for_missed_ones(tmp_path: Path) -> None:
    """After an outage, a tick also requests earlier keys that the schedule never requested, and no others."""
    scheduled = Scheduled(PRICES, catch_up=3)
    with persistent_instance(tmp_path) as instance:
        for tier, venue in [("T1", "NYSE"), ("T2", "NYSE")]:
            made = {"dagster/schedule_name": "daily_schedule", "flowctx/as_of_date": "2012-10-25"}
            key = to_dagster_key({"date": "2012-10-25", "tier": tier, "venue": venue}, PRICES)
            scheduled.job.execute_in_process(partition_key=key, instance=instance, tags=made)
        requests = scheduled.tick(datetime(2012, 11, 1, 6, tzinfo=PRICES.cadence.zone), instance)
    keys = [from_dagster_key(request.partition_key, PRICES) for request in requests]
    counts = Counter(key.date for key in keys)
    assert counts == {"2012-10-24": 4, "2012-10-25": 2, "2012-10-26": 4, "2012-10-31": 4}
    assert {key.venue for key in keys if key.date == "2012-10-25"} == {"N|Y"}
    skipping = {key.date for key, request in zip(keys, requests, strict=True) if "flowctx/on_captured" in request.tags}
    assert skipping == {"2012-10-24", "2012-10-25", "2012-10-26"}


@pytest.mark.parametrize("tags", [{}, {"flowctx/on_captured": "recapture"}, {"on_captured": "recapture"}])
def test_what_was_captured_meanwhile_stays(tags: dict[str, str], tmp_path: Path, monkeypatch) -> None:
    """A run that makes up for a missed date leaves what was restated by hand, unless the schedule's tags say not to."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    days = Daily(start="2012-10-01", calendar="XNYS", timezone=NEW_YORK)
    flow = Workflow("flow", partitions=PartitionScheme(date=days))
    flow.step("fetch")(lambda ctx: {"n": 1})
    run(flow, partition="2012-10-03", batch_id="by-hand", ledger=url)
    with persistent_instance(tmp_path) as instance:
        bench = Bench(flow, tmp_path / "outputs", instance=instance)
        schedule = workflow_schedule(bench.assets, flow.partitions, name="daily", catch_up=1, tags=tags)
        stores = {"workflow_io_manager": bench.outputs}
        repository = dg.Definitions(bench.assets, schedules=[schedule], resources=stores).get_repository_def()
        at = datetime(2012, 10, 5, tzinfo=days.zone)
        with dg.build_schedule_context(instance, at, repository_def=repository) as context:
            requests = schedule.evaluate_tick(context).run_requests
        assert [bench.run(asked.partition_key, tags=asked.tags).success for asked in requests] == [True, True]
    captures = open_ledger(url).captures(workflow="flow")
    made = [(capture.partition["date"], capture.revision) for capture in captures if capture.partition]
    again = [("2012-10-03", 2)] if tags else []
    assert sorted(made) == [("2012-10-03", 1), *again, ("2012-10-04", 1)]


def test_the_first_dates_have_nothing_to_make_up_for(tmp_path: Path) -> None:
    """Looking back further than the start finds what there is."""
    with persistent_instance(tmp_path) as instance:
        requests = Scheduled(PRICES, catch_up=50).tick(datetime(2012, 10, 3, 6, tzinfo=PRICES.cadence.zone), instance)
    assert len(requests) == 8


def test_a_schedule_needs_a_cadence_and_a_name() -> None:
    """Without a cadence nothing is ever due; assets alone have no name to take."""
    with pytest.raises(WorkflowError, match="no cadence.*give it one"):
        Scheduled(PartitionScheme(tier=["T1"]))
    with pytest.raises(WorkflowError, match="needs a name"):
        workflow_schedule(["prices"], PRICES)
    with pytest.raises(WorkflowError, match="catch_up=-1"):
        Scheduled(PRICES, catch_up=-1)


def test_assets_can_be_scheduled_without_a_job() -> None:
    """Given assets and a name, Dagster makes the job."""
    asset = dg.asset(name="prices", partitions_def=partitions_def(PRICES))(lambda: None)
    schedule = workflow_schedule([asset], PRICES, name="prices_schedule")
    assert schedule.name == "prices_schedule"
    dg.Definitions.validate_loadable(dg.Definitions([asset], schedules=[schedule]))


def test_a_half_day_is_requested_the_same_afternoon() -> None:
    """Around Thanksgiving, keys are requested half an hour after each close, once, and on the holiday none."""
    closing = Daily(start="2026-11-01", calendar="XNYS", timezone=NEW_YORK, due="close + 30min")
    made = requested(
        PartitionScheme(date=closing), datetime(2026, 11, 25, 12, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    )
    assert [(tick.isoformat()[:16], key) for tick, key in made] == [
        ("2026-11-25T16:30", "2026-11-25"),
        ("2026-11-27T13:30", "2026-11-27"),
        ("2026-11-30T16:30", "2026-11-30"),
    ]


def test_hours_are_requested_over_both_changes_of_the_clocks() -> None:
    """Each hour of a day of 23 and of one of 25 is requested once, when it is over."""
    for day, count in (("2026-03-08", 23), ("2026-11-01", 25)):
        scheme = PartitionScheme(hour=Hourly(start=day, end=day, timezone=NEW_YORK, delay=timedelta(minutes=15)))
        assert len(scheme) == count
        on_time(scheme)


def test_keys_of_one_tier_are_requested_earlier() -> None:
    """Where delays differ, each tier is requested at its own time."""
    delays = {"tier": {"T1": timedelta(weeks=2), "OTC": timedelta(weeks=4, hours=6)}}
    weeks = Weekly(start="2026-01-02", end="2026-01-09", timezone=NEW_YORK, delay=delays)
    scheme = PartitionScheme(week=weeks, tier=["T1", "OTC"])
    made = requested(scheme, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    assert [(tick.isoformat()[:13], str(from_dagster_key(key, scheme))) for tick, key in made] == [
        ("2026-01-17T00", "tier=T1|week=2026-01-02"),
        ("2026-01-24T00", "tier=T1|week=2026-01-09"),
        ("2026-01-31T06", "tier=OTC|week=2026-01-02"),
        ("2026-02-07T06", "tier=OTC|week=2026-01-09"),
    ]


@pytest.mark.parametrize("left", [40, 5, -1])
def test_a_calendar_that_ends_is_scheduled_while_it_is_known(left: int) -> None:
    """Known dates are partitions and requested; the description and ticks warn, and after the end a tick fails."""
    today = datetime.now(UTC).date()
    first, last = today - timedelta(days=20), today + timedelta(days=left)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    scheme = PartitionScheme(date=Daily(start=first, calendar=BusinessCalendar.from_sessions("DESK", days)))
    scheduled = Scheduled(scheme)
    assert f"is known until {last}" in scheduled.schedule.description
    known = [day.isoformat() for day in days if day < today]
    assert partitions_def(scheme).get_partition_keys() == known
    at = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    assert [request.partition_key for request in scheduled.tick(at)] == [last.isoformat()]
    with pytest.raises(Exception, match=f"is known until {last}, which is past: dates after it are not scheduled"):
        scheduled.tick(at + timedelta(days=1))
