"""A whole workflow: one native Airflow run per session and symbol."""

from __future__ import annotations

from flowctx.airflow import workflow_dag
from flowctx.examples.prices import prices

dag = workflow_dag(prices, tags=["flowctx"])
