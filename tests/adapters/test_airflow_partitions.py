"""The runs of a PartitionTimetable are the keys of its scheme, due when the scheme says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import adapters.airflow_support  # noqa: F401 - before Airflow

# isort: split
import pendulum
import pytest
from airflow.providers.openlineage.utils.utils import build_dag_run_ol_run_id, build_task_instance_ol_run_id
from airflow.timetables.base import DagRunInfo, TimeRestriction
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import (
    BusinessCalendar,
    Daily,
    Hourly,
    Monthly,
    PartitionError,
    PartitionScheme,
    Quarterly,
    UnknownPartition,
    Weekly,
    Yearly,
)
from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.partitions import PartitionTimetable
from flowctx.core.dates.calendar import get_calendar
from flowctx.core.dates.zones import get_zone, local_date
from flowctx.core.engine_versions import Ability

ZONES = ("UTC", "America/New_York", "Europe/London", "Asia/Tokyo")
CALENDARS = ("XNYS", "XLON", "XTKS", "WEEKDAYS")
CATCH_UP = TimeRestriction(None, None, catchup=True)
NO_CATCH_UP = TimeRestriction(None, None, catchup=False)
VALUES = st.lists(st.text(min_size=1, max_size=4).filter(str.isprintable), min_size=1, max_size=3, unique=True)


@st.composite
def cadences(draw):
    """Any kind of cadence, over some weeks or months from 1995 (or when the calendar is first known) to 2026."""
    kind = draw(st.sampled_from([Hourly, Daily, Weekly, Monthly, Quarterly, Yearly]))
    calendar = draw(st.sampled_from(CALENDARS))
    start = draw(st.dates(max(date(1995, 1, 1), get_calendar(calendar).first), date(2025, 12, 31)))
    options = {} if kind in (Hourly, Daily) else {"as_of": draw(st.sampled_from(["period_end", "last_session"]))}
    if kind is Yearly:
        options["ends_in"] = draw(st.sampled_from(["JUN", "DEC"]))
    rules = [] if kind is Hourly else ["00:00", "02:30", "17:00"]
    if kind is not Hourly and calendar != "WEEKDAYS" and options.get("as_of") != "period_end":
        rules += ["close + 30min"]
    due = draw(st.none() | st.sampled_from(rules)) if rules else None
    if due is None:
        options["delay"] = timedelta(minutes=draw(st.sampled_from([0, 150, 3000])))
    days = {Hourly: 4, Daily: 40, Yearly: 900}.get(kind, 300)
    end = start + timedelta(days=draw(st.integers(days // 3, days)))
    zone = draw(st.sampled_from(ZONES))
    return kind(start=start, end=min(end, date(2026, 10, 1)), calendar=calendar, timezone=zone, due=due, **options)


@st.composite
def schemes(draw):
    """A scheme with a cadence and up to three static dimensions, in any order."""
    names = draw(st.permutations(["date", "tier", "venue", "desk"]))[draw(st.integers(0, 3)) :]
    names = names if "date" in names else [*names, "date"]
    parts = {name: draw(cadences()) if name == "date" else draw(VALUES) for name in names}
    static = [name for name in names if name != "date"]
    if static and parts["date"].due_at is None and draw(st.booleans()):
        delays = {value: timedelta(hours=draw(st.sampled_from([0, 5, 24, 336]))) for value in parts[static[0]]}
        parts["date"] = replace(parts["date"], delay={static[0]: delays})
    return PartitionScheme(**parts)


def date_of(scheme: PartitionScheme, info: DagRunInfo) -> date:
    """The as-of date of a run."""
    return scheme.as_of_date(scheme.parse(info.partition_key))


def walk(timetable: PartitionTimetable, count: int, restriction: TimeRestriction = CATCH_UP) -> list[DagRunInfo]:
    """What a scheduler would run, one after the other."""
    infos, last = [], None
    while len(infos) < count and (
        last := timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)
    ):
        infos.append(last)
    return infos


def between(timetable: PartitionTimetable, first: date, last: date) -> list[DagRunInfo]:
    """What a backfill from one date to another would run."""
    earliest, latest = (pendulum.datetime(day.year, day.month, day.day) for day in (first, last))
    return list(timetable.iter_partition_dagrun_infos(earliest=earliest, latest=latest))


@settings(max_examples=60, deadline=None)
@given(schemes())
def test_runs_are_the_keys_of_the_scheme_when_they_are_due(scheme: PartitionScheme) -> None:
    """Keys and due times of the schedule are the scheme's: each once, in the order in which they are due."""
    infos = walk(PartitionTimetable(scheme), len(scheme) + 1)
    assert sorted(info.partition_key for info in infos) == sorted(scheme.text(key) for key in scheme)
    keys = [scheme.parse(info.partition_key) for info in infos]
    late = [info.run_after - scheme.due(key) for info, key in zip(infos, keys, strict=True)]
    assert all(timedelta(0) <= apart < timedelta(minutes=1) for apart in late)
    assert len({info.run_after for info in infos}) == len(infos)
    if len(scheme.cadences) == 1:
        assert [scheme.as_of_date(key) for key in keys] == sorted(scheme.as_of_date(key) for key in scheme)
    else:  # delays differ: at most the minute in which keys that are due together start
        due = [scheme.due(key) for key in keys]
        assert all(a <= b + timedelta(minutes=1) for a, b in pairwise(due))


