"""The DAG of batches that are launched; without a ledger of its own."""

from __future__ import annotations

import os
from datetime import datetime

from restated import flow

from flowctx.airflow import workflow_dag

os.environ.pop("FLOWCTX_LEDGER_URL", None)  # its tasks write to no ledger
dag = workflow_dag(flow, catchup=False, start_date=datetime(2020, 1, 1))
