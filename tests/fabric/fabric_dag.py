"""The DAG of the workflow that runs on several machines."""

from fabric_flow import fabric

from flowctx.airflow import workflow_dag

dag = workflow_dag(fabric, schedule=None)