@settings(max_examples=60, deadline=None)
@given(schemes())
def test_partition_dates_tell_runs_apart_and_their_dates(scheme: PartitionScheme) -> None:
    """Partition dates strictly ascend, each on the as-of date by the zone's clocks, or due then where delays differ."""
    infos = walk(PartitionTimetable(scheme), len(scheme))
    assert all(a.partition_date < b.partition_date for a, b in pairwise(infos))
    if len(scheme.cadences) > 1:
        assert [info.partition_date for info in infos] == [info.run_after for info in infos]
        return
    days = [local_date(info.partition_date, get_zone(scheme.cadence.timezone)) for info in infos]
    assert days == [scheme.as_of_date(scheme.parse(info.partition_key)) for info in infos]


@settings(max_examples=60, deadline=None)
@given(schemes(), st.data())
def test_a_backfill_makes_the_runs_that_a_schedule_makes(scheme: PartitionScheme, data: st.DataObject) -> None:
    """Keys, partition dates and due times of a backfill from one date to another are those of the schedule."""
    ends = st.dates(scheme.cadence.start - timedelta(days=9), scheme.cadence.end + timedelta(days=9))
    first, last = sorted([data.draw(ends), data.draw(ends)])
    timetable, now = PartitionTimetable(scheme), datetime.now(UTC)
    scheduled = [info for info in walk(timetable, len(scheme)) if info.run_after <= now]
    of_date = {info.partition_key: scheme.as_of_date(scheme.parse(info.partition_key)) for info in scheduled}
    wanted = [info for info in scheduled if first <= of_date[info.partition_key] <= last]
    assert between(timetable, first, last) == wanted


@settings(max_examples=60, deadline=None)
@given(schemes(), st.data())
def test_a_schedule_goes_on_from_any_run(scheme: PartitionScheme, data: st.DataObject) -> None:
    """The next run follows from the partition date alone, as for a run whose value the scheme no longer has."""
    timetable = PartitionTimetable(scheme)
    infos = walk(timetable, len(scheme))
    if len(infos) > 1:
        at = data.draw(st.integers(0, len(infos) - 2))
        last = infos[at]._replace(partition_key="gone")
        assert timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=CATCH_UP) == infos[at + 1]


#: Airflow 3.2 cannot play an older one, since its DagRunInfo has to have a partition; 3.3 can.
PLAYS_OLDER = pytest.mark.needs("airflow", "partitions in events")


