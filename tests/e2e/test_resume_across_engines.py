"""The example fails on a real Airflow and goes on on a real Dagster, the other way round, and here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack, by_status
from e2e.flow_folder import Home
from e2e.test_airflow_parts import mark
from e2e.test_airflow_scheduler import clear
from e2e.test_dagster_reruns import launch
from flowctx import run
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.dagster import WorkflowIOManager
from flowctx.examples.prices import prices

pytestmark = pytest.mark.e2e

APPLE = "2000-09-29|AAPL"


@pytest.fixture(scope="module")
def home(
    airflow: AirflowStack, dagster: DagsterStack, ledger_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Home:
    """A folder to type commands in, with an Airflow and a Dagster that know the same ledger, on PostgreSQL."""
    urls = {"FLOWCTX_AIRFLOW_URL": airflow.url, "FLOWCTX_AIRFLOW_TOKEN": airflow.token}
    return Home(tmp_path_factory.mktemp("resumed"), {**urls, "FLOWCTX_DAGSTER_URL": dagster.url}, ledger_url)


def outputs(home: Home, run_id: str) -> dict[str, Any]:
    """Return the outputs of a run as the ledger has them."""
    found = home.ledger.get_run(run_id)
    return {record.step: record.output for record in home.ledger.steps(found.key)}


@pytest.mark.parametrize(
    ("first", "then"), [("airflow", "dagster"), ("dagster", "airflow"), ("airflow", "local"), ("dagster", "local")]
)
def test_the_example_goes_on_elsewhere(home: Home, first: str, then: str) -> None:
    """What completed is not run again; outputs and capture are those of a run that nothing disturbed."""
    batch = f"{first}-{then}"
    select = ("--batch", batch, "--select", "date=2000-09-29,symbol=AAPL")
    home.run("backfill", "flowctx.examples.prices:prices", *select, "-p", "max_move=0.25", "--on", first, code=1)
    (failed,) = home.ledger.list_runs(batch_id=batch)
    assert (failed.engine, failed.status) == (first, "failed")
    how = ("resume", failed.run_id, "--on", then, "-p", "max_move=0.6", "--json")
    said = json.loads(home.run(*how)[0])
    done = home.ledger.get_run(said["run_id"])
    undisturbed = run(prices, partition=APPLE, batch_id=batch)
    assert outputs(home, done.run_id) == dict(undisturbed.context.step_outputs)
    assert (done.engine, done.status, done.attempt) == (then, "ok", 2)
    assert done.context.capture_id == undisturbed.context.capture_id
    assert home.status(batch)["counts"] == {"ok": 1}
    attempts = {record.step: record.run_attempt for record in home.ledger.steps(done.key)}
    assert attempts == {"fetch": 1, "validate": 2, "returns": 2, "volatility": 2, "summarise": 2}
    captures = home.ledger.captures(workflow="daily_prices", partition=done.context.partition)
    assert [c.state for c in captures if c.key.capture_id.endswith(batch)] == [CaptureState.COMPLETE]


def test_steps_of_engines_are_replayed_here(home: Home) -> None:
    """A step that failed in a task of Airflow's fails here in the same words, on the context that it saw."""
    failed = next(r for r in home.ledger.list_runs(batch_id="airflow-dagster") if r.engine == "airflow")
    out, _ = home.run("replay", failed.run_id, "fetch", "--json")
    assert json.loads(out)["diff"] == ""


def test_assets_after_a_resume_here(home: Home, dagster: DagsterStack, outputs: WorkflowIOManager) -> None:
    """An asset that follows a workflow reads on Dagster what a resume here has done."""
    (made,) = home.ledger.list_runs(batch_id="dagster-local")
    date, symbol = APPLE.split("|")
    tags = {"flowctx/batch_id": "dagster-local", "dagster/partition/date": date, "dagster/partition/symbol": symbol}
    launch(dagster, "report_job", APPLE, location="resumed", test="report", **tags)
    assert by_status(dagster.wait_for_runs(1, {"test": "report"})) == ["SUCCESS"]
    (summary,) = home.ledger.steps(made.key, ["summarise"])
    assert outputs.output("report", APPLE) == summary.output


def test_tasks_after_a_resume_here(home: Home, airflow: AirflowStack) -> None:
    """A task that is cleared reads on Airflow what a resume here has done, where Airflow's own tasks had failed."""
    (made,) = home.ledger.list_runs(batch_id="airflow-local")
    (before,) = home.ledger.steps(made.key, ["summarise"])
    for task in ("returns", "volatility", "validate"):  # whatever failed after a task that is marked, runs at once
        mark(airflow, made.run_id, task, "daily_prices")
    airflow.wait_for_run("daily_prices", made.run_id)
    clear(airflow, "daily_prices", made.run_id, ["summarise"], downstream=False)
    assert airflow.wait_for_run("daily_prices", made.run_id)["state"] == "success"
    (after,) = home.ledger.steps(made.key, ["summarise"])
    assert (after.output, after.started_at > before.started_at) == (before.output, True)
    assert home.ledger.get_run(made.run_id).status is RunStatus.OK
