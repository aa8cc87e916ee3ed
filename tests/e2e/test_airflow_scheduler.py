"""Every kind of run on a real Airflow: api-server, scheduler with LocalExecutor and dag-processor."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from e2e.airflow_stack import AirflowStack
from flowctx import WorkflowContext

pytestmark = pytest.mark.e2e


def seen(airflow: AirflowStack, dag_id: str, run_id: str) -> WorkflowContext:
    """Return the context of a run, which both of its tasks must have seen."""
    first, second = (
        WorkflowContext.from_dict(json.loads((airflow.home / "seen" / dag_id / run_id / f"{n}.json").read_text()))
        for n in (1, 2)
    )
    assert first.trace_id == second.trace_id, "not all tasks of the run are of one trace"
    assert re.fullmatch("[0-9a-f]{32}", first.trace_id) or "trace" in first.trace_id
    assert (first.run_id, first.capture_id, first.started_at) == (run_id, second.capture_id, second.started_at)
    return first


def a_run(airflow: AirflowStack, dag_id: str, run_type: str, **query: object) -> dict[str, Any]:
    """Wait for a DAG's first successful run of a type, and return it."""

    def runs() -> list[dict[str, Any]]:
        return [r for r in airflow.runs(dag_id, **query) if r["run_type"] == run_type and r["state"] == "success"]

    airflow.wait_until(runs, f"a {run_type} run of {dag_id}")
    return runs()[0]


def finished(airflow: AirflowStack, dag_id: str) -> bool:
    """Whether no backfill of a DAG is active; Airflow takes only one at a time."""
    return all(backfill["completed_at"] for backfill in airflow.get("/backfills", dag_id=dag_id)["backfills"])


