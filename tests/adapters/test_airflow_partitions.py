"""The runs of a PartitionTimetable are the keys of its scheme, due when the scheme says so."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import adapters.airflow_support  # noqa: F401 - before Airflow

# isort: split
import pendulum
import pytest
from airflow.timetables.base import DagRunInfo, TimeRestriction
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import Daily, Monthly, PartitionError, PartitionScheme, Quarterly, UnknownPartition, Weekly
from flowctx.airflow.partitions import PartitionTimetable
from flowctx.core.dates.calendar import get_calendar
from flowctx.core.dates.zones import get_zone, local_date

ZONES = ("UTC", "America/New_York", "Europe/London", "Asia/Tokyo")
CALENDARS = ("XNYS", "XLON", "XTKS", "WEEKDAYS")
CATCH_UP = TimeRestriction(None, None, catchup=True)
NO_CATCH_UP = TimeRestriction(None, None, catchup=False)
VALUES = st.lists(st.text(min_size=1, max_size=4).filter(str.isprintable), min_size=1, max_size=3, unique=True)


@st.composite
def cadences(draw):
    """Any kind of cadence, over some weeks or months from 1995 (or when the calendar is first known) to 2026."""
    kind, calendar = draw(st.sampled_from([Daily, Weekly, Monthly, Quarterly])), draw(st.sampled_from(CALENDARS))
    start = draw(st.dates(max(date(1995, 1, 1), get_calendar(calendar).first), date(2025, 12, 31)))
    options = {} if kind is Daily else {"as_of": draw(st.sampled_from(["period_end", "last_session"]))}
    return kind(
        start=start,
        end=start + timedelta(days=draw(st.integers(14, 40 if kind is Daily else 300))),
        calendar=calendar,
        timezone=draw(st.sampled_from(ZONES)),
        delay=timedelta(minutes=draw(st.sampled_from([0, 150, 3000]))),
        **options,
    )


@st.composite
def schemes(draw):
    """A scheme with a cadence and up to three static dimensions, in any order."""
    names = draw(st.permutations(["date", "tier", "venue", "desk"]))[draw(st.integers(0, 3)) :]
    names = names if "date" in names else [*names, "date"]
    return PartitionScheme(**{name: draw(cadences()) if name == "date" else draw(VALUES) for name in names})


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
    """Keys and due times of the schedule are the scheme's: each once, in the order of as-of dates."""
    infos = walk(PartitionTimetable(scheme), len(scheme) + 1)
    assert sorted(info.partition_key for info in infos) == sorted(scheme.text(key) for key in scheme)
    keys = [scheme.parse(info.partition_key) for info in infos]
    assert [info.run_after for info in infos] == [scheme.due(key) for key in keys]
    assert [scheme.as_of_date(key) for key in keys] == sorted(scheme.as_of_date(key) for key in scheme)


@settings(max_examples=60, deadline=None)
@given(schemes())
def test_partition_dates_tell_runs_apart_and_their_dates(scheme: PartitionScheme) -> None:
    """Partition dates strictly ascend, and each is on the as-of date by the clocks of the cadence's zone."""
    infos = walk(PartitionTimetable(scheme), len(scheme))
    assert all(a.partition_date < b.partition_date for a, b in pairwise(infos))
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
