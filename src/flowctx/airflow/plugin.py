"""What Airflow's scheduler, dag-processor and api-server have to know of flowctx: timetable, macros and listener."""

from __future__ import annotations

import os

from airflow.configuration import conf as settings
from airflow.plugins_manager import AirflowPlugin

from flowctx.airflow.endings import LISTENER
from flowctx.airflow.macros import context_value
from flowctx.airflow.partitions import PartitionTimetable


def _records() -> bool:
    """Whether a ledger is named here. Without one there is no listener: Airflow refuses DAGs with some tasks then."""
    return bool(os.environ.get("FLOWCTX_LEDGER_URL") or settings.get("flowctx", "ledger_conn_id", fallback=None))


class FlowctxPlugin(AirflowPlugin):
    """Registered through the entry point ``airflow.plugins``; there is nothing to configure."""

    name = "flowctx"
    timetables = [PartitionTimetable]  # noqa: RUF012 - as Airflow declares it
    macros = [context_value]  # noqa: RUF012 - likewise
    listeners = [LISTENER] if _records() else []
