"""DAGs whose runs are the keys of a scheme: caught up, backfilled, only the latest, and by hand."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

from airflow.sdk import DAG, task

from flowctx import Daily, PartitionScheme
from flowctx.airflow import PartitionTimetable, workflow_context


@task
def note(dag_run=None):
    """Write the context down."""
    folder = Path(os.environ["AIRFLOW_HOME"], "contexts", dag_run.dag_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{dag_run.run_id}.json").write_text(json.dumps(workflow_context().to_dict()))


ny = {"calendar": "XNYS", "timezone": "America/New_York"}
sessions = PartitionScheme(
    date=Daily(start="2012-10-15", end="2012-10-31", **ny), tier=["T1", "T2"], venue=["XNYS", "dark/..p|ol"]
)
days = {"start_date": datetime(2012, 10, 15), "end_date": datetime(2012, 10, 17)}
with DAG("sessions", schedule=PartitionTimetable(sessions), catchup=True, **days):
    note()

recent = PartitionScheme(date=Daily(start="2020-01-01", **ny), tier=["T1", "T2", "T3"])
with DAG("recent", schedule=PartitionTimetable(recent), catchup=False):
    note()

with DAG("tiers", schedule=PartitionTimetable(PartitionScheme(tier=["T1", "T2"]))):
    note()
