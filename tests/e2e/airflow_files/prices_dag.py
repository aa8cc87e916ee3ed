"""The example as a DAG; its tasks write to the ledger, on PostgreSQL, from which its runs go on elsewhere."""

from __future__ import annotations

from flowctx.airflow import workflow_dag
from flowctx.examples.prices import prices

dag = workflow_dag(prices)
