"""Batches on a real Airflow: killed, launched again, retried, started natively, and what goes wrong."""

from __future__ import annotations

import json

import jwt
import pytest

from e2e.airflow_stack import AirflowStack
from e2e.flow_folder import Home
from e2e.launch_contract import EngineRun, LaunchContract, Runs, backfill, refusal

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(airflow: AirflowStack) -> Home:
    """The folder in which ``flowctx`` is run; it reaches Airflow with a token."""
    env = {"FLOWCTX_AIRFLOW_URL": airflow.url, "FLOWCTX_AIRFLOW_TOKEN": airflow.token}
    return Home(airflow.home / "flows", env)


@pytest.fixture
def engine() -> str:
    """What ``--on`` is given."""
    return "airflow"


@pytest.fixture
def failures_kept() -> int:
    """A failed run is cleared, and so becomes the successful one."""
    return 0


@pytest.fixture
def lacking() -> str:
    """What comes before the reason where a partition is not there."""
    return ": Airflow: "


@pytest.fixture
def runs(airflow: AirflowStack) -> Runs:
    """The runs of a batch, as Airflow knows them."""

    def found(batch_id: str) -> list[EngineRun]:
        every = [run for run in airflow.runs("restated") if run["conf"]["batch_id"] == batch_id]
        return [EngineRun(run["partition_key"], run["state"] == "success") for run in every]

    return found


class TestAirflow(LaunchContract):
    """The contract holds on Airflow."""


def test_runs_are_given_their_parameters(airflow: AirflowStack, home: Home) -> None:
    """The ``conf`` of a run has the batch id and the batch's own parameters, by name."""
    home.run(*backfill("airflow", "params", "date=2012-01-09,tier=T1"), "-p", "limit=3")
    (conf,) = [run["conf"] for run in airflow.runs("restated") if run["conf"]["batch_id"] == "params"]
    assert conf == {"batch_id": "params", "limit": 3}


def test_a_native_backfill_is_found(airflow: AirflowStack, home: Home) -> None:
    """Runs of a backfill of Airflow's own are found by the batch id in their conf; launching adds only the rest."""
    (home.folder / "mended").touch()
    again = {"reprocess_behavior": "completed", "dag_run_conf": {"batch_id": "native"}}
    airflow.backfill("restated", "2012-01-04", "2012-01-04", **again)

    def found() -> dict[str, int]:
        return home.status("native", "--on", "airflow", "--workflow", "restated:flow")["counts"]

    airflow.wait_until(lambda: found() == {"ok": 3}, "the native backfill")
    out, _ = home.run(*backfill("airflow", "native", "date=2012-01-04..2012-01-05"), "--json")
    assert json.loads(out)["before"] == {"ok": 3}
    assert json.loads(out)["ended"] == {"ok": 3}
    assert "native" in home.run("batches")[0]


@pytest.mark.parametrize(
    ("env", "args", "line"),
    [
        ({"FLOWCTX_AIRFLOW_TOKEN": "none of theirs"}, ["restated:flow"], "refuses the token"),
        ({"FLOWCTX_AIRFLOW_URL": "http://127.0.0.1:9"}, ["restated:flow"], "cannot be reached"),
        ({}, ["restated:flow", "--url", "localhost"], "is no URL of Airflow"),
        ({}, ["missing:flow"], "has no DAG 'missing'"),
    ],
)
def test_what_cannot_be_launched_is_said_in_a_line(home: Home, env: dict[str, str], args: list[str], line: str) -> None:
    """A wrong token, an engine that is not there and a DAG that is missing are one line each, and no batch."""
    assert line in refusal(home, env, "airflow", *args)


def test_an_expired_token_says_what_to_set(home: Home, airflow: AirflowStack) -> None:
    """A token of yesterday is one line that says so and what to set."""
    claims = jwt.decode(airflow.token, options={"verify_signature": False})
    secret = airflow.env["AIRFLOW__API_AUTH__JWT_SECRET"]
    old = jwt.encode(
        {**claims, "exp": claims["exp"] - 7 * 86400}, secret, jwt.get_unverified_header(airflow.token)["alg"]
    )
    _, err = Home(home.folder, {**home.env, "FLOWCTX_AIRFLOW_TOKEN": old}).run(*backfill("airflow", "refused"), code=1)
    assert "refuses the token (Token Expired); it may have expired: set FLOWCTX_AIRFLOW_TOKEN anew" in err


def test_a_paused_dag_says_what_to_type(airflow: AirflowStack, home: Home) -> None:
    """A DAG that is paused is not launched into."""
    airflow.request("PATCH", "/dags/restated", {"is_paused": True})
    _, err = home.run(*backfill("airflow", "paused"), code=1)
    airflow.request("PATCH", "/dags/restated", {"is_paused": False})
    assert "airflow dags unpause restated" in err
