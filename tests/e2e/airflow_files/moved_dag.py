"""The DAGs of batches that go on elsewhere or later; they write to the ledger, in a file, that the other ones know."""

from __future__ import annotations

import os
from datetime import datetime

import chained
import dying_flow
import moved
import retried

from flowctx.airflow import workflow_dag

os.environ["FLOWCTX_LEDGER_URL"] = os.environ["MOVED_LEDGER_URL"]
dag = workflow_dag(moved.flow, catchup=False, start_date=datetime(2020, 1, 1))
again = workflow_dag(retried.flow)
silent = workflow_dag(dying_flow.flow, dag_id="silent", schedule=None)  # the scheduler does not know its ledger
chain, weeks = (workflow_dag(f, catchup=False, start_date=datetime(2020, 1, 1)) for f in (chained.chain, chained.weeks))
