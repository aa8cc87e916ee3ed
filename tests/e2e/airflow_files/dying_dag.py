"""A DAG whose task is killed; its ledger is the one that the scheduler and the API server know as well."""

from __future__ import annotations

from dying_flow import flow

from flowctx.airflow import workflow_dag

dag = workflow_dag(flow, schedule=None)
