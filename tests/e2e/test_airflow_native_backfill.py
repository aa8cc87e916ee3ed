"""A scheme's keys on a real Airflow: scheduled, caught up, backfilled and started by hand."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.airflow_stack import AirflowStack
from flowctx import Daily, PartitionScheme, WorkflowContext

pytestmark = pytest.mark.e2e

DAGS = Path(__file__).with_name("airflow_files") / "schemes.py"
#: The scheme of the DAG ``sessions``: three sessions are scheduled, and three around Hurricane Sandy are backfilled.
SESSIONS = PartitionScheme(
    date=Daily(start="2012-10-15", end="2012-10-31", calendar="XNYS", timezone="America/New_York"),
    tier=["T1", "T2"],
    venue=["XNYS", "dark/..p|ol"],
)
SCHEDULED = [SESSIONS.text(key) for key in SESSIONS.select("date=first:3")]
BACKFILLED = [SESSIONS.text(key) for key in SESSIONS.select("date=last:3")]


def contexts(airflow: AirflowStack, dag_id: str) -> list[WorkflowContext]:
    """What the tasks of a DAG saw, by run."""
    files = Path(airflow.home, "contexts", dag_id).glob("*.json")
    return [WorkflowContext.from_dict(json.loads(file.read_text())) for file in files]


def backfills(airflow: AirflowStack, dag_id: str) -> list[dict[str, object]]:
    """Return the backfills of a DAG that Airflow knows."""
    found: list[dict[str, object]] = airflow.get("/backfills", dag_id=dag_id)["backfills"]
    return found


def ended(airflow: AirflowStack, dag_id: str, count: int) -> list[dict[str, Any]]:
    """Wait until a DAG has so many runs and all are over, and return them."""

    def over() -> bool:
        states = [run["state"] for run in airflow.runs(dag_id)]
        return len(states) >= count and not {"queued", "running"} & set(states)

    airflow.wait_until(over, f"{count} runs of {dag_id}")
    return airflow.runs(dag_id)


def test_catch_up_and_a_backfill_run_every_key_once(airflow: AirflowStack) -> None:
    """Of a 3-dimensional scheme, three sessions are caught up and three backfilled: one successful run for each key."""
    ended(airflow, "sessions", len(SCHEDULED))
    dates = ["--from-date", BACKFILLED[0][:10], "--to-date", BACKFILLED[-1][:10]]
    conf = ["--dag-run-conf", '{"batch_id": "sandy"}']
    airflow.cli("backfill", "create", "--dag-id", "sessions", *dates, *conf, "--max-active-runs", "16")
    runs = ended(airflow, "sessions", len(SCHEDULED) + len(BACKFILLED))
    # Airflow calls a backfill over some time after its last run, and takes no other one for the DAG until then.
    airflow.wait_until(
        lambda: all(one["completed_at"] for one in backfills(airflow, "sessions")), "the backfill's own end"
    )
    assert Counter(run["partition_key"] for run in runs) == Counter(SCHEDULED + BACKFILLED)
    assert {run["state"] for run in runs} == {"success"}
    assert {run["partition_key"] for run in runs if run["run_type"] == "backfill"} == set(BACKFILLED)


def test_every_run_has_its_own_partition_in_its_context(airflow: AirflowStack) -> None:
    """Inside each run the context has the run's partition, its as-of date and, in a backfill, the batch."""
    seen = contexts(airflow, "sessions")
    assert Counter(SESSIONS.text(ctx.partition) for ctx in seen) == Counter(SCHEDULED + BACKFILLED)
    assert all(ctx.as_of_date == SESSIONS.as_of_date(ctx.partition) for ctx in seen if ctx.partition)
    batches = {SESSIONS.text(ctx.partition): ctx.batch_id for ctx in seen}
    assert batches == dict.fromkeys(SCHEDULED) | dict.fromkeys(BACKFILLED, "sandy")


def test_a_second_backfill_does_not_repeat_what_ran(airflow: AirflowStack) -> None:
    """A key that has a run, scheduled or backfilled, is known to Airflow: a dry run over all dates lists the others."""
    dates = {"from_date": f"{SCHEDULED[0][:10]}T00:00:00Z", "to_date": f"{BACKFILLED[-1][:10]}T00:00:00Z"}
    status, plan = airflow.request("POST", "/backfills/dry_run", {"dag_id": "sessions", **dates})
    assert status == 200, plan
    others = {SESSIONS.text(key) for key in SESSIONS} - {*SCHEDULED, *BACKFILLED}
    assert sorted(run["partition_key"] for run in plan["backfills"]) == sorted(others)


def test_a_value_that_is_added_is_backfilled_alone(airflow: AirflowStack) -> None:
    """After a tier is added, before the others, a backfill of an old date makes the runs of that tier and no other."""
    (airflow.home / "dags" / "schemes.py").write_text(
        DAGS.read_text().replace('tier=["T1", "T2"], venue', 'tier=["T0", "T1", "T2"], venue')
    )
    airflow.wait_until(lambda: "3 tier" in airflow.get("/dags/sessions")["timetable_summary"], "the new tier")
    day = SCHEDULED[0][:10]
    airflow.backfill("sessions", day, day)
    runs = ended(airflow, "sessions", len(SCHEDULED) + len(BACKFILLED) + 2)
    new = [run["partition_key"] for run in runs[len(SCHEDULED) + len(BACKFILLED) :]]
    assert sorted(new) == sorted(f"{day}|T0|{venue}" for venue in ("XNYS", "dark%2F..p%7Col"))


def test_without_catch_up_the_latest_date_runs_with_all_its_keys(airflow: AirflowStack) -> None:
    """With catch-up off every key of the latest as-of date that is due has a run, and no other key."""
    runs = ended(airflow, "recent", 3)
    cadence = Daily(start="2020-01-01", calendar="XNYS", timezone="America/New_York")
    latest = cadence.latest_due(datetime.fromisoformat(runs[0]["queued_at"]))
    keys = Counter(run["partition_key"] for run in runs)
    assert keys == Counter(f"{latest}|{tier}" for tier in ("T1", "T2", "T3"))


def test_a_key_that_the_scheme_lacks_is_refused_with_our_words(airflow: AirflowStack) -> None:
    """A run that is started by hand for a holiday is a 400 that names the sessions around it."""
    body = {"logical_date": None, "partition_key": "2012-10-29|T1|XNYS"}
    status, answer = airflow.request("POST", "/dags/sessions/dagRuns", body)
    assert status == 400
    assert "2012-10-29 is a holiday in XNYS" in answer["detail"]
    assert "2012-10-26" in answer["detail"]
    assert "2012-10-31" in answer["detail"]


def test_a_scheme_without_dates_is_run_by_hand(airflow: AirflowStack) -> None:
    """A scheme without a cadence is never scheduled, and any of its keys can be run."""
    run = airflow.trigger("tiers", partition_key="T2")
    assert airflow.wait_for_run("tiers", run["dag_run_id"])["state"] == "success"
    assert [run["partition_key"] for run in airflow.runs("tiers")] == ["T2"]
    assert [str(ctx.partition) for ctx in contexts(airflow, "tiers")] == ["tier=T2"]
