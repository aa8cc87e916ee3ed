"""Every kind of run on the Airflow that is installed, and the dates of every timetable that it has."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from e2e.airflow_stack import AirflowStack
from flowctx import WorkflowContext
from flowctx.airflow._versions import AIRFLOW

#: The dates of the two runs of the night that is tried, whatever the timetable: 23:30 and 00:30.
NIGHT = [date(2026, 3, 7), date(2026, 3, 8)]
PARTITIONED = AIRFLOW.able("partitioned runs")


def read(stack: AirflowStack, dag_id: str) -> dict[str, WorkflowContext]:
    """Return what the runs of a DAG saw, by run id."""
    files = Path(stack.home, "kinds", dag_id).glob("*.json")
    return {file.stem: WorkflowContext.from_dict(json.loads(file.read_text())) for file in files}


def context(stack: AirflowStack, dag_id: str, run_type: str, **facts: str) -> WorkflowContext:
    """Wait for the first successful run of a type, and return what its task saw."""

    def runs() -> list[dict[str, Any]]:
        wanted = {"run_type": run_type, "state": "success", **facts}
        return [run for run in stack.runs(dag_id) if wanted.items() <= run.items()]

    stack.wait_until(runs, f"a {run_type} run of {dag_id}", seconds=600)
    return read(stack, dag_id)[runs()[0]["dag_run_id"]]


def start_runs(stack: AirflowStack) -> None:
    """Start what does not start by itself."""
    stack.trigger("by_hand", conf={"batch_id": "b", "partition": {"tier": "T1"}, "limit": 5}, dag_run_id="hand")
    stack.trigger("triggers")
    stack.trigger("tells_plain", conf={"batch_id": "b", "as_of_date": "2012-10-26"})
    stack.trigger("tried", dag_run_id="tried", conf={"batch_id": "b", "as_of_date": "2012-10-26"})
    if PARTITIONED:
        stack.trigger("cron_partition", partition_key="2012-10-26", conf={"batch_id": "b"})
        stack.trigger("tells_prices", partition_key="2012-10-26")
    start_backfill(stack, "cron_trigger", "2012-10-25", "2012-10-26", batch_id="restate")


def start_backfill(stack: AirflowStack, dag_id: str, first: str, last: str, *, batch_id: str) -> None:
    """Start a backfill of Airflow's own over dates, for a batch."""
    conf = {"batch_id": batch_id}
    stack.backfill(dag_id, first, last, dag_run_conf=conf, reprocess_behavior="none", max_active_runs=16)


def by_cron(stack: AirflowStack) -> None:
    """The date is that of the tick."""
    ctx = context(stack, "cron_trigger", "scheduled")
    assert (ctx.metadata["as_of_source"], ctx.batch_id, ctx.partition) == ("fired_at", None, None)


def by_interval(stack: AirflowStack) -> None:
    """The date is that of the start of the interval."""
    ctx = context(stack, "cron_interval", "scheduled")
    assert ctx.as_of_date is not None
    assert ctx.metadata["as_of_source"] == "window_start"


def by_cron_of_partitions(stack: AirflowStack) -> None:
    """The key of Airflow is the partition, and its instant the date, where tasks are told of it."""
    ctx = context(stack, "cron_partition", "scheduled")
    assert ctx.partition is not None
    day = date.fromisoformat(ctx.partition["partition"])
    assert ctx.as_of_date == (day if AIRFLOW.able("partition dates for tasks") else None)


def by_backfill(stack: AirflowStack) -> None:
    """It has the batch of the backfill, and a date of it."""
    ctx = context(stack, "cron_trigger", "backfill")
    assert (ctx.batch_id, str(ctx.as_of_date)[:8]) == ("restate", "2012-10-")


def by_hand(stack: AirflowStack) -> None:
    """Conf tells batch, partition and parameters."""
    ctx = context(stack, "by_hand", "manual", dag_run_id="hand")
    assert (ctx.batch_id, str(ctx.partition), ctx.params["limit"], ctx.as_of_date) == ("b", "tier=T1", 5, None)


