"""Steps that read other workflows: a stock's earlier sessions, all stocks of a date, all dates of a month.

They read what is in the ledger (``FLOWCTX_LEDGER_URL``), whichever engine has made it.
"""

from __future__ import annotations

from flowctx.airflow import workflow_dag
from flowctx.examples.rollups import market, month, risk

risk_dag = workflow_dag(risk, catchup=False)
market_dag = workflow_dag(market, catchup=False)
month_dag = workflow_dag(month, catchup=False)
