"""DAGs of every kind: one for each kind of run, and steps that fail, skip and grow large."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import (
    DAG,
    Asset,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    PartitionedAssetTimetable,
    task,
)

from flowctx import AsOf, Daily, PartitionScheme, RetryPolicy, StepResult, Workflow
from flowctx.airflow import workflow_context, workflow_dag

os.environ.pop("FLOWCTX_LEDGER_URL", None)  # its tasks write to no ledger
HOME = Path(os.environ["AIRFLOW_HOME"])
NEW_YORK = "America/New_York"
PAST = {"start_date": datetime(2012, 1, 1, tzinfo=UTC), "catchup": False}
PRICES, PLAIN, LEFT, RIGHT = (Asset(name) for name in ("prices", "plain", "left", "right"))


def keep(name: str, data: object) -> None:
    """Write down what was seen, for the test to read."""
    path = HOME / "seen" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def notes(as_of: AsOf | None = None) -> None:
    """Add two ordinary tasks that write their context down."""

    @task
    def note(number: int, dag_run=None) -> int:
        keep(f"{dag_run.dag_id}/{dag_run.run_id}/{number}", workflow_context(as_of).to_dict())
        return number

    note.override(task_id="first")(1) >> note.override(task_id="second")(2)


with DAG("cron_trigger", schedule=CronTriggerTimetable("30 20 * * *", timezone=NEW_YORK), **PAST):
    notes()
with DAG("cron_interval", schedule=CronDataIntervalTimetable("0 6 * * *", timezone=NEW_YORK), **PAST):
    notes(AsOf.window_end())
with DAG(
    "cron_partition",
    schedule=CronPartitionTimetable("0 0 * * *", timezone=NEW_YORK, key_format="%Y-%m-%d"),
    **PAST,
):
    notes()
with DAG("by_hand", schedule=None, params={"limit": 3, "mode": "x"}):
    notes()
with DAG("triggers", schedule=None):
    TriggerDagRunOperator(
        task_id="go",
        trigger_dag_id="by_hand",
        trigger_run_id="op__1",
        logical_date=None,  # by default it is the time at which the operator runs
        conf={"batch_id": "from_op", "limit": 9},
    )


@task.step
def tell(ctx):
    """Tell the DAGs that hear of an asset."""
    return {}


for asset in (PLAIN, LEFT, RIGHT):
    with DAG(f"tells_{asset.name}", schedule=None):
        tell.override(outlets=[asset])()
with DAG("hears_both", schedule=[LEFT, RIGHT]):
    notes()
with DAG("hears_plain", schedule=[PLAIN]):
    notes()
with DAG("hears_partitions", schedule=PartitionedAssetTimetable(assets=PRICES)):
    notes()

SCHEME = PartitionScheme(
    date=Daily(start="2012-10-01", end="2013-03-01", calendar="XNYS", timezone=NEW_YORK), symbol=["FB", "IBM"]
)
prices = Workflow("e2e_flow", partitions=SCHEME, params={"max_move": 0.25, "api_token": "t0p-s3cret-value"})


@prices.step(retries=RetryPolicy(retries=2))
def fetch(ctx):
    """Fail at first, and then return more than fits into the database's share of XCom."""
    marker = HOME / "seen" / f"tried-{ctx.run_id}"
    if not marker.exists():
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        raise ConnectionError("the line is down")
    print("params are", dict(ctx.params), "and the token is", ctx.params["api_token"])
    keep(f"captures/{ctx.run_id}/{ctx.metadata['engine']['try_number']}", ctx.capture_id)
    return {"rows": ["r" * 10] * 1000, "day": ctx.as_of_date}


@prices.step()
def check(ctx):
    """Look at the step before."""
    return StepResult.ok({"n": len(ctx.get_output("fetch")["rows"])}, {"checked": ctx.partition.symbol})


@prices.step(config={"gate": 0.25})
def gate(ctx, config):
    """Say no, if asked to."""
    if ctx.params["max_move"] < config["gate"]:
        return StepResult.fail("40% in a day", category="DATA_QUALITY")
    return {"far": ctx.get_output("fetch", "day"), "checked": ctx.params["checked"]}


dag = workflow_dag(prices, schedule=None)
dag.get_task("gate").outlets.append(PRICES)


def reduced(ctx):
    """Write down which instances there are."""
    keep(f"reduced/{ctx.run_id}", {label: bool(output) for label, output in ctx.get_output("gate").items()})


by_date = workflow_dag(prices, dag_id="e2e_mapped", map_over=["symbol"], reduce=reduced, **PAST)

stale = Workflow("e2e_stale")


@stale.step()
def decide(ctx):
    """Succeed once, and skip when the task is cleared."""
    return {"x": 1} if ctx.metadata["engine"]["try_number"] == 1 else StepResult.skip("not this time")


@stale.step()
def middle(ctx):
    """Run the first time only."""
    return {"x": 2}


with workflow_dag(stale) as stale_dag:

    @task.step(trigger_rule="none_failed")
    def after(ctx):
        """Run each time."""
        keep(f"stale/{ctx.metadata['engine']['try_number']}", list(ctx.step_outputs))
        return {}

    stale_dag.get_task("middle") >> after()