@PLAYS_OLDER
@given(schemes())
def test_before_airflow_has_partitions_a_logical_date_tells_the_key(scheme: PartitionScheme) -> None:
    """Runs go on from the interval of the last one, as the same keys in the same order; another instant is no key's."""
    timetable = PartitionTimetable(scheme)
    expected = [info.partition_key for info in walk(timetable, 30)]
    found, interval = [], None
    old = replace(AIRFLOW, abilities={"partitioned runs": Ability("99.0", "")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowctx.airflow.run_order.AIRFLOW", old)
        patch.setattr("flowctx.airflow.partitions.AIRFLOW", old)
        while len(found) < len(expected):
            info = timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=CATCH_UP)
            interval = info.data_interval
            found.append(timetable.key_at(info.logical_date))
            assert timetable.key_at(info.logical_date.add(microseconds=1)) != found[-1]
    assert found == expected


@PLAYS_OLDER
def test_before_airflow_has_partitions_no_run_is_out_of_the_dates_of_its_dag(caplog) -> None:
    """Airflow would give such a run no task and call it a success; what is left out is logged."""
    scheme = PartitionScheme(date=Daily(start="2012-10-15", end="2012-10-17", timezone="Asia/Tokyo"), tier=["T1"])
    timetable = PartitionTimetable(scheme)
    dates = [pendulum.datetime(2012, 10, day) for day in (15, 16)]
    with pytest.MonkeyPatch.context() as patch:
        for module in ("run_order", "partitions"):
            old = replace(AIRFLOW, abilities={"partitioned runs": Ability("99.0", "")})
            patch.setattr(f"flowctx.airflow.{module}.AIRFLOW", old)
        info = timetable.next_dagrun_info(
            last_automated_data_interval=None, restriction=TimeRestriction(*dates, catchup=True)
        )
        assert timetable.key_at(info.logical_date) == "2012-10-16|T1"
        assert dates[0] <= info.logical_date <= dates[1]
    assert "before the DAG's start_date" in caplog.text


def test_thirty_years_of_new_york_sessions_are_walked() -> None:
    """From 1995 to 2026 there is one run for each session of XNYS, and a backfill of all dates makes the same."""
    cadence = Daily(start="1995-01-03", end="2026-10-30", calendar="XNYS", timezone="America/New_York")
    timetable = PartitionTimetable(PartitionScheme(date=cadence))
    infos = walk(timetable, len(cadence) + 1)
    assert [info.partition_key for info in infos] == [day.isoformat() for day in cadence]
    assert [info.partition_date for info in infos] == [cadence.window(day).start for day in cadence]
    assert [info.run_after for info in infos] == [cadence.window(day).end for day in cadence]
    assert between(timetable, cadence.start, cadence.end) == infos


def test_a_value_that_is_added_moves_no_other_key() -> None:
    """A new symbol changes no other key's partition date, by which Airflow knows in a backfill what there is."""
    days = Daily(start="2012-01-03", end="2012-01-06", calendar="XNYS")
    before = PartitionTimetable(PartitionScheme(date=days, symbol=["AAPL", "IBM"], tier=["T1"]))
    after = PartitionTimetable(PartitionScheme(date=days, symbol=["AAPL", "GOOG", "IBM"], tier=["T0", "T1"]))
    dates = {info.partition_key: info.partition_date for info in walk(after, 24)}
    assert len(set(dates.values())) == 24
    assert all(dates[info.partition_key] == info.partition_date for info in walk(before, 8))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "at",
    ["2012-01-04T00:00:00+00:00", "2012-01-04T00:00:00[zone]", "2012-01-04T00:00:00+05:30", "2012-01-04T12:00[zone]"],
)
def test_from_and_to_one_date_is_that_as_of_date(zone: str, at: str) -> None:
    """A date as Airflow's CLI, UI or API passes it means the as-of date, whatever the cadence's zone."""
    wall, _, own = at.partition("[")
    bound = datetime.fromisoformat(wall)
    bound = bound.replace(tzinfo=get_zone(zone)).astimezone(UTC) if own else bound
    timetable = PartitionTimetable(PartitionScheme(date=Daily(start="2012-01-03", timezone=zone), tier=["T1", "T2"]))
    found = timetable.iter_partition_dagrun_infos(earliest=bound, latest=bound)
    assert sorted(info.partition_key for info in found) == ["2012-01-04|T1", "2012-01-04|T2"]


