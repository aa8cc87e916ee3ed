"""Runs that cannot say that they are over: the ledger has it all the same, and nobody has asked for a status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from click.testing import CliRunner

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack, by_status
from e2e.flow_folder import Home
from e2e.test_airflow_scheduler import clear
from e2e.test_dagster_reruns import launch
from flowctx.backfill import graphql
from flowctx.cli import cli
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


def assert_over(ledger: Ledger, run_id: str, status: RunStatus, why: str, done: tuple[str, ...] = ("load",)) -> None:
    """Assert that a run ended after some steps, why, and that its capture is free."""
    found = ledger.get_run(run_id, workflow="dying")
    assert (found.status, found.error) == (status, why)
    assert ledger.statuses(found.key) == dict.fromkeys(done, "ok")
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


def assert_seen_where(home: Home, run_id: str, batch_id: str) -> None:
    """Assert that the line that raised is shown of a run, and in the page of its batch."""
    assert "1 / missing" not in home.run("show", run_id)[0]
    assert "1 / missing" in home.run("show", run_id, "--traceback")[0]
    home.run("status", batch_id, "--html", "page.html")
    assert "1 / missing" in (home.folder / "page.html").read_text()


def retry(home: Home, engine: str, batch_id: str) -> None:
    """Let the first step go on, and run the batch again whose run was stopped in it."""
    args = ("--select", "tier=T2", "--on", engine, "-p", "how=hold load", "--retry-failed")
    home.run("backfill", "dying_flow:flow", "--batch", batch_id, *args)
    assert home.status(batch_id)["counts"] == {"ok": 1}


def calls(engine: AirflowStack | DagsterStack, batch_id: str) -> list[str]:
    """Return the steps of a batch that were called."""
    return Path(engine.env["DYING"], f"calls-{batch_id}").read_text().split()


def test_a_task_that_was_killed(airflow: AirflowStack, ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    """A run whose process ended without a word has failed, and goes on at once in a DAG without a schedule.

    What raises then is shown. A task that somebody clears of the run that went on runs again, whichever run had
    completed it.
    """
    run_id = airflow.trigger("dying", conf={"partition": "tier=T1", "batch_id": "dead"})["dag_run_id"]
    assert airflow.wait_for_run("dying", run_id)["state"] == "failed"
    airflow.wait_until(lambda: ended(ledger, run_id), "the end of the run in the ledger", seconds=300)
    assert_over(ledger, run_id, RunStatus.FAILED, "Airflow calls it failed (task_failure); step 'check' had not ended")
    home = command(airflow, ledger_url, tmp_path)
    assert run_id in home.run("runs", "--status", "failed", "--batch", "dead", "--json")[0]
    failed = resume(home, "airflow", run_id, "raise", code=1)
    assert_seen_where(home, failed["run_id"], "dead")
    done = resume(home, "airflow", run_id, "live")  # of what has gone on, the latest goes on
    assert (failed["status"], done["status"], ledger.get_run(done["run_id"]).status) == ("failed", "ok", RunStatus.OK)
    assert calls(airflow, "dead") == ["load", "check", "check", "check"]
    for task in ("load", "check"):
        clear(airflow, "dying", done["run_id"], [task], downstream=False)
        assert airflow.wait_for_run("dying", done["run_id"])["state"] == "success"
    assert calls(airflow, "dead") == ["load", "check", "check", "check", "load", "check"]
    assert ledger.get_run(done["run_id"]).status is RunStatus.OK


def test_a_run_that_somebody_marks_as_failed(
    airflow: AirflowStack, ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    """A run that was stopped in Airflow, by the API as by the UI, is canceled, and runs whole when asked again."""
    conf = {"partition": "tier=T2", "batch_id": "stop", "how": "hold load"}
    run_id = airflow.trigger("dying", conf=conf)["dag_run_id"]
    folder = Path(airflow.env["DYING"])
    airflow.wait_until((folder / run_id).exists, "the first step")
    assert airflow.request("PATCH", f"/dags/dying/dagRuns/{run_id}", {"state": "failed"})[0] == 200
    airflow.wait_until(lambda: ended(ledger, run_id), "the end of the run in the ledger", seconds=300)
    assert_over(ledger, run_id, RunStatus.CANCELED, "it was marked as failed in Airflow", ())
    (folder / "go-stop").touch()
    retry(command(airflow, ledger_url, tmp_path), "airflow", "stop")
    assert calls(airflow, "stop") == ["load", "load", "check"]


@pytest.fixture(scope="module")
def ops(dagster: DagsterStack) -> tuple[str, str]:
    """A run that dies, and one that somebody terminates in its first step; the sensor looks every half a minute."""
    config = {"resources": {"dying_params": {"config": {"how": "hold load"}}}}
    dead, held = (
        launch(dagster, "dying_job", tier, location="resumed", config=more, batch_id=f"{name}-op")
        for tier, more, name in (("T1", None, "dead"), ("T2", config, "stop"))
    )
    folder = Path(dagster.env["DYING"])
    dagster.wait_until((folder / held).exists, "the first step", seconds=900)  # others may be queued before it
    dagster.graphql(graphql.STOP, ids=[held])
    dagster.wait_for_runs(1, {"batch_id": "stop-op"})  # Dagster only asks it to stop: until then its step may go on
    (folder / "go-stop-op").touch()
    return dead, held


def test_an_op_that_was_killed(
    dagster: DagsterStack, ops: tuple[str, str], ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    """The sensor that comes with the definitions ends a run that Dagster calls failed; it goes on as often as asked.

    What raises then is shown.
    """
    (run,) = dagster.wait_for_runs(1, {"batch_id": "dead-op"}, seconds=900)
    assert run["status"] == "FAILURE"
    dagster.wait_until(lambda: ended(ledger, ops[0]), "the end of the run in the ledger", seconds=300)
    why = 'Execution of run for "dying_job" failed. An exception was thrown during execution'
    assert_over(ledger, ops[0], RunStatus.FAILED, f"Dagster calls it failed: {why}; step 'check' had not ended")
    home = command(dagster, ledger_url, tmp_path)
    assert ops[0] in home.run("runs", "--status", "failed", "--batch", "dead-op", "--json")[0]
    failed = resume(home, "dagster", ops[0], "raise", code=1)
    assert_seen_where(home, failed["run_id"], "dead-op")
    done = resume(home, "dagster", ops[0], "live")
    assert (failed["status"], done["status"], ledger.get_run(done["run_id"]).status) == ("failed", "ok", RunStatus.OK)
    assert calls(dagster, "dead-op") == ["load", "check", "check", "check"]


def test_a_run_that_somebody_terminates(
    dagster: DagsterStack, ops: tuple[str, str], ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    """A run that was stopped in Dagster is canceled, and runs whole when asked again."""
    (run,) = dagster.wait_for_runs(1, {"batch_id": "stop-op"})
    assert run["status"] == "CANCELED"
    dagster.wait_until(lambda: ended(ledger, ops[1]), "the end of the run in the ledger", seconds=300)
    assert_over(ledger, ops[1], RunStatus.CANCELED, "it was canceled in Dagster", ())
    retry(command(dagster, ledger_url, tmp_path), "dagster", "stop-op")
    assert calls(dagster, "stop-op") == ["load", "load", "check"]


def assert_taken_over(home: Home, batch_id: str, dead: str, then: str) -> None:
    """Assert that a run took the capture of a dead one, which is over since."""
    first, second = (home.ledger.get_run(run_id) for run_id in (dead, then))
    assert first.status is RunStatus.FAILED
    assert str(first.error).startswith("it died; its engine says that it is over; step ")
    assert second.status is RunStatus.OK
    found = [c for c in home.ledger.captures(workflow="dying") if c.key.capture_id == f"T1|{batch_id}"]
    assert [(c.state, c.run_id) for c in found] == [(CaptureState.COMPLETE, then)]


def test_a_dead_run_of_airflow_holds_nothing(airflow: AirflowStack, session: Path) -> None:
    """Where nobody tells the ledger of a death, the run is silent in it, and its capture is taken over at once."""
    home = Home(session / "moved", {})
    conf = {"partition": "tier=T1", "batch_id": "silent"}
    dead = airflow.trigger("silent", conf=conf)["dag_run_id"]
    assert airflow.wait_for_run("silent", dead)["state"] == "failed"
    ledger = home.ledger
    assert ledger.get_run(dead).status is RunStatus.RUNNING
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=7)):
        shown = CliRunner().invoke(cli, ["runs", "--batch", "silent", "--ledger", home.ledger_url])
    assert "no sign of life since" in " ".join(shown.output.split())
    then = airflow.trigger("silent", conf={**conf, "how": "live"})["dag_run_id"]
    assert airflow.wait_for_run("silent", then)["state"] == "success"
    assert_taken_over(home, "silent", dead, then)


def test_a_dead_run_of_dagster_holds_nothing(dagster: DagsterStack, session: Path) -> None:
    """Where nobody tells the ledger of a death, the run's capture is taken over at once."""
    home, config = Home(session / "moved", {}), {"resources": {"dying_params": {"config": {"how": "live"}}}}
    how = {"location": "moved", "batch_id": "silent-op"}
    dead = launch(dagster, "silent_job", "T1", **how)
    assert [run["status"] for run in dagster.wait_for_runs(1, {"batch_id": "silent-op"})] == ["FAILURE"]
    assert home.ledger.get_run(dead).status is RunStatus.RUNNING
    then = launch(dagster, "silent_job", "T1", config=config, **how)
    assert by_status(dagster.wait_for_runs(2, {"batch_id": "silent-op"})) == ["FAILURE", "SUCCESS"]
    assert_taken_over(home, "silent-op", dead, then)
