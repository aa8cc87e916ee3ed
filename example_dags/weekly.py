"""A weekly report: it is about the last session of the week, which is not always a Friday."""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable

from flowctx import AsOf, Workflow, WorkflowContext
from flowctx.airflow import workflow_dag

weekly = Workflow("weekly_report")


@weekly.step()
def report(ctx: WorkflowContext) -> dict[str, object]:
    """Good Friday 2012 was no session: the report of that week is about Thursday."""
    return {"session": ctx.as_of_date}


dag = workflow_dag(
    weekly,
    schedule=CronDataIntervalTimetable("0 0 * * SAT", timezone="America/New_York"),
    as_of=AsOf.last_session("XNYS"),
)