def test_start_and_end_date_of_the_dag_bound_as_of_dates() -> None:
    """Runs begin with the as-of date of the DAG's start_date and end with that of its end_date, both included."""
    timetable = PartitionTimetable(
        PartitionScheme(date=Daily(start="2012-01-03", calendar="XNYS", timezone="Asia/Tokyo"))
    )
    bounds = TimeRestriction(pendulum.datetime(2012, 1, 7), pendulum.datetime(2012, 1, 11), catchup=True)
    keys = [info.partition_key for info in walk(timetable, 9, bounds)]
    assert keys == ["2012-01-09", "2012-01-10", "2012-01-11"]


def test_without_catch_up_only_the_latest_date_runs_with_all_its_keys() -> None:
    """Catch-up off begins with the latest as-of date that is due, runs all its keys, and goes on with the next."""
    cadence = Daily(start="2012-01-03", calendar="WEEKDAYS", timezone="Europe/London")
    at = cadence.due_count(datetime.now(UTC)) - 1
    infos = walk(PartitionTimetable(PartitionScheme(date=cadence, tier=["T1", "T2"])), 4, NO_CATCH_UP)
    days = [cadence[at].isoformat()] * 2 + [cadence[at + 1].isoformat()] * 2
    assert [info.partition_key[:10] for info in infos] == days
    assert len({info.partition_key for info in infos}) == 4


def test_without_catch_up_a_date_that_was_begun_is_finished() -> None:
    """If some keys of an old date have runs, the others get theirs before the latest date has its turn."""
    cadence = Daily(start="2012-01-03", calendar="WEEKDAYS")
    timetable = PartitionTimetable(PartitionScheme(date=cadence, tier=["T1", "T2"]))
    first, second = walk(timetable, 2)
    assert timetable.next_dagrun_info_v2(last_dagrun_info=first, restriction=NO_CATCH_UP) == second
    latest = timetable.next_dagrun_info_v2(last_dagrun_info=second, restriction=NO_CATCH_UP)
    assert latest.partition_key[:10] == cadence.latest_due(datetime.now(UTC)).isoformat()


def test_what_is_not_due_is_not_backfilled() -> None:
    """A backfill that reaches into the future makes the runs that are due, and no run of tomorrow's."""
    today = datetime.now(UTC).date()
    timetable = PartitionTimetable(PartitionScheme(date=Daily(start=today - timedelta(days=5))))
    keys = [info.partition_key for info in between(timetable, today - timedelta(days=2), today + timedelta(days=9))]
    assert keys == [(today - timedelta(days=2)).isoformat(), (today - timedelta(days=1)).isoformat()]


def test_a_dag_that_had_another_schedule_does_not_begin_again() -> None:
    """After a run that has no partition date the schedule goes on with what is due after it."""
    timetable = PartitionTimetable(PartitionScheme(date=Daily(start="2012-01-03")))
    last = DagRunInfo(pendulum.datetime(2012, 1, 6), None, None, "another")
    assert timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=CATCH_UP).partition_key == "2012-01-06"


def test_due_times_keep_the_wall_clock() -> None:
    """With a delay of six hours runs are due at 06:00 in New York, before and after clocks change."""
    cadence = Daily(start="2026-03-06", timezone="America/New_York", delay=timedelta(hours=6))
    due = [info.run_after.isoformat() for info in walk(PartitionTimetable(PartitionScheme(date=cadence)), 2)]
    assert due == ["2026-03-07T11:00:00+00:00", "2026-03-08T10:00:00+00:00"]


