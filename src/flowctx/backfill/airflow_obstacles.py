"""What keeps an Airflow from running what it was told to run, as its API says."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from flowctx.backfill.http import Answer


def no_dag(dag_id: str, url: str, made_by: str) -> str:
    """Say that there is no such DAG, and what to do."""
    return (
        f"Airflow at {url} has no DAG {dag_id!r}; put {made_by} into its DAG folder, and see whether it parses: "
        "airflow dags list-import-errors"
    )


def paused(dag_id: str, url: str) -> str:
    """Say that a DAG is paused, and what to do."""
    return f"DAG {dag_id!r} at Airflow at {url} is paused; type: airflow dags unpause {dag_id}"


def obstacle(get: Callable[[str], Answer], dag_id: str, url: str) -> str | None:
    """Return what the runs of a DAG wait for, if Airflow says so.

    Args:
        get: Asks the API.
        dag_id: The DAG.
        url: Where Airflow is, for messages.
    """
    dag = get(f"/dags/{dag_id}")
    if dag.status == HTTPStatus.OK and dag.data.get("is_paused"):
        return paused(dag_id, url)
    health = get("/monitor/health")
    scheduler = health.data.get("scheduler") or {} if health.status == HTTPStatus.OK else {}
    if scheduler.get("status") != "unhealthy":
        return None
    heard = scheduler.get("latest_scheduler_heartbeat")
    since = f"has not been heard of since {heard}" if heard else "was never heard of"
    return f"the scheduler of Airflow at {url} {since}; see whether it runs: airflow scheduler"
