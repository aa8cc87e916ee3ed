"""Adopt flowctx in a DAG that exists already: one rule for all of it, and one call inside any task."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, dag, task

from flowctx import AsOf
from flowctx.airflow import workflow_context

mornings = CronTriggerTimetable("0 6 * * MON-FRI", timezone="America/New_York")


@dag(schedule=mornings, params={"limit": 3}, default_args={"as_of": AsOf.previous_session("XNYS")})
def adoption() -> None:
    """Runs each weekday morning, about the session before."""

    @task
    def load() -> dict[str, object]:
        ctx = workflow_context()
        return {"session": str(ctx.as_of_date), "batch": ctx.batch_id, "limit": ctx.params["limit"]}

    @task
    def report(loaded: dict[str, object]) -> str:
        return f"{loaded['session']}: at most {loaded['limit']} rows, capture {workflow_context().capture_id}"

    report(load())


adoption()
