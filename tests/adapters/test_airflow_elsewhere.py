"""Runs of a batch in a DAG that has another id than its workflow, as one of somebody's own has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.engine_servers import Airflow
from adapters.other_workflow import other
from backfill.flows import flow
from flowctx import Backfill
from flowctx.backfill import JointBackfill, LaunchListener, LaunchProgress
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_context import begin
from flowctx.ledger import open_ledger
from flowctx.testing.clock import NOON

pytestmark = pytest.mark.needs("airflow", "partitioned runs")  # as the server here

ONE = "date=2012-01-02,tier=T2"


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


@pytest.fixture
def run(airflow: Airflow, ledger: Ledger) -> dict[str, Any]:
    """A run of another DAG that is under way, and recorded."""
    ids = {"batch_id": "b", "partition": flow.partition_key("2012-01-02|T2"), "scheme": flow.partitions}
    engine = {"engine": {"name": "airflow", "dag_id": "nightly"}}
    ctx = begin("filled", run_id="nightly_1", metadata=engine, params=flow.params, **ids)
    record = ledger.begin(RunRecord(workflow="filled", context=ctx, steps=tuple(flow.steps)))
    ledger.record(record, [StepRecord(step=step, status=StepStatus.OK, started_at=NOON) for step in flow.steps])
    airflow.most = 100
    airflow.runs["nightly_1"] = {
        "dag_run_id": "nightly_1",
        "dag_id": "nightly",
        "state": "running",
        "conf": {"batch_id": "b"},
        "start_date": "2026-01-09T12:00:00Z",
        "end_date": "2999-01-01T00:00:00Z",
    }
    return airflow.runs["nightly_1"]


class Ends(LaunchListener):
    """Lets a run end, or be deleted, after some looks at it."""

    def __init__(self, airflow: Airflow, state: str | None) -> None:
        self.airflow, self.state, self.looks = airflow, state, 0

    def tick(self, progress: LaunchProgress) -> None:
        self.looks += 1
        if self.looks == 3 and self.state is None:
            del self.airflow.runs["nightly_1"]
        elif self.looks == 3:
            self.airflow.runs["nightly_1"]["state"] = self.state


@pytest.mark.parametrize(
    ("version", "state", "ends"),
    [
        ("3.0.6", "success", PartitionState.OK),
        ("3.0.6", None, PartitionState.FAILED),
        ("3.3.2", "success", PartitionState.OK),
        ("3.3.2", "failed", PartitionState.FAILED),
        ("3.3.2", None, PartitionState.FAILED),
    ],
)
def test_it_is_followed_to_its_end(
    airflow: Airflow, ledger: Ledger, run: dict[str, Any], version: str, state: str | None, ends: PartitionState
) -> None:
    """It was not deleted because the DAG of the workflow does not have it."""
    airflow.version = version
    airflow.runs = {"another": {**run, "dag_run_id": "another", "dag_id": "other"}, **airflow.runs}
    batch = Backfill(flow, ONE, "b", ledger=ledger)
    progress = batch.launch(AirflowLauncher(airflow.url), listener=(listener := Ends(airflow, state)))
    assert progress.ended == {ends: 1}
    assert listener.looks >= 3
    (outcome,) = ledger.batches.iter_outcomes("b")
    assert ("was deleted" in (outcome.error or "")) is (state is None)
    assert ledger.get_run("nightly_1").status is (RunStatus.OK if state == "success" else RunStatus.FAILED)


def test_what_another_ledger_has_of_it_is_lost(airflow: Airflow, ledger: Ledger, run: dict[str, Any]) -> None:
    """Its tasks say so, in the DAG that it is of."""
    airflow.had_ledger, another = True, open_ledger("memory://")
    batch = Backfill(flow, ONE, "b", ledger=another)
    launched = {"run_id": "nightly_1", "engine": "airflow", "state": PartitionState.LAUNCHED, "last_seen_at": NOON}
    another.batches.put(replace(batch.record(), engine="airflow"))
    another.batches.record_outcomes("b", [PartitionRun(partition="date=2012-01-02|tier=T2", **launched)])  # type: ignore[arg-type]
    progress = batch.launch(AirflowLauncher(airflow.url), listener=Ends(airflow, "success"))
    assert progress.ended == {PartitionState.PARTIAL: 1}


def test_a_run_of_another_workflow_is_none_of_it(airflow: Airflow, run: dict[str, Any]) -> None:
    """Airflow's own backfills give the runs of two DAGs the same id: the one that was deleted was so."""
    run["dag_id"] = "other"
    launched = {"run_id": "nightly_1", "engine": "airflow", "state": PartitionState.LAUNCHED, "last_seen_at": NOON}
    shared = open_ledger("memory://")
    joint = JointBackfill([Backfill(one, ONE, "b", ledger=shared) for one in (flow, other)])
    batches = shared.batches
    batches.put(replace(joint.record(), engine="airflow"))
    for name in ("filled", "other"):
        noted = PartitionRun(partition="date=2012-01-02|tier=T2", workflow=name, **launched)  # type: ignore[arg-type]
        batches.record_outcomes("b", [noted])
    joint.launch(AirflowLauncher(airflow.url), listener=Ends(airflow, "success"))
    found = {name: [run.state for run in batches.iter_outcomes("b", workflow=name)] for name in ("filled", "other")}
    assert found == {"filled": [PartitionState.FAILED], "other": [PartitionState.OK]}