def test_a_key_by_hand_has_the_partition_date_of_its_scheduled_run() -> None:
    """Airflow finds the run of a key that was started by hand when it backfills that key."""
    timetable = PartitionTimetable(
        PartitionScheme(tier=["T1", "a|b"], date=Daily(start="2012-01-03", timezone="Asia/Tokyo"))
    )
    for info in walk(timetable, 6):
        assert timetable.resolve_partition_date(info.partition_key) == info.partition_date


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("2012-10-29|IBM", "sessions around it are 2012-10-26 and 2012-10-31"),
        ("2012-10-26|IBN", "symbol has no value 'IBN'"),
        ("2012-10-26", "write '<date>|<symbol>'"),
        ("date=2012-10-26|symbol=IBM", "write it like that"),
    ],
)
def test_a_key_by_hand_that_cannot_be_is_refused(text: str, remedy: str) -> None:
    """The message says what is wrong with the key and how it is to be written; Airflow answers 400 with it."""
    scheme = PartitionScheme(date=Daily(start="2012-01-03", calendar="XNYS"), symbol=["AAPL", "IBM"])
    with pytest.raises(ValueError, match="2012-10") as error:
        PartitionTimetable(scheme).resolve_partition_date(text)
    assert isinstance(error.value, PartitionError)
    assert remedy in str(error.value)


def test_a_scheme_without_dates_is_started_by_hand() -> None:
    """Without a cadence nothing is scheduled or backfilled, and keys are checked all the same."""
    timetable = PartitionTimetable(PartitionScheme(tier=["T1", "T2"]))
    assert (timetable.partitioned, timetable.periodic, timetable.can_be_scheduled) == (True, False, False)
    assert walk(timetable, 1) == between(timetable, date(2012, 1, 3), date(2012, 1, 4)) == []
    assert timetable.resolve_partition_date("T2") is None
    with pytest.raises(UnknownPartition, match="it has T1, T2"):
        timetable.resolve_partition_date("T3")


def test_something_else_than_a_scheme_is_refused() -> None:
    """A workflow or a cadence is no scheme; the message shows how to make one."""
    with pytest.raises(PartitionError, match=r"not a Daily: PartitionTimetable\(PartitionScheme\("):
        PartitionTimetable(Daily(start="2012-01-03"))  # type: ignore[arg-type]


def test_bounds_on_partition_dates_are_read_by_the_zones_clocks() -> None:
    """`airflow partitions clear` from midnight means midnight in the cadence's zone."""
    timetable = PartitionTimetable(PartitionScheme(date=Daily(start="2012-01-03", timezone="Asia/Tokyo")))
    bound = timetable.localize_partition_datetime(datetime(2012, 1, 4, tzinfo=UTC))
    assert bound == timetable.resolve_partition_date("2012-01-04") == datetime(2012, 1, 3, 15, tzinfo=UTC)


def test_keys_of_one_date_start_at_different_instants() -> None:
    """Airflow's OpenLineage provider tells the runs of a date apart: its ids of runs and tasks all differ."""
    scheme = PartitionScheme(date=Daily(start="2012-01-03", end="2012-01-05"), symbol=[f"S{i}" for i in range(200)])
    infos = walk(PartitionTimetable(scheme), len(scheme))
    runs = {build_dag_run_ol_run_id("prices", info.run_after, 0) for info in infos}
    tasks = {build_task_instance_ol_run_id("prices", "fetch", 1, info.run_after, -1) for info in infos}
    assert len(runs) == len(tasks) == len(infos) == 600
    due = {info.partition_key: scheme.due(scheme.parse(info.partition_key)) for info in infos}
    assert all(info.run_after - due[info.partition_key] < timedelta(minutes=1) for info in infos)


def test_a_day_is_scheduled_on_its_own_evening_and_a_half_day_in_the_afternoon() -> None:
    """17:00 and half an hour after the close are run_after, in New York, on the as-of date itself."""
    for due, times in {
        "17:00": ["2026-11-25T22:00", "2026-11-27T22:00", "2026-11-30T22:00"],
        "close + 30min": ["2026-11-25T21:30", "2026-11-27T18:30", "2026-11-30T21:30"],
    }.items():
        days = Daily(start="2026-11-25", calendar="XNYS", timezone="America/New_York", due=due)
        infos = walk(PartitionTimetable(PartitionScheme(date=days)), 3)
        assert [info.run_after.isoformat()[:16] for info in infos] == times


