"""A DAG whose history is made by one Airflow and goes on in another: each run leaves a line."""

import os
from datetime import UTC, datetime
from pathlib import Path

from flowctx import Daily, PartitionScheme, Workflow
from flowctx.airflow import workflow_dag

moved = Workflow(
    "moved",
    partitions=PartitionScheme(
        date=Daily(start="2012-10-15", end="2012-10-24", calendar="XNYS", timezone="America/New_York"),
        tier=["T1", "T2", "T5"],
    ),
)


@moved.step()
def load(ctx):
    """Say what it is about."""
    with Path(os.environ["LINES"]).open("a") as lines:
        lines.write(f"{ctx.partition} {ctx.as_of_date} {ctx.run_id}\n")
    return {}


dag = workflow_dag(moved, start_date=datetime(2012, 10, 15, tzinfo=UTC), catchup=True, max_active_runs=2)
