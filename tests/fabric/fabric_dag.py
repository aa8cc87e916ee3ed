"""The DAGs of the workflows that run on several machines."""

from fabric_flow import fabric

from flowctx.airflow import workflow_bulk_dag, workflow_dag
from flowctx.examples.prices import prices

dag = workflow_dag(fabric, schedule=None)
bulk = workflow_bulk_dag(fabric)
prices_dag = workflow_dag(prices, schedule=None)
prices_bulk = workflow_bulk_dag(prices)
