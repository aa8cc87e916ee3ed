"""The example as a DAG; its tasks write to the ledger, on PostgreSQL, from which its runs go on elsewhere."""

from __future__ import annotations

import os

from flowctx.airflow import workflow_dag
from flowctx.examples.prices import prices

os.environ["FLOWCTX_LEDGER_URL"] = os.environ["RESUMED_LEDGER_URL"]
dag = workflow_dag(prices)
