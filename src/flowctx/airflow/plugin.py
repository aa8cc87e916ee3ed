"""What Airflow's scheduler, dag-processor and api-server have to know of flowctx: its timetable and its macros."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from flowctx.airflow.macros import context_value
from flowctx.airflow.partitions import PartitionTimetable


class FlowctxPlugin(AirflowPlugin):
    """Registered through the entry point ``airflow.plugins``; there is nothing to configure."""

    name = "flowctx"
    timetables = [PartitionTimetable]  # noqa: RUF012 - as Airflow declares it
    macros = [context_value]  # noqa: RUF012 - likewise
