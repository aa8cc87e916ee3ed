"""The DAGs of the workflow that runs on several machines."""

from fabric_flow import fabric

from flowctx.airflow import workflow_bulk_dag, workflow_dag

dag = workflow_dag(fabric, schedule=None)
bulk = workflow_bulk_dag(fabric)
