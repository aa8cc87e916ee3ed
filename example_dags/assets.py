"""Assets: the batch, the trace, the business date and the partition travel from one DAG to the next."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, task

from flowctx import WorkflowContext
from flowctx.airflow import PartitionTimetable, StepOperator, workflow_context
from flowctx.examples.prices import prices

closes = Asset("closes")


def publish(ctx: WorkflowContext) -> dict[str, Any]:
    """Stand for what writes the closes of one session and symbol."""
    return {"path": f"closes/{ctx.partition.path}" if ctx.partition else None}


assert prices.partitions is not None
with DAG("publish_closes", schedule=PartitionTimetable(prices.partitions)):
    StepOperator(step=publish, workflow=prices, outlets=[closes])

with DAG("use_closes", schedule=PartitionedAssetTimetable(assets=closes)):

    @task
    def use() -> str:
        """Know which batch and partition the closes are of."""
        ctx = workflow_context(scheme=prices.partitions)
        return f"{ctx.partition} as of {ctx.as_of_date} in batch {ctx.batch_id}"

    use()
