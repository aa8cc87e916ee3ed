"""A DAG with a PartitionTimetable through Airflow's own parsing: serialised, registered, named, and cheap."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import adapters.airflow_support  # noqa: F401 - before Airflow

# isort: split
import pendulum
import pytest
from airflow.configuration import conf
from airflow.plugins_manager import get_timetables_plugins
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.timetables.base import TimeRestriction
from airflow.utils.types import DagRunType
from hypothesis import given
from hypothesis import strategies as st

from adapters.airflow_names import DagSerialization
from flowctx import BusinessCalendar, CalendarError, Daily, PartitionKey, PartitionScheme, Weekly, Workflow
from flowctx.airflow import workflow_dag
from flowctx.airflow.partitions import PartitionTimetable
from flowctx.airflow.run_order import zones_of
from flowctx.core.partitions.key import escape_value

WEEKS = Weekly(
    start="2012-01-03", calendar="XNYS", as_of="last_session", delay=timedelta(hours=30), timezone="Asia/Tokyo"
)


def stored(scheme: PartitionScheme) -> PartitionTimetable:
    """The timetable as the scheduler reads it back from the database."""
    dag = DAG("partitions", schedule=PartitionTimetable(scheme), start_date=datetime(2012, 1, 3, tzinfo=UTC))
    timetable = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag)))).timetable
    assert isinstance(timetable, PartitionTimetable)
    return timetable


def bounded(dag: DAG) -> tuple[str, str]:
    """The first and the last key that the scheduler makes of a DAG that it reads back from the database."""
    dag = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    restriction = dag._time_restriction._replace(catchup=True)
    timetable = dag.timetable
    timetable.dag_id = None  # it had no runs on an older Airflow
    keys, last = [], None
    while last := timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction):
        keys.append(last.partition_key)
    return keys[0], keys[-1]


def midnight(day: int, zone: str | tzinfo = "Asia/Tokyo") -> datetime:
    """Midnight of a day of July 2026 in a zone."""
    return datetime(2026, 7, day, tzinfo=ZoneInfo(zone) if isinstance(zone, str) else zone)


JULY = Workflow(
    "july", partitions=PartitionScheme(date=Daily(start="2026-06-01", end="2026-07-31", timezone="America/New_York"))
)
JULY.step(name="load")(lambda ctx: {})
NEXT = {"start_date": midnight(1), "end_date": midnight(10)}


ZONES = ("UTC", "America/New_York", "Europe/London", "Asia/Tokyo")


@pytest.mark.parametrize(
    "dates",
    [
        *({"start_date": midnight(1, zone), "end_date": midnight(10, zone)} for zone in ZONES),
        {"start_date": midnight(1, "UTC"), "end_date": midnight(10, timezone(timedelta(hours=1)))},
        {"start_date": datetime(2026, 7, 1), "end_date": midnight(10)},  # noqa: DTZ001 - Airflow's default zone
        {"default_args": NEXT},
        {"default_args": {"start_date": "2026-07-01T00:00:00+09:00"}, "end_date": midnight(10)},
        {"start_date": datetime(2026, 7, 1, 20, tzinfo=ZoneInfo("America/New_York")), "end_date": midnight(10)},
    ],
    ids=str,
)
def test_midnight_in_the_zone_of_the_dags_dates_is_that_date(dates: dict[str, Any]) -> None:
    """Airflow keeps the dates of a DAG in UTC, and its first and last as-of dates are those that were written."""
    assert bounded(workflow_dag(JULY, **dates)) == ("2026-07-01", "2026-07-10")


def test_a_dag_of_ones_own_says_the_zone_of_its_dates(caplog) -> None:
    """`timezone=` is the zone of its dates; where it is not said, the log says which date a time is taken for."""
    assert JULY.partitions is not None
    zoned = DAG("zoned", schedule=PartitionTimetable(JULY.partitions, timezone="Asia/Tokyo"), **NEXT)
    assert bounded(zoned) == ("2026-07-01", "2026-07-10")
    assert not caplog.messages
    assert bounded(DAG("unsaid", schedule=PartitionTimetable(JULY.partitions), **NEXT)) == ("2026-06-30", "2026-07-09")
    assert caplog.text.count("it is taken for 2026-06-30") == 1
    assert "midnight in none of UTC, America/New_York;" in caplog.text
    assert "PartitionTimetable(scheme, timezone='Asia/Tokyo')" in caplog.text
    with pytest.raises(CalendarError, match="did you mean Asia/Tokyo"):
        PartitionTimetable(JULY.partitions, timezone="Asia/Tokio")


def test_a_timetable_that_an_older_flowctx_stored_is_read() -> None:
    """It has no zone, and the dates of its DAG mean what they did."""
    assert JULY.partitions is not None
    old = PartitionTimetable.deserialize({"scheme": JULY.partitions.to_dict()})
    july = TimeRestriction(pendulum.datetime(2026, 7, 1), None, catchup=True)
    assert old.next_dagrun_info_v2(last_dagrun_info=None, restriction=july).partition_key == "2026-07-01"


def test_a_backfill_by_the_clock_of_the_ui_makes_the_dates_that_it_shows() -> None:
    """The UI sends midnight in the zone that it shows as an instant in UTC; a time with a zone is of that zone."""
    timetable = workflow_dag(JULY, **NEXT).timetable
    for zone, bound in (
        ("Asia/Tokyo", midnight(3).astimezone(UTC)),
        ("America/Chicago", midnight(3, "America/Chicago")),
    ):
        keys = [info.partition_key for info in timetable.iter_partition_dagrun_infos(earliest=bound, latest=bound)]
        assert keys == ["2026-07-03"], zone


def test_a_backfill_by_a_clock_that_is_not_known_warns(caplog) -> None:
    """The zone that the UI shows is not told; where no zone that is tried has midnight then, the log says so."""
    bound = midnight(3, "Europe/Paris").astimezone(UTC)
    infos = workflow_dag(JULY, **NEXT).timetable.iter_partition_dagrun_infos(earliest=bound, latest=bound)
    assert [info.partition_key for info in infos] == ["2026-07-02"]
    assert caplog.text.count("midnight in none of UTC, Asia/Tokyo, America/New_York; it is taken for 2026-07-02") == 1


def test_a_date_without_a_zone_is_of_airflows_default_zone(monkeypatch) -> None:
    """`default_timezone` of airflow.cfg is the zone of dates that have none, as Airflow takes them."""
    monkeypatch.setattr("airflow.settings.TIMEZONE", pendulum.timezone("Asia/Tokyo"))
    assert zones_of(datetime(2026, 7, 1), "2026-07-10", None) == ["Asia/Tokyo"]  # noqa: DTZ001


def run_id(key: str | None, run_type: DagRunType = DagRunType.SCHEDULED) -> str:
    timetable = PartitionTimetable(PartitionScheme(tier=["T1"]))
    after = pendulum.datetime(2012, 1, 4, 11)
    return timetable.generate_run_id(run_type=run_type, run_after=after, data_interval=None, partition_key=key)


def test_the_timetable_is_registered_by_installing_flowctx() -> None:
    """Airflow knows the timetable through the entry point, in every process, with nothing to configure."""
    assert get_timetables_plugins()["flowctx.airflow.partitions.PartitionTimetable"] is PartitionTimetable


def test_a_serialised_dag_has_the_same_schedule() -> None:
    """After its way through the database a timetable has the same scheme and makes the same runs."""
    scheme = PartitionScheme(week=WEEKS, tier=["T1", "b|c"])
    timetable, everything = stored(scheme), TimeRestriction(None, None, catchup=True)
    assert timetable.scheme == scheme
    first = timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=everything)
    assert first == PartitionTimetable(scheme).next_dagrun_info_v2(last_dagrun_info=None, restriction=everything)


def test_a_calendar_of_ones_own_is_stored_with_the_dag() -> None:
    """The scheduler needs no access to where the holidays of a custom calendar came from."""
    desk = BusinessCalendar.from_holidays("DESK", ["2012-10-29", "2012-10-30"])
    scheme = PartitionScheme(date=Daily(start="2012-10-26", end="2012-10-31", calendar=desk))
    day = {"earliest": datetime(2012, 10, 1, tzinfo=UTC), "latest": datetime(2012, 12, 1, tzinfo=UTC)}
    keys = [info.partition_key for info in stored(scheme).iter_partition_dagrun_infos(**day)]
    assert keys == ["2012-10-26", "2012-10-31"]


def test_values_of_a_callable_are_read_at_parsing() -> None:
    """What a callable returned when the DAG file was parsed is what the scheduler uses."""
    asked = []
    scheme = PartitionScheme(date=Daily(start="2012-01-03"), symbol=lambda: asked.append(1) or ["AAPL", "IBM"])
    assert stored(scheme).scheme.values("symbol") == ("AAPL", "IBM")
    assert asked == [1]


def test_the_same_dag_has_the_same_hash_at_each_parsing() -> None:
    """A DAG that did not change makes no new DAG version."""
    dags = [DAG("d", schedule=PartitionTimetable(PartitionScheme(week=WEEKS, tier=["b", "a"]))) for _ in range(2)]
    first, second = (LazyDeserializedDAG.from_dag(dag).hash for dag in dags)
    assert first == second


def test_the_ui_says_what_the_schedule_is() -> None:
    """Summary and description name cadence, calendar, zone and delay, and how many values there are."""
    timetable = stored(PartitionScheme(week=WEEKS, tier=["T1", "T2"]))
    assert timetable.summary == "weekly XNYS × 2 tier"
    assert timetable.description == (
        "One run for each key week|tier: weekly XNYS × 2 tier, due 1 day, 6:00:00 after its window ends (Asia/Tokyo)"
    )
    assert stored(PartitionScheme(tier=["T1"])).description == "One run for each key tier, started by hand: 1 tier"


def test_a_run_id_names_its_key() -> None:
    """The id of a run has the key in it, readable, and is another one each time."""
    first, second = run_id("2012-01-03|IBM"), run_id("2012-01-03|IBM")
    assert re.fullmatch(r"scheduled__2012-01-03~IBM__[0-9a-f]{8}", first)
    assert first != second
    assert re.fullmatch(r"manual__2012-01-04T11:00:00\+00:00__[0-9a-f]{8}", run_id(None, DagRunType.MANUAL))


@given(st.lists(st.text(min_size=1, max_size=60).filter(str.isprintable), min_size=1, max_size=3))
def test_run_ids_are_within_airflows_characters(values: list[str]) -> None:
    """Whatever the values are, Airflow takes the id, and file systems a folder that is named by it."""
    keys = dict(zip("abc", values, strict=False))
    if len("|".join(f"{name}={escape_value(value)}" for name, value in keys.items())) <= 200:
        made = run_id(
            "|".join(escape_value(PartitionKey(**keys)[name]) for name in keys), DagRunType.ASSET_MATERIALIZATION
        )
        assert re.match(conf.get("scheduler", "allowed_run_id_pattern"), made)
        assert ".." not in made
        assert len(f"run_id={made}") <= 255


KEYS = st.lists(st.text(st.sampled_from("a.%|~/2E5 "), min_size=1, max_size=4), min_size=1, max_size=3)


@given(KEYS, KEYS)
def test_run_ids_of_different_keys_differ(one: list[str], other: list[str]) -> None:
    """No two keys share the part of an id that names them, though '|' and '%' are written with '~'."""
    texts = ["|".join(map(escape_value, values)) for values in (one, other)]
    names = [run_id(text)[:-8] for text in texts]
    assert (names[0] == names[1]) == (texts[0] == texts[1])


def test_long_keys_have_run_ids_of_their_own() -> None:
    """A key that is too long for an id is cut and marked, so that two that begin alike differ."""
    one, other = ("|".join(["%20" * 60, end]) for end in ("a", "b"))
    assert max(map(len, (run_id(one), run_id(other)))) <= 200
    assert run_id(one)[:-8] != run_id(other)[:-8]


def test_parsing_loads_no_pandas() -> None:
    """With calendars in the disk cache a DAG file with an exchange calendar is parsed without pandas."""
    Daily(start="2012-01-03", calendar="XNYS").count(datetime(2012, 2, 1).date())  # noqa: DTZ001 - fills the cache
    program = (
        "import sys; from airflow.sdk import DAG; from flowctx import Daily, PartitionScheme;"
        "from flowctx.airflow.partitions import PartitionTimetable as T;"
        "from airflow.serialization.serialized_objects import DagSerialization;"
        "dag = DAG('d', schedule=T(PartitionScheme(date=Daily(start='2012-01-03', calendar='XNYS'))));"
        "print(len(dag.schedule.scheme.cadence[:9]), DagSerialization.to_dict(dag)['dag']['dag_id'],"
        "{'pandas', 'exchange_calendars'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "9 d set()"
