"""DAGs of every kind of run that the Airflow here has; each run leaves its context."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import airflow.sdk as sdk
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, task
from airflow.timetables import interval, trigger
from notes import HOME, ZONE, note

from flowctx import Daily, PartitionScheme, RetryPolicy, Workflow
from flowctx.airflow import PartitionTimetable, workflow_dag

PAST = {"start_date": datetime(2012, 1, 1, tzinfo=UTC), "catchup": False}
PLAIN, PRICES = Asset("plain"), Asset("prices")


@task.step
def tell(ctx):
    """Tell the DAG that hears of the asset."""
    return {}


with DAG("cron_trigger", schedule=trigger.CronTriggerTimetable("30 20 * * *", timezone=ZONE), **PAST):
    note()
with DAG("cron_interval", schedule=interval.CronDataIntervalTimetable("0 6 * * *", timezone=ZONE), **PAST):
    note()
with DAG("by_hand", schedule=None, params={"limit": 3}):
    note()
with DAG("triggers", schedule=None):
    conf = {"batch_id": "from_op", "limit": 9}
    TriggerDagRunOperator(task_id="go", trigger_dag_id="by_hand", trigger_run_id="op__1", logical_date=None, conf=conf)
with DAG("tells_plain", schedule=None):
    tell.override(outlets=[PLAIN])()
with DAG("hears_plain", schedule=[PLAIN]):
    note()
if hasattr(sdk, "CronPartitionTimetable"):
    nightly = sdk.CronPartitionTimetable("0 0 * * *", timezone=ZONE, key_format="%Y-%m-%d")
    with DAG("cron_partition", schedule=nightly, **PAST):
        note()
    yearly = sdk.CronPartitionTimetable("0 0 1 1 *", timezone=ZONE, key_format="%Y-%m-%d")
    with DAG("tells_prices", schedule=yearly, **PAST):
        tell.override(outlets=[PRICES])()
    with DAG("hears_prices", schedule=sdk.PartitionedAssetTimetable(assets=PRICES)):
        note()

# Each key is a date, a tier and a venue. Before Airflow 3.2 the end of a DAG bounds logical dates, which are the first
# moments of as-of dates in New York: hence noon.
sessions = PartitionScheme(
    date=Daily(start="2012-10-15", end="2012-10-31", calendar="XNYS", timezone=ZONE),
    tier=["T1", "T2"],
    venue=["XNYS", "dark/..p|ol"],
)
days = {"start_date": datetime(2012, 10, 15, tzinfo=UTC), "end_date": datetime(2012, 10, 18, 12, tzinfo=UTC)}
with DAG("sessions", schedule=PartitionTimetable(sessions), catchup=True, **days):
    note()

tried = Workflow("tried")


@tried.step(retries=RetryPolicy(retries=2))
def fetch(ctx):
    """Fail at first; say which attempt it is."""
    if ctx.metadata["engine"]["try_number"] == 1:
        raise ConnectionError("the line is down")
    return {"attempt": ctx.metadata["engine"]["try_number"], "capture": ctx.capture_id}


@tried.step()
def after(ctx):
    """Write down what the step before returned."""
    path = HOME / "kinds" / "tried" / f"{ctx.get_output('fetch', 'attempt')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ctx.get_output("fetch")))
    return {}


tried_dag = workflow_dag(tried, schedule=None)