def by_hand_with_a_key(stack: AirflowStack) -> None:
    """The key is the partition, and conf tells the batch."""
    ctx = context(stack, "cron_partition", "manual", partition_key="2012-10-26")
    assert (ctx.partition, ctx.batch_id) == ({"partition": "2012-10-26"}, "b")


def by_operator(stack: AirflowStack) -> None:
    """What the operator gives as conf is the caller's."""
    run_type = "operator_triggered" if AIRFLOW.able("operator_triggered runs") else "manual"
    ctx = context(stack, "by_hand", run_type, dag_run_id="op__1")
    assert (ctx.batch_id, ctx.params["limit"], ctx.as_of_date) == ("from_op", 9, None)


def by_asset(stack: AirflowStack) -> None:
    """Batch and date reach the DAG that the asset triggers."""
    ctx = context(stack, "hears_plain", "asset_triggered")
    assert (ctx.batch_id, str(ctx.as_of_date)) == ("b", "2012-10-26")


def by_partitioned_asset(stack: AirflowStack) -> None:
    """The key reaches the DAG that the partition of an asset triggers."""
    ctx = context(stack, "hears_prices", "asset_triggered", partition_key="2012-10-26")
    assert ctx.partition == {"partition": "2012-10-26"}


#: What is tried of each kind, and whether the Airflow here has it.
KINDS: dict[str, tuple[bool, Callable[[AirflowStack], None]]] = {
    "run by cron": (True, by_cron),
    "run by data interval": (True, by_interval),
    "run by cron of partitions": (PARTITIONED, by_cron_of_partitions),
    "run of a native backfill": (True, by_backfill),
    "run by hand": (True, by_hand),
    "run by hand with a key": (PARTITIONED, by_hand_with_a_key),
    "run by an operator": (True, by_operator),
    "run by an asset": (True, by_asset),
    "run by a partitioned asset": (PARTITIONED, by_partitioned_asset),
}


def try_kinds(stack: AirflowStack) -> dict[str, str]:
    """See that each kind of run knows who it is."""
    found: dict[str, str] = {}
    for name, (has, look) in KINDS.items():
        if has:
            look(stack)
        found[name] = "yes" if has else "no"
    return found


def try_retry_and_clear(stack: AirflowStack) -> dict[str, str]:
    """A step that failed is tried again, and a cleared run writes the same capture."""
    assert stack.wait_for_run("tried", "tried", seconds=600)["state"] == "success"
    body = {"dry_run": False, "dag_run_id": "tried", "only_failed": False, "reset_dag_runs": True}
    status, answer = stack.request("POST", "/dags/tried/clearTaskInstances", body)
    assert status == 200, answer
    assert stack.wait_for_run("tried", "tried")["state"] == "success"
    files = Path(stack.home, "kinds", "tried")
    seen = [json.loads((files / f"{attempt}.json").read_text())["capture"] for attempt in (2, 3)]
    assert seen == ["2012-10-26|b"] * 2
    return {"retry of a step": "yes", "cleared run, same capture": "yes"}


def try_dates(stack: AirflowStack) -> dict[str, str]:
    """The two runs of a night have the dates of two days, whatever the timetable."""
    dags = [dag["dag_id"] for dag in stack.get("/dags", dag_id_pattern="zone.", limit=100)["dags"]]
    stack.wait_until(lambda: all(len(read(stack, dag_id)) >= 2 for dag_id in dags), "the nights", seconds=600)
    wrong = {
        dag_id: days
        for dag_id in dags
        if (days := sorted(str(ctx.as_of_date) for ctx in read(stack, dag_id).values())) != [str(day) for day in NIGHT]
    }
    assert not wrong, wrong
    return {"timetables with both dates of a night": str(len(dags))}
