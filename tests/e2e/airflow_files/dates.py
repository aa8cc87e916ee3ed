"""DAGs for dates: every timetable in three zones, and schemes that are due at all kinds of times."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import airflow.sdk as sdk
import end_flows
import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task
from airflow.timetables import events, interval, trigger
from own_timetable import OwnTimetable

from flowctx import BusinessCalendar, Daily, Hourly, PartitionScheme, Weekly, Yearly
from flowctx.airflow import PartitionTimetable, workflow_context, workflow_dag

os.environ.pop("FLOWCTX_LEDGER_URL", None)  # its tasks write to no ledger
HOME = Path(os.environ["AIRFLOW_HOME"])
NEW_YORK, TOKYO = "America/New_York", "Asia/Tokyo"
PAST = datetime(2020, 1, 1, tzinfo=UTC)
#: Of each zone, the days whose nights are tried: clocks are put on or back in them, but in Tokyo.
CHANGES = {
    NEW_YORK: {"spring": (2026, 3, 7), "autumn": (2026, 10, 31)},
    "Australia/Lord_Howe": {"autumn": (2026, 4, 4)},
    TOKYO: {"none": (2026, 3, 7)},
}
NIGHT = "30 0,23 * * *"


def events_of(zone: str, start: datetime) -> events.EventsTimetable:
    """Return the two ticks of a night as events."""
    first = pendulum.instance(start).in_timezone(zone).add(minutes=15)
    return events.EventsTimetable([first, first.add(days=1).at(0, 30)])


TIMETABLES = {
    "core_trigger": lambda zone, _: trigger.CronTriggerTimetable(NIGHT, timezone=zone),
    "core_multiple": lambda zone, _: trigger.MultipleCronTriggerTimetable(NIGHT, timezone=zone),
    "core_interval": lambda zone, _: interval.CronDataIntervalTimetable(NIGHT, timezone=zone),
    "core_partition": lambda zone, _: trigger.CronPartitionTimetable(NIGHT, timezone=zone),
    "sdk_trigger": lambda zone, _: sdk.CronTriggerTimetable(NIGHT, timezone=zone),
    "sdk_multiple": lambda zone, _: sdk.MultipleCronTriggerTimetable(NIGHT, timezone=zone),
    "sdk_interval": lambda zone, _: sdk.CronDataIntervalTimetable(NIGHT, timezone=zone),
    "sdk_partition": lambda zone, _: sdk.CronPartitionTimetable(NIGHT, timezone=zone),
    "sdk_or_asset": lambda zone, _: sdk.AssetOrTimeSchedule(
        timetable=sdk.CronTriggerTimetable(NIGHT, timezone=zone), assets=[sdk.Asset("never")]
    ),
    # That of the SDK cannot be stored by Airflow 3.3.2, which misses its '_summary'.
    "core_events": events_of,
    "own": lambda zone, _: OwnTimetable(NIGHT, timezone=zone),
}


@task
def note(dag_run=None):
    """Write the business date down, or why there is none."""
    path = HOME / "zones" / dag_run.dag_id / f"{dag_run.run_id}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(str(workflow_context(required=True).as_of_date)))


for zone, changes in CHANGES.items():
    for change, day in changes.items():
        # The start has no zone that would help: it is in UTC.
        start = datetime(*day, 23, 15, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        night = {"start_date": start, "end_date": start + timedelta(minutes=90), "catchup": True}
        for kind, make in TIMETABLES.items():
            if kind.startswith("sdk_") and change == "none":
                continue  # they are stored as those of the core are
            name = f"zone.{kind}.{zone.replace('/', '-')}.{change}"
            with DAG(name, schedule=make(zone, start), **night):
                note()


def runs_of(dag_id: str, scheme: PartitionScheme, **options: object) -> None:
    """Make a DAG of a scheme whose runs do nothing."""
    with DAG(dag_id, schedule=PartitionTimetable(scheme), **{"catchup": True, "start_date": PAST, **options}):
        EmptyOperator(task_id="nothing")


ny = {"timezone": NEW_YORK, "calendar": "XNYS"}
autumn = {"start": "2025-11-26", "end": "2025-12-01", **ny}
runs_of("evenings", PartitionScheme(date=Daily(due="17:00", **autumn)))
runs_of("half_days", PartitionScheme(date=Daily(due="close + 30min", **autumn)))
hours = PartitionScheme(hour=Hourly(start="2026-03-08", timezone=NEW_YORK, delay=timedelta(minutes=15)))
for name, day, first in (("spring", (2026, 3, 8), 5), ("autumn", (2026, 11, 1), 4)):
    bounds = [datetime(*day, first + more, 30, tzinfo=UTC) for more in (0, 3)]
    runs_of(f"hours_{name}", hours, start_date=bounds[0], end_date=bounds[1])
runs_of("fiscal", PartitionScheme(year=Yearly(start="2024-01-01", ends_in="JUN", timezone=NEW_YORK)))
delays = {"tier": {"T1": timedelta(weeks=2), "OTC": timedelta(weeks=4)}}
weeks = Weekly(start="2026-09-04", end="2026-09-25", timezone=NEW_YORK, delay=delays)
runs_of("tiers_later", PartitionScheme(week=weeks, tier=["T1", "OTC"]))

# What is due on its own day, some minutes after Airflow was started, where it is not about midnight.
due = datetime.fromisoformat(os.environ["DUE"])
here = next(zone for zone in (NEW_YORK, TOKYO) if 1 <= due.astimezone(ZoneInfo(zone)).hour <= 22)
local = due.astimezone(ZoneInfo(here))
today, at = local.date(), f"{local:%H:%M}"
runs_of("this_evening", PartitionScheme(date=Daily(start=today, due=at, timezone=here)))
desk = BusinessCalendar.from_sessions(
    "DESK",
    [today + timedelta(days=n) for n in range(-3, 200)],
    close="23:00",
    timezone=here,
    special_closes={today: f"{local - timedelta(minutes=30):%H:%M}"},
)
runs_of("this_half_day", PartitionScheme(date=Daily(start=today, due="close + 30min", timezone=here, calendar=desk)))

for flow in end_flows.flows:
    globals()[flow.name] = workflow_dag(flow, catchup=False, start_date=PAST)
