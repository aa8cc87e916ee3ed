"""Launching several workflows on an engine: each has its own DAG, and none begins before what it reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapters.engine_servers import Airflow
from backfill.desk import desk, month, nav
from flowctx import Backfill, BatchError, EngineError
from flowctx.backfill import JointBackfill
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.cli import cli
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

pytestmark = pytest.mark.needs("airflow", "partitioned runs")  # as the server here


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


def last_day(ledger: Ledger) -> JointBackfill:
    """Two funds of a date, their sum, and the month, whose other days are not in the batch."""
    selections = {month: "month=2013-03-31", desk: "date=2013-03-29", nav: "date=2013-03-29"}
    return JointBackfill([Backfill(flow, some, "b", ledger=ledger) for flow, some in selections.items()])


def test_each_workflow_has_its_dag_and_its_turn(airflow: Airflow, ledger: Ledger) -> None:
    """The runs begin in the order of what they read, each in the DAG of its workflow; again, nothing is left to do."""
    progress = last_day(ledger).launch(AirflowLauncher(airflow.url))
    assert (progress.ended, progress.complete) == ({PartitionState.OK: 4}, True)
    posts = [call.split("/")[-2] for call in airflow.calls if call.startswith("POST") and call.endswith("dagRuns")]
    assert posts == ["nav", "nav", "desk", "month"]
    keys = [run["partition_key"] for run in airflow.runs.values()]
    assert keys == ["2013-03-29|A", "2013-03-29|B", "2013-03-29", "2013-03-31"]
    found = {
        name: [run.engine for run in ledger.batches.iter_outcomes("b", workflow=name)] for name in ("nav", "month")
    }
    assert found == {"nav": ["airflow"] * 2, "month": ["airflow"]}
    assert last_day(ledger).launch(AirflowLauncher(airflow.url)).ended == {}
    assert len(airflow.runs) == 4


def test_what_fails_blocks_the_workflows_after_it(airflow: Airflow, ledger: Ledger) -> None:
    """The sum and the month are not launched; they wait, and say for what."""
    airflow.state = "failed"
    progress = last_day(ledger).launch(AirflowLauncher(airflow.url))
    assert (progress.ended, progress.waiting) == ({PartitionState.FAILED: 2}, 2)
    (waits,) = ledger.batches.iter_outcomes("b", workflow="month")
    assert str(waits.error).startswith("waits for date=2013-03-29|fund=")
    assert str(waits.error).endswith(" of nav, which failed at step load")
    assert len(airflow.runs) == 2


def test_a_dag_that_is_not_there_is_refused_before_anything_is_launched(airflow: Airflow, ledger: Ledger) -> None:
    """Every workflow is looked for first; and one DAG or job cannot be named for all of them."""
    airflow.troubles = [("GET /api/v2/dags/month", 404)]
    with pytest.raises(EngineError, match=r"has no DAG 'month'; put dag = workflow_dag\(month\)"):
        last_day(ledger).launch(AirflowLauncher(airflow.url))
    for launcher in (AirflowLauncher(airflow.url, dag_id="mine"), DagsterLauncher(airflow.url, job="mine")):
        with pytest.raises(BatchError, match="'mine' is named for all workflows of the batch"):
            last_day(ledger).launch(launcher)
    assert airflow.runs == {}


def test_a_cancel_stops_the_runs_of_every_workflow(airflow: Airflow, tmp_path: Path) -> None:
    """Each in its own DAG, and each is canceled in the ledger."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = open_ledger(url)
    ledger.batches.put(replace(last_day(ledger).record(), engine="airflow"))
    launched = {"state": PartitionState.LAUNCHED, "engine": "airflow", "last_seen_at": datetime.now(UTC)}
    for number, (workflow, key) in enumerate([("nav", "date=2013-03-29|fund=A"), ("desk", "date=2013-03-29")]):
        run = PartitionRun(partition=key, workflow=workflow, run_id=f"r{number}", **launched)  # type: ignore[arg-type]
        ledger.batches.record_outcomes("b", [run])
        queued = {"state": "queued", "end_date": None, "conf": {}}
        airflow.runs[run.run_id] = {"dag_run_id": run.run_id, "dag_id": workflow, **queued}
    env = {"FLOWCTX_LEDGER_URL": url, "FLOWCTX_AIRFLOW_URL": airflow.url}
    done = CliRunner().invoke(cli, ["cancel", "b"], env=env)
    assert "batch b is canceled; stopped 2 runs" in done.output
    stopped = [call.removeprefix("PATCH /api/v2") for call in airflow.calls if call.startswith("PATCH")]
    assert stopped == ["/dags/nav/dagRuns/r0", "/dags/desk/dagRuns/r1"]
    assert [str(r.state) for name in ("nav", "desk") for r in ledger.batches.iter_outcomes("b", workflow=name)] == [
        "canceled",
        "canceled",
    ]
    ledger.close()
