"""DAGs that are run in parts, day by day without partitions, and with skips; the scheduler knows their ledger."""

from __future__ import annotations

from datetime import datetime

import part_flows
from airflow.sdk import DAG, CronTriggerTimetable

from flowctx.airflow import StepOperator, workflow_dag

PAST = {"catchup": False, "start_date": datetime(2026, 1, 1)}
parts = workflow_dag(part_flows.parts)
with DAG("parts_first", schedule=None):
    StepOperator(step=part_flows.parts.steps["first"], workflow=part_flows.parts)
days = workflow_dag(part_flows.days, schedule="@daily", **PAST)
twice = CronTriggerTimetable("0 9,10 * * *", timezone="America/New_York")
ticks = workflow_dag(part_flows.ticks, schedule=twice, **PAST)
holes = workflow_dag(part_flows.holes, **PAST)
symbols = workflow_dag(part_flows.symbols, map_over=["symbol"], reduce=part_flows.summary)
