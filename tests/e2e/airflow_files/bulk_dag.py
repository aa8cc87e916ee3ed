"""The DAG that runs slices of batches; the ledger is that of the environment."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Asset
from bulk_flow import flow

from flowctx.airflow import workflow_bulk_dag

dag = workflow_bulk_dag(
    flow, outlets=[Asset("bulk")], default_args={"retry_delay": timedelta(seconds=1)}, max_active_tasks=2
)
