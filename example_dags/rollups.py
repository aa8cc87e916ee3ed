"""Steps that read other workflows: a stock's earlier sessions, all stocks of a date, all dates of a month.

They read what is in the ledger (``FLOWCTX_LEDGER_URL``), whichever engine has made it. A month runs when all its
sessions are there.
"""

from __future__ import annotations

from datetime import UTC, datetime

from flowctx.airflow import workflow_dag
from flowctx.examples.rollups import market, month, risk

risk_dag = workflow_dag(risk, catchup=False)
market_dag = workflow_dag(market, catchup=False)
month_dag = workflow_dag(month, schedule="inputs", start_date=datetime(2000, 3, 31, tzinfo=UTC))