def tasks(airflow: AirflowStack, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
    """Return a run's task instances by name and, if mapped, label."""
    found = airflow.get(f"/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances", limit=100)["task_instances"]
    return {ti["task_id"] + (f"[{ti['rendered_map_index']}]" if ti["map_index"] >= 0 else ""): ti for ti in found}


def log(airflow: AirflowStack, dag_id: str, run_id: str, task_id: str, attempt: int) -> str:
    """Return the log of a task's attempt."""
    return (
        (airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}")
        .joinpath(f"attempt={attempt}.log")
        .read_text()
    )


def xcom(airflow: AirflowStack, dag_id: str, run_id: str, task_id: str) -> Any:
    """Return what a task pushed, as it is in the database."""
    path = f"/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/xcomEntries/return_value"
    return airflow.get(path)["value"]


def test_scheduled_by_a_cron_trigger(airflow: AirflowStack) -> None:
    """The business date is the local day of the tick, where ds is already the next day."""
    run = a_run(airflow, "cron_trigger", "scheduled")
    ctx = seen(airflow, "cron_trigger", run["dag_run_id"])
    assert run["logical_date"][:10] > str(ctx.as_of_date)
    assert ctx.metadata["as_of_source"] == "fired_at"
    assert (ctx.partition, ctx.batch_id, ctx.params) == (None, None, {})
    assert ctx.metadata["engine"]["run_type"] == "scheduled"


def test_scheduled_with_a_data_interval(airflow: AirflowStack) -> None:
    """AsOf.window_end is the last local day inside the interval."""
    run = a_run(airflow, "cron_interval", "scheduled")
    ctx = seen(airflow, "cron_interval", run["dag_run_id"])
    assert (str(ctx.as_of_date), ctx.metadata["as_of_source"]) == (run["data_interval_end"][:10], "window_end")


def test_scheduled_by_airflows_own_partitions(airflow: AirflowStack) -> None:
    """The opaque key is the partition, and its instant the business date in the timetable's zone."""
    run = a_run(airflow, "cron_partition", "scheduled")
    ctx = seen(airflow, "cron_partition", run["dag_run_id"])
    assert ctx.partition == {"partition": run["partition_key"]}
    assert str(ctx.as_of_date) == run["partition_key"]


@pytest.mark.parametrize("logical_date", [None, "2012-10-26T21:00:00Z"])
def test_by_hand(airflow: AirflowStack, logical_date: str | None) -> None:
    """Conf says batch, trace and partition, and overrides params; only a logical date is a date."""
    conf = {"batch_id": "b", "trace_id": "my-trace", "partition": {"tier": "T1"}, "limit": 5, "extra": [1]}
    run = airflow.trigger("by_hand", conf=conf, logical_date=logical_date)
    airflow.wait_for_run("by_hand", run["dag_run_id"])
    ctx = seen(airflow, "by_hand", run["dag_run_id"])
    assert (ctx.batch_id, ctx.trace_id, str(ctx.partition)) == ("b", "my-trace", "tier=T1")
    assert ctx.params == {"limit": 5, "mode": "x", "extra": [1]}
    assert str(ctx.as_of_date) == (logical_date[:10] if logical_date else "None")
    assert ctx.capture_id == (f"T1|{ctx.as_of_date}|b" if logical_date else "T1|b")


def test_backfill(airflow: AirflowStack) -> None:
    """Runs of a backfill have its conf and the date of their own tick; processed again, they write the same capture."""
    conf = {"batch_id": "restate"}
    airflow.backfill("cron_trigger", "2012-10-25", "2012-10-26", dag_run_conf=conf)
    run = a_run(airflow, "cron_trigger", "backfill")
    ctx = seen(airflow, "cron_trigger", run["dag_run_id"])
    assert (ctx.batch_id, ctx.metadata["engine"]["run_type"]) == ("restate", "backfill")
    assert str(ctx.as_of_date)[:8] == "2012-10-"
    airflow.wait_until(lambda: finished(airflow, "cron_trigger"), "the end of the backfill")
    airflow.backfill("cron_trigger", "2012-10-25", "2012-10-26", reprocess_behavior="completed", dag_run_conf=conf)

    last = airflow.home / "seen" / "cron_trigger" / run["dag_run_id"] / "2.json"
    airflow.wait_until(lambda: ctx.trace_id not in last.read_text(), "the run to be processed again")
    later = seen(airflow, "cron_trigger", run["dag_run_id"])
    assert (
        (later.capture_id, later.as_of_date)
        == (ctx.capture_id, ctx.as_of_date)
        == (f"{ctx.as_of_date}|restate", ctx.as_of_date)
    )


def test_triggered_by_an_operator(airflow: AirflowStack) -> None:
    """What the operator gives as conf is the caller's."""
    airflow.trigger("triggers")
    run = a_run(airflow, "by_hand", "operator_triggered")
    ctx = seen(airflow, "by_hand", run["dag_run_id"])
    assert (ctx.run_id, ctx.batch_id, ctx.as_of_date) == ("op__1", "from_op", None)
    assert ctx.params == {"limit": 9, "mode": "x"}


def test_a_partition_goes_through_retries_and_on_to_the_next_dag(airflow: AirflowStack) -> None:
    """A retried workflow succeeds; batch, trace, date and partition reach the DAG that its asset triggers."""
    conf = {"batch_id": "b1", "partition": "2012-10-26|IBM"}
    run_id = airflow.trigger("e2e_flow", conf=conf)["dag_run_id"]
    assert airflow.wait_for_run("e2e_flow", run_id)["state"] == "success"
    assert tasks(airflow, "e2e_flow", run_id)["fetch"]["try_number"] == 2
    heard = a_run(airflow, "hears_partitions", "asset_triggered")
    ctx = seen(airflow, "hears_partitions", heard["dag_run_id"])
    assert ctx.batch_id == "b1"
    assert str(ctx.as_of_date) == "2012-10-26"
    assert heard["partition_key"] == "2012-10-26|IBM"


def test_larger_xcoms_are_in_object_storage(airflow: AirflowStack) -> None:
    """With the object-storage backend, a large output is a file, and the steps after it read it all the same."""
    run_id = airflow.trigger("e2e_flow", conf={"partition": "2012-10-25|IBM"})["dag_run_id"]
    assert airflow.wait_for_run("e2e_flow", run_id)["state"] == "success"
    assert list((airflow.home / "xcoms").rglob("*"))
    assert str(xcom(airflow, "e2e_flow", run_id, "fetch")).startswith("file:")
    assert xcom(airflow, "e2e_flow", run_id, "gate")["output"]["far"] == {"$date": "2012-10-25"}


def test_the_steps_own_words_are_last_and_its_secrets_are_not_there(airflow: AirflowStack) -> None:
    """A gate that says no fails at once, with its message at the end; a token in params is hidden from the log."""
    conf = {"partition": "2012-10-24|IBM", "max_move": 0.1}
    run_id = airflow.trigger("e2e_flow", conf=conf)["dag_run_id"]
    assert airflow.wait_for_run("e2e_flow", run_id)["state"] == "failed"
    assert tasks(airflow, "e2e_flow", run_id)["gate"]["try_number"] == 1
    errors = [json.loads(line) for line in log(airflow, "e2e_flow", run_id, "gate", 1).splitlines()]
    failed = [line for line in errors if line["level"] == "error"][-1]
    assert failed["error_detail"][-1]["exc_value"] == "40% in a day"
    assert failed["error_detail"][-1]["exc_type"] == "AirflowFailException"
    printed = log(airflow, "e2e_flow", run_id, "fetch", 2)
    assert "params are" in printed
    assert "t0p-s3cret-value" not in printed
    assert xcom(airflow, "e2e_flow", run_id, "gate")["error"] == "40% in a day"


def test_a_cleared_task_writes_the_same_capture(airflow: AirflowStack) -> None:
    """Cleared and run again, tasks have the outputs before them, and the capture of their batch."""
    run_id = airflow.trigger("e2e_flow", conf={"batch_id": "b", "partition": "2012-10-23|IBM"})["dag_run_id"]
    airflow.wait_for_run("e2e_flow", run_id)
    clear(airflow, "e2e_flow", run_id, ["fetch"], downstream=True)
    assert airflow.wait_for_run("e2e_flow", run_id)["state"] == "success"
    captures = sorted((airflow.home / "seen" / "captures" / run_id).glob("*.json"))
    assert len(captures) == 2
    assert {json.loads(path.read_text()) for path in captures} == {"2012-10-23|IBM|b"}
    clear(airflow, "e2e_flow", run_id, ["gate"], downstream=False)
    assert airflow.wait_for_run("e2e_flow", run_id)["state"] == "success"
    assert xcom(airflow, "e2e_flow", run_id, "gate")["output"]["checked"] == "IBM"


def test_a_cleared_run_sees_nothing_stale(airflow: AirflowStack) -> None:
    """Where a cleared step now skips, what the steps after it pushed before is not taken for theirs."""
    run_id = airflow.trigger("e2e_stale")["dag_run_id"]
    airflow.wait_for_run("e2e_stale", run_id)
    clear(airflow, "e2e_stale", run_id, ["decide"], downstream=True)
    airflow.wait_for_run("e2e_stale", run_id)
    before, after = ((airflow.home / "seen" / "stale" / f"{n}.json").read_text() for n in (1, 2))
    assert (json.loads(before), json.loads(after)) == (["decide", "middle"], [])


def test_plain_assets_carry_batches(airflow: AirflowStack) -> None:
    """A DAG that knows no partitions hears who the run before it was."""
    airflow.trigger("tells_plain", conf={"batch_id": "b", "trace_id": "my-trace", "as_of_date": "2012-10-26"})
    heard = a_run(airflow, "hears_plain", "asset_triggered")
    ctx = seen(airflow, "hears_plain", heard["dag_run_id"])
    assert (ctx.batch_id, ctx.trace_id, str(ctx.as_of_date)) == ("b", "my-trace", "2012-10-26")


def test_events_of_two_batches_give_none(airflow: AirflowStack) -> None:
    """A run that two source runs triggered has no arbitrary batch, but a list of both."""
    for side in ("left", "right"):
        airflow.trigger(f"tells_{side}", conf={"batch_id": f"batch-{side}"})
    heard = a_run(airflow, "hears_both", "asset_triggered")
    ctx = seen(airflow, "hears_both", heard["dag_run_id"])
    assert (ctx.batch_id, ctx.metadata["batch_ids"]) == (None, ["batch-left", "batch-right"])


def test_mapped_instances(airflow: AirflowStack) -> None:
    """Each value is an instance labelled by it, on a worker that knows nothing but the DAG file."""
    run_id = airflow.trigger("e2e_mapped", partition_key="2012-10-26", conf={"batch_id": "m"})["dag_run_id"]
    assert airflow.wait_for_run("e2e_mapped", run_id)["state"] == "success"
    found = tasks(airflow, "e2e_mapped", run_id)
    assert {"gate[FB]", "gate[IBM]"} <= set(found)
    assert json.loads((airflow.home / "seen" / "reduced" / f"{run_id}.json").read_text()) == {"FB": True, "IBM": True}


def clear(airflow: AirflowStack, dag_id: str, run_id: str, task_ids: list[str], *, downstream: bool) -> None:
    """Clear tasks of a run as the UI does."""
    body = {
        "dry_run": False,
        "dag_run_id": run_id,
        "task_ids": task_ids,
        "only_failed": False,
        "include_downstream": downstream,
        "reset_dag_runs": True,
    }
    status, answer = airflow.request("POST", f"/dags/{dag_id}/clearTaskInstances", body)
    assert status == 200, answer
