"""What a PartitionTimetable costs Airflow, beside Airflow's own CronPartitionTimetable."""

# ruff: noqa: E402 - Airflow reads its environment when it is imported
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta

HOME = tempfile.TemporaryDirectory(prefix="flowctx-bench-")
os.environ.setdefault("AIRFLOW_HOME", HOME.name)

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk import CronPartitionTimetable as SdkCronPartitionTimetable
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction, Timetable
from airflow.timetables.trigger import CronPartitionTimetable
from report import compare

from flowctx import Daily, PartitionScheme
from flowctx.airflow.partitions import PartitionTimetable

START = pendulum.datetime(2012, 1, 3)
CRON = {"cron": "0 6 * * 2-6", "timezone": "America/New_York", "key_format": "%Y-%m-%d"}


def scheme(*sizes: int) -> PartitionScheme:
    """Sessions of New York, with static dimensions of these sizes."""
    sessions = Daily(start=START.date(), calendar="XNYS", timezone="America/New_York", delay=timedelta(hours=6))
    return PartitionScheme(
        date=sessions, **{f"d{i}": [f"v{n:04}" for n in range(size)] for i, size in enumerate(sizes)}
    )


def parse(make: Callable[[], object]) -> Callable[[], object]:
    """Return what the dag-processor does to a DAG file with ten tasks, without the import of libraries."""

    def once() -> object:
        with DAG("bench", schedule=make(), start_date=START, catchup=True) as dag:  # type: ignore[arg-type]
            for i in range(10):
                EmptyOperator(task_id=f"task_{i}")
        return DagSerialization.to_dict(dag)

    return once


def step(timetable: Timetable) -> Callable[[], object]:
    """Return what the scheduler does to find the run after the last one, from run to run."""
    restriction, last = TimeRestriction(START, None, catchup=True), None

    def once() -> object:
        nonlocal last
        last = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)
        return last

    return once


def main() -> None:
    """Print the tables."""
    schemes = {"date": scheme(), "date × 3 × 2": scheme(3, 2), "date × 1000 × 5": scheme(1000, 5)}
    compare(
        "Parse and serialise a DAG of ten tasks",
        {"CronPartitionTimetable": parse(lambda: SdkCronPartitionTimetable(**CRON))}
        | {f"PartitionTimetable, {n}": parse(lambda s=s: PartitionTimetable(s)) for n, s in schemes.items()},
        repeat=20,
    )
    compare(
        "next_dagrun_info_v2, from run to run",
        {"CronPartitionTimetable": step(CronPartitionTimetable(**CRON))}
        | {f"PartitionTimetable, {n}": step(PartitionTimetable(s)) for n, s in schemes.items()},
        repeat=200,
    )
    stored = {name: PartitionTimetable(s).serialize() for name, s in schemes.items()}
    compare(
        "Read a timetable back from the database, and ask it for its first run",
        {f"PartitionTimetable, {n}": lambda d=d: step(PartitionTimetable.deserialize(d))() for n, d in stored.items()},
        repeat=5,
    )


if __name__ == "__main__":
    main()
