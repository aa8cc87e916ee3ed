"""A month that runs when its sessions are in the ledger."""

from __future__ import annotations

from datetime import datetime

import ready_flow

from flowctx.airflow import workflow_dag

dag = workflow_dag(ready_flow.month, schedule="inputs", start_date=datetime(2026, 1, 1))
