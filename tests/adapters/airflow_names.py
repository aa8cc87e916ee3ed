"""What the tests use of Airflow that has another place in older versions."""

from __future__ import annotations

import airflow.sdk as sdk
from airflow.timetables.interval import CronDataIntervalTimetable as _CronDataInterval
from airflow.timetables.trigger import CronTriggerTimetable as _CronTrigger

from flowctx.airflow._compat import dag_serialization

DagSerialization = dag_serialization()
CronDataIntervalTimetable = getattr(sdk, "CronDataIntervalTimetable", _CronDataInterval)
CronTriggerTimetable = getattr(sdk, "CronTriggerTimetable", _CronTrigger)
#: None before Airflow 3.2, both.
CronPartitionTimetable = getattr(sdk, "CronPartitionTimetable", None)
PartitionedAssetTimetable = getattr(sdk, "PartitionedAssetTimetable", None)