def test_closing_times_are_needed_when_the_dag_is_parsed() -> None:
    """A calendar without closing times is an import error, not a schedule that falls silent."""
    with pytest.raises(ValueError, match="WEEKDAYS has no closing times; give it some"):
        PartitionTimetable(PartitionScheme(date=Daily(start="2012-01-03", calendar="WEEKDAYS", due="close")))


def test_hours_are_keys_over_both_changes_of_the_clocks() -> None:
    """Each hour has its own key and instant; a bound that is a day means all its hours, any other one hour."""
    hours = PartitionScheme(hour=Hourly(start="2026-03-08", timezone="America/New_York"))
    timetable = PartitionTimetable(hours)
    spring = between(timetable, date(2026, 3, 8), date(2026, 3, 8))
    autumn = between(timetable, date(2026, 11, 1), date(2026, 11, 1))
    assert (len(spring), len(autumn)) == (23, 25)
    assert len({info.partition_date for info in autumn}) == len({info.partition_key for info in autumn}) == 25
    assert [info.partition_key for info in autumn[1:3]] == ["2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00"]
    at = datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    [one] = timetable.iter_partition_dagrun_infos(earliest=at, latest=at)
    assert (one.partition_key, one.run_after.hour) == ("2026-11-01T01:00-05:00", 7)
    assert timetable.resolve_partition_date(one.partition_key) == one.partition_date


def test_a_key_by_hand_that_is_not_due_is_refused() -> None:
    """What is not due yet is an error that says when it is, as everywhere else."""
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    timetable = PartitionTimetable(PartitionScheme(date=Daily(start="2012-01-03")))
    with pytest.raises(PartitionError, match=f"date={tomorrow} is not due until"):
        timetable.resolve_partition_date(tomorrow.isoformat())


@pytest.mark.parametrize("left", [40, 5, -1])
def test_a_calendar_that_ends_is_scheduled_while_it_is_known(left: int, caplog: pytest.LogCaptureFixture) -> None:
    """Known dates are scheduled, backfilled and run by hand, before the last day and after it; people are told."""
    today = datetime.now(UTC).date()
    first, last = today - timedelta(days=20), today + timedelta(days=left)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    calendar = BusinessCalendar.from_sessions("DESK", days, version="7")
    with pytest.warns(UserWarning, match=rf"the calendar DESK \(7\) is known until {last}"):
        timetable = PartitionTimetable(PartitionScheme(date=Daily(start=first, calendar=calendar)))
    told = [record.levelname for record in caplog.records if "is known until" in record.message]
    assert told == ["ERROR" if left < 0 else "WARNING"]
    assert timetable.summary == f"daily DESK (calendar {'ended' if left < 0 else 'ends'} {last})"
    assert f"is known until {last}" in timetable.description
    assert [info.partition_key for info in walk(timetable, 999)] == [day.isoformat() for day in days]
    due = [day.isoformat() for day in days if day < today]
    assert [info.partition_key for info in between(timetable, first, today + timedelta(days=99))] == due
    assert between(timetable, last + timedelta(days=9), last + timedelta(days=19)) == []
    latest = walk(timetable, 1, NO_CATCH_UP)
    assert [info.partition_key for info in latest] == [due[-1]]
    assert timetable.resolve_partition_date(due[-1]) == latest[0].partition_date
    again = PartitionTimetable.deserialize(timetable.serialize())
    assert walk(again, 999) == walk(timetable, 999)


def test_no_asset_triggers_a_run_of_a_scheme():
    """A timetable of a scheme has no mapper for events of assets, and says what to do instead."""
    timetable = PartitionTimetable(PartitionScheme(tier=["A"]))
    with pytest.raises(PartitionError, match="come from its scheme"):
        timetable.get_partition_mapper(name="prices")
