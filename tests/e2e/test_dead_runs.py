"""Runs that cannot say that they are over: the ledger has it all the same, and nobody has asked for a status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack
from e2e.flow_folder import Home
from e2e.test_airflow_scheduler import clear
from e2e.test_dagster_reruns import launch
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.ledger import open_ledger

pytestmark = pytest.mark.e2e


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """The ledger that both engines know."""
    ledger = open_ledger(ledger_url)
    yield ledger
    ledger.close()


def assert_over(ledger: Ledger, run_id: str, status: RunStatus, why: str) -> None:
    """Assert that a run ended after its first step, why, and that its capture is free."""
    found = ledger.get_run(run_id, workflow="dying")
    assert (found.status, found.error) == (status, why)
    assert ledger.statuses(found.key) == {"load": "ok"}
    states = [c.state for c in ledger.captures(workflow="dying") if c.key == found.capture]
    assert states == [CaptureState.RELEASED]


def ended(ledger: Ledger, run_id: str) -> bool:
    """Return whether a run is over in the ledger."""
    return bool(ledger.list_runs(run_id=run_id)) and ledger.get_run(run_id).status is not RunStatus.RUNNING


def command(engine: AirflowStack | DagsterStack, ledger_url: str, folder: Path) -> Home:
    """Return a folder to type commands in that know an engine."""
    name = "AIRFLOW" if isinstance(engine, AirflowStack) else "DAGSTER"
    env = {f"FLOWCTX_{name}_URL": engine.url, "PYTHONPATH": str(Path(__file__).parent)}
    if isinstance(engine, AirflowStack):
        env["FLOWCTX_AIRFLOW_TOKEN"] = engine.token
    return Home(folder, env, ledger_url)


def resume(home: Home, engine: str, run_id: str, how: str, code: int = 0) -> dict[str, str]:
    """Return what the command says that goes on with a run on an engine."""
    args = ("--on", engine, "--workflow", "dying_flow:flow", "-p", f"how={how}", "--json")
    found: dict[str, str] = json.loads(home.run("resume", run_id, *args, code=code)[0])
    return found


def calls(engine: AirflowStack | DagsterStack, batch_id: str) -> list[str]:
    """Return the steps of a batch that were called."""
    return Path(engine.env["DYING"], f"calls-{batch_id}").read_text().split()


def test_a_task_that_was_killed(airflow: AirflowStack, ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    """A run whose process ended without a word has failed, and goes on at once in a DAG without a schedule.

    A task that somebody clears of the run that went on runs again, whichever run had completed it.
    """
    run_id = airflow.trigger("dying", conf={"partition": "tier=T1", "batch_id": "dead"})["dag_run_id"]
    assert airflow.wait_for_run("dying", run_id)["state"] == "failed"
    airflow.wait_until(lambda: ended(ledger, run_id), "the end of the run in the ledger", seconds=300)
    assert_over(ledger, run_id, RunStatus.FAILED, "Airflow calls it failed (task_failure)")
    home = command(airflow, ledger_url, tmp_path)
    failed = resume(home, "airflow", run_id, "fail", code=1)
    done = resume(home, "airflow", run_id, "live")  # of what has gone on, the latest goes on
    assert (failed["status"], done["status"], ledger.get_run(done["run_id"]).status) == ("failed", "ok", RunStatus.OK)
    assert calls(airflow, "dead") == ["load", "check", "check", "check"]
    for task in ("load", "check"):
        clear(airflow, "dying", done["run_id"], [task], downstream=False)
        assert airflow.wait_for_run("dying", done["run_id"])["state"] == "success"
    assert calls(airflow, "dead") == ["load", "check", "check", "check", "load", "check"]
    assert ledger.get_run(done["run_id"]).status is RunStatus.OK


def test_a_run_that_somebody_marks_as_failed(airflow: AirflowStack, ledger: Ledger) -> None:
    """A run that was stopped in Airflow, by the API as by the UI, is canceled in the ledger."""
    run_id = airflow.trigger("dying", conf={"partition": "tier=T2", "batch_id": "stop", "how": "wait"})["dag_run_id"]
    begun = Path(airflow.env["DYING"], run_id)
    airflow.wait_until(begun.exists, "the second step")
    assert airflow.request("PATCH", f"/dags/dying/dagRuns/{run_id}", {"state": "failed"})[0] == 200
    airflow.wait_until(lambda: ended(ledger, run_id), "the end of the run in the ledger", seconds=300)
    assert_over(ledger, run_id, RunStatus.CANCELED, "it was marked as failed in Airflow")


def test_an_op_that_was_killed(dagster: DagsterStack, ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    """The sensor that comes with the definitions ends a run that Dagster calls failed; it goes on as often as asked."""
    run_id = launch(dagster, "dying_job", "T1", location="resumed", batch_id="dead-op")
    (run,) = dagster.wait_for_runs(1, {"batch_id": "dead-op"}, seconds=900)  # others may be queued before it
    assert run["status"] == "FAILURE"
    dagster.wait_until(lambda: ended(ledger, run_id), "the end of the run in the ledger", seconds=300)
    assert_over(ledger, run_id, RunStatus.FAILED, "Dagster calls it failed")
    home = command(dagster, ledger_url, tmp_path)
    failed = resume(home, "dagster", run_id, "fail", code=1)
    done = resume(home, "dagster", run_id, "live")
    assert (failed["status"], done["status"], ledger.get_run(done["run_id"]).status) == ("failed", "ok", RunStatus.OK)
    assert calls(dagster, "dead-op") == ["load", "check", "check", "check"]
