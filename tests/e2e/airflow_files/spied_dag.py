"""A DAG whose steps use secrets and fail with them; its ledger is the one that the scheduler knows as well."""

from __future__ import annotations

from flowctx.airflow import workflow_dag
from planted import spied

dag = workflow_dag(spied("spied"), schedule=None)
