"""The business date on every timetable of Airflow's, of core and of the SDK, and on a user's own."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import airflow.sdk as sdk
import airflow.timetables
import pendulum
import pytest
from airflow.sdk.bases.timetable import BaseTimetable
from airflow.timetables import assets, events, interval, simple, trigger
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable

from flowctx import AsOf, CalendarError
from flowctx.airflow import _compat
from flowctx.airflow.run_time import run_time
from flowctx.core.workflow.run_context import fires_within_day

ZONES = ["America/New_York", "Asia/Tokyo", "Australia/Lord_Howe"]
#: The last evening before, and the day of, both changes of the clocks in New York and on Lord Howe Island.
DAYS = [date(2026, 3, 7), date(2026, 3, 8), date(2026, 4, 5), date(2026, 10, 4), date(2026, 11, 1), date(2026, 11, 22)]
EVENING = "30 20 * * *"
ASSET = sdk.Asset("a")
DAY = timedelta(days=1)
FRIDAY = datetime(2026, 1, 9, 17, tzinfo=UTC)


class OwnTrigger(trigger.CronTriggerTimetable):
    """A user's own: a subclass of core's."""


class OwnSdkTrigger(sdk.CronTriggerTimetable):
    """A user's own: a subclass of the SDK's."""


class OwnWithZone(Timetable):
    """A user's own, from scratch, that says its zone."""

    def __init__(self, timezone: str) -> None:
        self.timezone = timezone


class OwnWithoutZone(Timetable):
    """A user's own, from scratch, that says no zone."""


#: A timetable of each class for a zone; those of None take the zone of the DAG.
WITH_A_ZONE = {
    "core CronTriggerTimetable": lambda zone: trigger.CronTriggerTimetable(EVENING, timezone=zone),
    "core MultipleCronTriggerTimetable": lambda zone: trigger.MultipleCronTriggerTimetable(EVENING, timezone=zone),
    "core CronPartitionTimetable": lambda zone: trigger.CronPartitionTimetable(EVENING, timezone=zone),
    "core CronDataIntervalTimetable": lambda zone: interval.CronDataIntervalTimetable(EVENING, timezone=zone),
    "core AssetOrTimeSchedule": lambda zone: assets.AssetOrTimeSchedule(
        timetable=trigger.CronTriggerTimetable(EVENING, timezone=zone), assets=[]
    ),
    "core EventsTimetable": lambda zone: events.EventsTimetable([pendulum.datetime(2026, 1, 1, tz=zone)]),
    "sdk CronTriggerTimetable": lambda zone: sdk.CronTriggerTimetable(EVENING, timezone=zone),
    "sdk MultipleCronTriggerTimetable": lambda zone: sdk.MultipleCronTriggerTimetable(EVENING, timezone=zone),
    "sdk CronPartitionTimetable": lambda zone: sdk.CronPartitionTimetable(EVENING, timezone=zone),
    "sdk CronDataIntervalTimetable": lambda zone: sdk.CronDataIntervalTimetable(EVENING, timezone=zone),
    "sdk AssetOrTimeSchedule": lambda zone: sdk.AssetOrTimeSchedule(
        timetable=sdk.CronTriggerTimetable(EVENING, timezone=zone), assets=[ASSET]
    ),
    "sdk EventsTimetable": lambda zone: sdk.EventsTimetable([pendulum.datetime(2026, 1, 1, tz=zone)]),
    "own subclass of core": lambda zone: OwnTrigger(EVENING, timezone=zone),
    "own subclass of the SDK": lambda zone: OwnSdkTrigger(EVENING, timezone=zone),
    "own with a zone": OwnWithZone,
}
OF_THE_DAG = {
    "core DeltaTriggerTimetable": lambda: trigger.DeltaTriggerTimetable(DAY),
    "core DeltaDataIntervalTimetable": lambda: interval.DeltaDataIntervalTimetable(DAY),
    "core NullTimetable": simple.NullTimetable,
    "core OnceTimetable": simple.OnceTimetable,
    "core ContinuousTimetable": simple.ContinuousTimetable,
    "core AssetTriggeredTimetable": lambda: simple.AssetTriggeredTimetable([]),
    "core PartitionedAssetTimetable": lambda: sdk.PartitionedAssetTimetable(assets=ASSET),
    "sdk DeltaTriggerTimetable": lambda: sdk.DeltaTriggerTimetable(DAY),
    "sdk DeltaDataIntervalTimetable": lambda: sdk.DeltaDataIntervalTimetable(DAY),
    "sdk NullTimetable": lambda: sdk.DAG("n", schedule=None).timetable,
    "sdk OnceTimetable": lambda: sdk.DAG("o", schedule="@once").timetable,
    "sdk ContinuousTimetable": lambda: sdk.DAG("c", schedule="@continuous", max_active_runs=1).timetable,
    "sdk AssetTriggeredTimetable": lambda: sdk.DAG("a", schedule=[ASSET]).timetable,
    "sdk PartitionedAssetTimetable": lambda: sdk.PartitionedAssetTimetable(assets=ASSET),
    # Since Airflow 3.3.
    **{
        f"{of} PartitionedAtRuntime": module.PartitionedAtRuntime
        for of, module in (("core", simple), ("sdk", sdk))
        if hasattr(module, "PartitionedAtRuntime")
    },
}


