"""The DAG of a batch that is finished elsewhere; its tasks write to the ledger, in a file, that the other ones know."""

from __future__ import annotations

import os
from datetime import datetime

from moved import flow

from flowctx.airflow import workflow_dag

os.environ["FLOWCTX_LEDGER_URL"] = os.environ["MOVED_LEDGER_URL"]
dag = workflow_dag(flow, catchup=False, start_date=datetime(2020, 1, 1))
