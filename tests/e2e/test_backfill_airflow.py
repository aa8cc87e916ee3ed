"""Batches on a real Airflow: killed, launched again, retried, started natively, and what goes wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from e2e.airflow_stack import AirflowStack, airflow_stack
from e2e.backfill_flow import ALL, BAD, FLOWS, OTHER, TOTAL, Home

pytestmark = pytest.mark.e2e

DAGS = """
from datetime import datetime
from flowctx.airflow import workflow_dag
from flows import flow

dag = workflow_dag(flow, catchup=False, start_date=datetime(2020, 1, 1))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``flows.py`` is."""
    return tmp_path_factory.mktemp("flows")


@pytest.fixture(scope="module")
def stack(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """An Airflow with the workflow as a DAG."""
    Home(folder, {})
    home = tmp_path_factory.mktemp("airflow") / "home"
    with airflow_stack(home, {"dags.py": DAGS}, env={"PYTHONPATH": str(folder)}) as stack:
        yield stack


@pytest.fixture(scope="module")
def home(stack: AirflowStack, folder: Path) -> Home:
    """The folder in which ``flowctx`` is run; it reaches Airflow with a token."""
    return Home(folder, {"FLOWCTX_AIRFLOW_URL": stack.url, "FLOWCTX_AIRFLOW_TOKEN": stack.token})


def test_a_batch_that_was_killed_runs_each_partition_once(stack: AirflowStack, home: Home) -> None:
    """Killed half-way and launched again, a batch of 100 has one run for each partition, and its one failure."""
    command = ["backfill", "flows:flow", "--batch", "killed", "--select", ALL, "--on", "airflow", "-p", "limit=3"]
    home.kill_when(lambda: home.known("killed") >= TOTAL // 2, *command)
    home.run(*command, code=1)
    runs = stack.runs("restated")
    assert len(runs) == len({run["partition_key"] for run in runs}) == TOTAL
    status = home.status("killed")
    assert status["counts"] == {"ok": 98, "skipped": 1, "failed": 1}
    (failure,) = status["failures"]
    assert (failure["partition"], failure["step"], failure["error"]) == (BAD, "check", "12 rows are missing")


def test_what_failed_is_run_again_and_nothing_else(stack: AirflowStack, home: Home) -> None:
    """A retry clears the failed run: each partition has one successful run and one capture in the end."""
    (home.folder / "mended").touch()
    home.run(*_command("killed"), "-p", "limit=3", "--retry-failed")
    assert home.status("killed")["counts"] == {"ok": 99, "skipped": 1}
    runs = stack.runs("restated")
    assert len(runs) == TOTAL
    assert {run["state"] for run in runs} == {"success"}
    calls = Counter(home.calls())
    assert set(calls.values()) == {1}
    assert len({capture for _, _, capture in calls}) == TOTAL - 1
    assert stack.get(f"/dags/restated/dagRuns/{runs[0]['dag_run_id']}")["conf"] == {"batch_id": "killed", "limit": 3}


def test_a_native_backfill_is_found(stack: AirflowStack, home: Home) -> None:
    """Runs of ``airflow backfill create`` are found by the batch id in their conf; launching adds only the rest."""
    (home.folder / "mended").touch()
    dates = ["--from-date", "2012-01-03", "--to-date", "2012-01-04", "--reprocess-behavior", "completed"]
    stack.cli(
        "backfill", "create", "--dag-id", "restated", *dates, "--dag-run-conf", json.dumps({"batch_id": "native"})
    )

    def found() -> dict[str, int]:
        return home.status("native", "--on", "airflow", "--workflow", "flows:flow")["counts"]

    stack.wait_until(lambda: found() == {"ok": 10}, "the native backfill", seconds=180)
    out, _ = home.run(*_command("native", "date=2012-01-03..2012-01-05"), "--json")
    assert json.loads(out)["before"] == {"ok": 10}
    assert json.loads(out)["ended"] == {"ok": 5}
    assert "native" in home.run("batches")[0]


def test_cancel_stops_runs(stack: AirflowStack, home: Home) -> None:
    """A cancelled batch has nothing under way any more, and can be launched again."""
    some = "date=2012-01-10..2012-01-13"
    home.kill_when(lambda: home.known("stopped") >= 3, *_command("stopped", some))
    home.run("cancel", "stopped")
    counts = home.status("stopped")["counts"]
    assert not {"running", "launched"} & counts.keys()
    home.run(*_command("stopped", some))
    assert home.status("stopped")["counts"] == {"ok": 20}


@pytest.mark.parametrize(
    ("env", "args", "line"),
    [
        ({"FLOWCTX_AIRFLOW_TOKEN": "none of theirs"}, ["flows:flow"], "refuses the token"),
        ({"FLOWCTX_AIRFLOW_URL": "http://127.0.0.1:9"}, ["flows:flow"], "cannot be reached"),
        ({}, ["flows:flow", "--url", "localhost"], "is no URL of Airflow"),
        ({}, ["other:missing"], "has no DAG 'missing'"),
    ],
)
def test_what_cannot_be_launched_is_said_in_a_line(home: Home, env: dict[str, str], args: list[str], line: str) -> None:
    """A wrong token, an engine that is not there and a DAG that is missing are one line each, and no batch."""
    (home.folder / "other.py").write_text(OTHER)
    other = Home(home.folder, {**home.env, **env})
    _, err = other.run("backfill", *args, "--batch", "refused", "--on", "airflow", code=1)
    assert line in err
    assert len(err.strip().splitlines()) == 1
    assert "no batch 'refused'" in other.run("status", "refused", code=1)[1]


def test_an_expired_token_says_what_to_set(home: Home, stack: AirflowStack) -> None:
    """A token of yesterday is one line that says so and what to set."""
    claims = jwt.decode(stack.token, options={"verify_signature": False})
    secret = stack.env["AIRFLOW__API_AUTH__JWT_SECRET"]
    old = jwt.encode(
        {**claims, "exp": claims["exp"] - 7 * 86400}, secret, jwt.get_unverified_header(stack.token)["alg"]
    )
    _, err = Home(home.folder, {**home.env, "FLOWCTX_AIRFLOW_TOKEN": old}).run(*_command("refused"), code=1)
    assert "refuses the token (Token Expired); it may have expired: set FLOWCTX_AIRFLOW_TOKEN anew" in err


def test_a_paused_dag_says_what_to_type(stack: AirflowStack, home: Home) -> None:
    """A DAG that is paused is not launched into."""
    stack.request("PATCH", "/dags/restated", {"is_paused": True})
    _, err = home.run(*_command("paused"), code=1)
    stack.request("PATCH", "/dags/restated", {"is_paused": False})
    assert "airflow dags unpause restated" in err


def test_a_partition_that_the_dag_lacks_fails_alone(stack: AirflowStack, home: Home) -> None:
    """A partition that Airflow's DAG does not have is a failure with Airflow's words; the others run."""
    elsewhere = Home(home.folder / "newer", {**home.env})
    (elsewhere.folder / "flows.py").write_text(FLOWS.replace('"T5"]', '"T5", "T6"]'))
    some = "date=2012-01-06,tier=T5|T6"
    _, err = elsewhere.run(*_command("newer", some), code=1)
    assert "tier=T6: Airflow: " in err
    assert elsewhere.status("newer")["counts"] == {"ok": 1, "failed": 1}


def _command(batch_id: str, selection: str = ALL) -> list[str]:
    return ["backfill", "flows:flow", "--batch", batch_id, "--select", selection, "--on", "airflow"]
