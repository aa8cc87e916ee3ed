"""DAGs of every timetable that the Airflow here has, due before and after midnight in the night of a clock change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import airflow.sdk as sdk
import pendulum
from airflow.sdk import DAG, Asset
from airflow.timetables import assets, events, interval, trigger
from notes import ZONE, note
from own_timetable import OwnTimetable

from flowctx.airflow._versions import AIRFLOW

NIGHT, HOUR = "30 0,23 * * *", timedelta(hours=1)
START = datetime(2026, 3, 7, 23, 15, tzinfo=ZoneInfo(ZONE))
FIRST = pendulum.instance(START).add(minutes=15)
NEVER = Asset("never")

# That of events of the SDK cannot be stored by Airflow 3.3.2, which misses its '_summary'.
timetables = {
    "core.EventsTimetable": events.EventsTimetable([FIRST, FIRST.add(days=1).at(0, 30)]),
    "own": OwnTimetable(NIGHT, timezone=ZONE),
    "core.AssetOrTimeSchedule": assets.AssetOrTimeSchedule(
        timetable=trigger.CronTriggerTimetable(NIGHT, timezone=ZONE), assets=[NEVER]
    ),
}
CRON = ["CronTriggerTimetable", "MultipleCronTriggerTimetable", "CronDataIntervalTimetable"]
if AIRFLOW.able("partition dates for tasks"):  # without them, runs of partitions have no date
    CRON.append("CronPartitionTimetable")
for place, modules in {"core": (trigger, interval), "sdk": (sdk,)}.items():
    for module in modules:
        timetables |= {
            f"{place}.{name}": getattr(module, name)(NIGHT, timezone=ZONE) for name in CRON if hasattr(module, name)
        }
if hasattr(sdk, "AssetOrTimeSchedule"):
    timetables["sdk.AssetOrTimeSchedule"] = sdk.AssetOrTimeSchedule(
        timetable=sdk.CronTriggerTimetable(NIGHT, timezone=ZONE), assets=[NEVER]
    )
for name, timetable in timetables.items():
    # The start has no zone that would help: it is in UTC.
    bounds = {"start_date": START.astimezone(UTC), "end_date": START.astimezone(UTC) + timedelta(minutes=90)}
    with DAG(f"zone.{name}", schedule=timetable, catchup=True, **bounds):
        note()

# These have no zone of their own: they take that of the DAG, which is that of its start.
hourly = {f"core.{name}": getattr(module, name)(HOUR) for module, name in (
    (trigger, "DeltaTriggerTimetable"), (interval, "DeltaDataIntervalTimetable")
)}  # fmt: skip
hourly |= {f"sdk.{name.partition('.')[2]}": getattr(sdk, name.partition(".")[2])(HOUR) for name in hourly
           if hasattr(sdk, name.partition(".")[2])}  # fmt: skip
for name, timetable in hourly.items():
    with DAG(f"zone.{name}", schedule=timetable, catchup=True, start_date=FIRST, end_date=FIRST.add(minutes=75)):
        note()