def as_of(
    timetable, *, dag_zone=None, rule=None, run_type="scheduled", logical=None, start=None, end=None, partition=None
):
    """Return the business date of a run and where it is from."""
    run = SimpleNamespace(
        run_type=run_type,
        logical_date=logical,
        data_interval_start=start or logical,
        data_interval_end=end or logical,
        partition_date=partition,
    )
    dag = SimpleNamespace(dag_id="d", timetable=timetable, timezone=dag_zone or pendulum.timezone("UTC"))
    found = (rule or AsOf.default()).resolve(run_time(dag, run, None, None))
    return found.date, found.source


def evening(day: date, zone: str) -> datetime:
    """Return 20:30 of a day by the clocks of a zone, as Airflow has it: in UTC."""
    return datetime(day.year, day.month, day.day, 20, 30, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_the_list_has_every_timetable_of_core_and_of_the_sdk() -> None:
    """No timetable that Airflow has is left out of the lists that these tests go through."""
    core = {
        f"core {name}"
        for module in pkgutil.iter_modules(airflow.timetables.__path__)
        for name, kind in inspect.getmembers(importlib.import_module(f"airflow.timetables.{module.name}"))
        if inspect.isclass(kind) and Timetable in kind.__mro__[1:] and name[0] != "_"
    }
    bases, public = [BaseTimetable], set()
    while bases:
        for kind in bases.pop().__subclasses__():
            bases.append(kind)
            if kind.__module__.startswith("airflow.sdk."):
                public.add(f"sdk {kind.__name__}")
    assert core | public == {name for name in {**WITH_A_ZONE, **OF_THE_DAG} if not name.startswith("own")}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("name", WITH_A_ZONE)
def test_the_date_is_that_of_the_timetables_own_zone(name: str, zone: str) -> None:
    """An evening is of its own day in the zone of every timetable, around midnight and both changes of the clocks."""
    timetable = WITH_A_ZONE[name](zone)
    found = [as_of(timetable, logical=evening(day, zone))[0] for day in DAYS]
    assert found == DAYS


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("name", OF_THE_DAG)
def test_a_timetable_without_zone_counts_in_that_of_its_dag(name: str, zone: str) -> None:
    """Timetables that have no zone by Airflow's design take that of the DAG, which Airflow shows for it."""
    found = [as_of(OF_THE_DAG[name](), dag_zone=pendulum.timezone(zone), logical=evening(d, zone))[0] for d in DAYS]
    assert found == DAYS


@pytest.mark.parametrize("name", [*WITH_A_ZONE, *OF_THE_DAG])
def test_the_date_of_a_partition_counts_in_the_zone_that_made_it(name: str) -> None:
    """A timetable with a zone says the day of its partitions; one without has the midnight of some producer's zone."""
    own = name in WITH_A_ZONE
    timetable = WITH_A_ZONE[name]("Asia/Tokyo") if own else OF_THE_DAG[name]()
    midnight = datetime(2026, 7, 1, tzinfo=ZoneInfo("Asia/Tokyo")).astimezone(UTC)
    assert as_of(timetable, partition=midnight) == ((date(2026, 7, 1), "fired_at") if own else (None, "none"))


@pytest.mark.parametrize(
    ("timetable", "reason"),
    [
        (OwnWithoutZone(), "does not say its time zone"),
        (sdk.CronTriggerTimetable(EVENING, timezone=pendulum.FixedTimezone(19800)), "without an IANA name"),
        (
            sdk.EventsTimetable([pendulum.datetime(2026, 1, 1, tz=zone) for zone in ZONES[:2]]),
            "has several time zones",
        ),
    ],
)
def test_an_unknown_zone_is_an_error_that_names_the_rule(timetable: object, reason: str) -> None:
    """UTC is never taken in its place; a rule with a zone of its own is the remedy."""
    tick = evening(DAYS[0], ZONES[0])
    with pytest.raises(CalendarError, match=rf"{reason}.*AsOf.window_start\(timezone='America/New_York'\)"):
        as_of(timetable, logical=tick)
    assert as_of(timetable, rule=AsOf.window_start(timezone=ZONES[0]), logical=tick) == (DAYS[0], "fired_at")


MORNING = interval.CronDataIntervalTimetable("0 6 * * 1-5", timezone=ZONES[0])


def at_six(day: int) -> datetime:
    """Return 06:00 in New York on a day of November 2026; the 20th is a Friday."""
    return datetime(2026, 11, day, 6, tzinfo=ZoneInfo(ZONES[0])).astimezone(UTC)


@pytest.mark.parametrize("timetable", [MORNING, sdk.CronDataIntervalTimetable("0 6 * * 1-5", timezone=ZONES[0])])
@pytest.mark.parametrize("last", [(19, 20), (24, 25)], ids=["by REST", "by the command line"])
def test_a_run_by_hand_is_about_what_the_scheduled_run_of_its_date_is_about(timetable, last) -> None:
    """Airflow gives it the interval that ended last, at its logical date or now; its date and window are others."""
    by_hand = {"run_type": "manual", "logical": at_six(20), "start": at_six(last[0]), "end": at_six(last[1])}
    assert as_of(timetable, **by_hand) == (date(2026, 11, 20), "window_start")
    assert as_of(timetable, rule=AsOf.window_end(), **by_hand) == (date(2026, 11, 23), "window_end")
    scheduled = as_of(timetable, logical=at_six(20), start=at_six(20), end=at_six(23))
    assert scheduled == as_of(timetable, **by_hand)


def test_a_run_by_hand_between_two_intervals_is_about_the_one_that_ended() -> None:
    """A logical date of which the schedule has no run leaves the interval that Airflow shows."""
    noon = at_six(20) + timedelta(hours=6)
    by_hand = as_of(MORNING, run_type="manual", logical=noon, start=at_six(19), end=at_six(20))
    assert by_hand == (date(2026, 11, 19), "window_start")
    asked = as_of(MORNING, run_type="manual", logical=noon, start=at_six(24), end=at_six(25))
    assert asked == (date(2026, 11, 20), "fired_at")


def test_a_trigger_with_an_interval_has_the_date_of_the_interval() -> None:
    """A cron trigger whose runs look back a day is about the day it looks back to, scheduled and by hand."""
    timetable = sdk.CronTriggerTimetable("0 6 * * *", timezone=ZONES[0], interval=DAY)
    scheduled = as_of(timetable, logical=at_six(20), start=at_six(20), end=at_six(21))
    by_hand = as_of(timetable, run_type="manual", logical=at_six(20), start=at_six(19), end=at_six(20))
    assert scheduled == by_hand == (date(2026, 11, 20), "window_start")


def test_a_timetable_of_ones_own_is_asked_for_its_scheduled_run() -> None:
    """The interval of a run by hand comes from the timetable itself, whatever it is."""

    class TwoDays(OwnWithZone):
        def next_dagrun_info(self, *, last_automated_data_interval, restriction) -> DagRunInfo:
            start = restriction.earliest
            return DagRunInfo.interval(start, start.add(days=2))

        def infer_manual_data_interval(self, *, run_after) -> DataInterval:
            return DataInterval(run_after.subtract(days=2), run_after)

    by_hand = {"run_type": "manual", "logical": at_six(20), "start": at_six(18), "end": at_six(20)}
    assert as_of(TwoDays(ZONES[0]), rule=AsOf.window_end(), **by_hand) == (date(2026, 11, 22), "window_end")


@pytest.mark.parametrize(
    ("schedule", "within_day"),
    [
        ("0 6 * * *", False),
        ("30 20 * * 1-5", False),
        ("0 * * * *", True),
        ("0 9,17 * * 1-5", True),
        (sdk.DeltaTriggerTimetable(timedelta(hours=6)), True),
        (sdk.EventsTimetable([FRIDAY, FRIDAY - timedelta(hours=1)]), True),
        (sdk.EventsTimetable([FRIDAY, FRIDAY + timedelta(days=7)]), False),
        (None, False),
    ],
)
def test_schedules_that_fire_within_a_day_are_known(schedule, within_day):
    """Of a schedule with several ticks a day, or with one of several in a week, the date alone says too little."""
    timetable = sdk.CronTriggerTimetable(schedule, timezone="UTC") if isinstance(schedule, str) else schedule
    assert fires_within_day(_compat.next_ticks(sdk.DAG("d", schedule=timetable), FRIDAY)) is within_day
