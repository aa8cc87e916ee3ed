"""The DAG of the workflow that is launched."""

from launched_flow import launched

from flowctx.airflow import workflow_dag

dag = workflow_dag(launched, catchup=False)
