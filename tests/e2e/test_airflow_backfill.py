"""A scheme's keys on a real Airflow: scheduled, caught up, backfilled and started by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.airflow_stack import AirflowStack, airflow_stack
from flowctx import Daily, PartitionScheme, WorkflowContext

pytestmark = pytest.mark.e2e

DAGS = """
import json, os
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task
from flowctx import Daily, PartitionScheme
from flowctx.airflow import PartitionTimetable, workflow_context


@task
def record_outcomes(dag_run=None):
    folder = Path(os.environ["AIRFLOW_HOME"], "contexts", dag_run.dag_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{dag_run.run_id}.json").write_text(json.dumps(workflow_context().to_dict()))


ny = dict(calendar="XNYS", timezone="America/New_York")
sessions = PartitionScheme(
    date=Daily(start="2012-10-15", end="2012-11-13", **ny), tier=["T1", "T2"], venue=["XNYS", "dark/..p|ol"]
)
days = dict(start_date=datetime(2012, 10, 15), end_date=datetime(2012, 10, 26))
with DAG("sessions", schedule=PartitionTimetable(sessions), catchup=True, **days):
    note()

recent = PartitionScheme(date=Daily(start="2020-01-01", **ny), tier=["T1", "T2", "T3"])
with DAG("recent", schedule=PartitionTimetable(recent), catchup=False):
    note()

with DAG("by_hand", schedule=PartitionTimetable(PartitionScheme(tier=["T1", "T2"]))):
    note()
"""
#: The scheme of the DAG ``sessions``: ten sessions that are scheduled, and ten around Hurricane Sandy for a backfill.
SESSIONS = PartitionScheme(
    date=Daily(start="2012-10-15", end="2012-11-13", calendar="XNYS", timezone="America/New_York"),
    tier=["T1", "T2"],
    venue=["XNYS", "dark/..p|ol"],
)
SCHEDULED = [SESSIONS.text(key) for key in SESSIONS.select("date=first:10")]
BACKFILLED = [SESSIONS.text(key) for key in SESSIONS.select("date=last:10")]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """An Airflow with the DAGs above."""
    with airflow_stack(tmp_path_factory.mktemp("airflow") / "home", {"partitions.py": DAGS}) as stack:
        yield stack


def contexts(stack: AirflowStack, dag_id: str) -> list[WorkflowContext]:
    """What the tasks of a DAG saw, by run."""
    files = Path(stack.home, "contexts", dag_id).glob("*.json")
    return [WorkflowContext.from_dict(json.loads(file.read_text())) for file in files]


def backfills(stack: AirflowStack, dag_id: str) -> list[dict[str, object]]:
    """Return the backfills of a DAG that Airflow knows."""
    found: list[dict[str, object]] = stack.get("/backfills", dag_id=dag_id)["backfills"]
    return found


def ended(stack: AirflowStack, dag_id: str, count: int) -> list[dict[str, Any]]:
    """Wait until a DAG has so many runs and all are over, and return them."""

    def over() -> bool:
        states = [run["state"] for run in stack.runs(dag_id)]
        return len(states) >= count and not {"queued", "running"} & set(states)

    stack.wait_until(over, f"{count} runs of {dag_id}")
    return stack.runs(dag_id)


def test_catch_up_and_a_backfill_run_every_key_once(stack: AirflowStack) -> None:
    """Of a 3-dimensional scheme, ten sessions are caught up and ten backfilled: one successful run for each key."""
    ended(stack, "sessions", len(SCHEDULED))
    dates = ["--from-date", BACKFILLED[0][:10], "--to-date", BACKFILLED[-1][:10]]
    conf = ["--dag-run-conf", '{"batch_id": "sandy"}']
    stack.cli("backfill", "create", "--dag-id", "sessions", *dates, *conf, "--max-active-runs", "16")
    runs = ended(stack, "sessions", len(SCHEDULED) + len(BACKFILLED))
    # Airflow calls a backfill over some time after its last run, and takes no other one for the DAG until then.
    stack.wait_until(lambda: all(one["completed_at"] for one in backfills(stack, "sessions")), "the backfill's own end")
    assert Counter(run["partition_key"] for run in runs) == Counter(SCHEDULED + BACKFILLED)
    assert {run["state"] for run in runs} == {"success"}
    assert {run["partition_key"] for run in runs if run["run_type"] == "backfill"} == set(BACKFILLED)


def test_every_run_has_its_own_partition_in_its_context(stack: AirflowStack) -> None:
    """Inside each run the context has the run's partition, its as-of date and, in a backfill, the batch."""
    seen = contexts(stack, "sessions")
    assert Counter(SESSIONS.text(ctx.partition) for ctx in seen) == Counter(SCHEDULED + BACKFILLED)
    assert all(ctx.as_of_date == SESSIONS.as_of_date(ctx.partition) for ctx in seen if ctx.partition)
    batches = {SESSIONS.text(ctx.partition): ctx.batch_id for ctx in seen}
    assert batches == dict.fromkeys(SCHEDULED) | dict.fromkeys(BACKFILLED, "sandy")


def test_a_second_backfill_finds_nothing_to_do(stack: AirflowStack) -> None:
    """A key that has a run, scheduled or backfilled, is known to Airflow: a dry run over all dates lists none."""
    dates = ["--from-date", SCHEDULED[0][:10], "--to-date", BACKFILLED[-1][:10]]
    plan = stack.cli("backfill", "create", "--dag-id", "sessions", *dates, "--dry-run")
    assert not [key for key in SCHEDULED + BACKFILLED if key in plan]


def test_a_value_that_is_added_is_backfilled_alone(stack: AirflowStack) -> None:
    """After a tier is added, before the others, a backfill of an old date makes the runs of that tier and no other."""
    (stack.home / "dags" / "partitions.py").write_text(
        DAGS.replace('tier=["T1", "T2"], venue', 'tier=["T0", "T1", "T2"], venue')
    )
    stack.wait_until(lambda: "3 tier" in stack.get("/dags/sessions")["timetable_summary"], "the new tier")
    day = SCHEDULED[0][:10]
    stack.cli("backfill", "create", "--dag-id", "sessions", "--from-date", day, "--to-date", day)
    runs = ended(stack, "sessions", len(SCHEDULED) + len(BACKFILLED) + 2)
    new = [run["partition_key"] for run in runs[len(SCHEDULED) + len(BACKFILLED) :]]
    assert sorted(new) == sorted(f"{day}|T0|{venue}" for venue in ("XNYS", "dark%2F..p%7Col"))


def test_without_catch_up_the_latest_date_runs_with_all_its_keys(stack: AirflowStack) -> None:
    """With catch-up off every key of the latest as-of date that is due has a run, and no other key."""
    runs = ended(stack, "recent", 3)
    cadence = Daily(start="2020-01-01", calendar="XNYS", timezone="America/New_York")
    latest = cadence.latest_due(datetime.fromisoformat(runs[0]["queued_at"]))
    keys = Counter(run["partition_key"] for run in runs)
    assert keys == Counter(f"{latest}|{tier}" for tier in ("T1", "T2", "T3"))


def test_a_key_that_the_scheme_lacks_is_refused_with_our_words(stack: AirflowStack) -> None:
    """A run that is started by hand for a holiday is a 400 that names the sessions around it."""
    body = {"logical_date": None, "partition_key": "2012-10-29|T1|XNYS"}
    status, answer = stack.request("POST", "/dags/sessions/dagRuns", body)
    assert status == 400
    assert "2012-10-29 is a holiday in XNYS" in answer["detail"]
    assert "2012-10-26" in answer["detail"]
    assert "2012-10-31" in answer["detail"]


def test_a_scheme_without_dates_is_run_by_hand(stack: AirflowStack) -> None:
    """A scheme without a cadence is never scheduled, and any of its keys can be run."""
    run = stack.trigger("by_hand", partition_key="T2")
    assert stack.wait_for_run("by_hand", run["dag_run_id"])["state"] == "success"
    assert [run["partition_key"] for run in stack.runs("by_hand")] == ["T2"]
    assert [str(ctx.partition) for ctx in contexts(stack, "by_hand")] == ["tier=T2"]
