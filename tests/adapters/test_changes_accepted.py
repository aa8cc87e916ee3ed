"""Batches on engines that go on although their workflow declares other parameters by then."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.engine_servers import Airflow, Dagster
from adapters.recorded_parts import record_failure
from backfill.flows import flow
from flowctx import Backfill
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.core.batches.records import PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

SOME = "date=2012-01-02"


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


def begun(ledger: Ledger, engine: str) -> Backfill:
    """Return a batch in which one partition failed when the workflow had a parameter that is gone, and one since."""
    record_failure(ledger, engine, "changed", tier="T2", gone=1)
    record_failure(ledger, engine, "same", tier="T3")
    plan = Backfill(flow, SOME, "b", ledger=ledger)
    ledger.batches.put(plan.record())
    return plan


@pytest.mark.needs("airflow", "partitioned runs")
def test_on_airflow_another_run_says_that_changes_are_accepted(airflow: Airflow, ledger: Ledger) -> None:
    """A clear would keep its conf, which does not say so; what has not changed, or is not recorded, is cleared."""
    for run_id in ("changed", "same", "unrecorded"):
        run = {"dag_run_id": run_id, "dag_id": "filled", "conf": {}, "start_date": "2012-01-03T00:00:00Z"}
        if run_id == "unrecorded":
            run |= {"partition_key": "2012-01-02|T1", "conf": {"batch_id": "b"}}
        airflow.runs[run_id] = {**run, "state": "failed", "end_date": "2012-01-03T00:00:00Z"}
    airflow.most = 10
    launch: Any = {"retry_failed": True, "accept_changes": True}
    begun(ledger, "airflow").launch(AirflowLauncher(airflow.url), **launch)
    conf = {run["conf"].get("resume_from"): run["conf"] for run in airflow.runs.values()}["changed"]
    assert conf == {"batch_id": "b", "resume_from": "changed", "accept_changes": True}
    assert [body["dag_run_id"] for body in airflow.cleared] == ["unrecorded", "same"]


def test_on_dagster_another_run_says_that_changes_are_accepted(dagster: Dagster, ledger: Ledger) -> None:
    """A re-execution would have the tags of before; here what has not changed cannot be re-executed either."""
    plan = begun(ledger, "dagster")
    done = plan.launch(DagsterLauncher(dagster.url), retry_failed=True, accept_changes=True)
    assert done.ended == {PartitionState.OK: 3}
    tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in dagster.runs.values()]
    accepted = {tag.get("flowctx/resume_from"): tag.get("flowctx/accept_changes") for tag in tags}
    assert accepted == {None: None, "changed": "true", "same": None}
