"""Batches on a real Dagster: killed, launched again, retried, started natively, and what goes wrong."""

from __future__ import annotations

import json

import pytest

from e2e.dagster_stack import DagsterStack
from e2e.flow_folder import Home
from e2e.launch_contract import EngineRun, LaunchContract, Runs, backfill, refusal

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(dagster: DagsterStack) -> Home:
    """The folder in which ``flowctx`` is run."""
    return Home(dagster.home / "flows", {"FLOWCTX_DAGSTER_URL": dagster.url})


@pytest.fixture
def engine() -> str:
    """What ``--on`` is given."""
    return "dagster"


@pytest.fixture
def failures_kept() -> int:
    """A failed run stays, and another one continues it."""
    return 1


@pytest.fixture
def lacking() -> str:
    """What comes before the reason where a partition is not there."""
    return " at load: UnknownPartition: "


@pytest.fixture
def runs(dagster: DagsterStack) -> Runs:
    """The runs of a batch, as Dagster knows them; one that was re-executed is there as well."""

    def found(batch_id: str) -> list[EngineRun]:
        every = dagster.runs({"flowctx/batch_id": batch_id})
        return [EngineRun(run["tags"]["dagster/partition"], run["status"] == "SUCCESS") for run in every]

    return found


class TestDagster(LaunchContract):
    """The contract holds on Dagster."""


@pytest.fixture(scope="module")
def native_backfills(dagster: DagsterStack) -> dict[str | None, str]:
    """Dagster's own backfills, by the tag with a batch id; both begun at once, as it looks every half a minute only."""
    keys, assets = [f"2012-01-{day:02}|T1" for day in (3, 4)], ("restated/load", "restated/check")
    return {
        "batch_id": dagster.launch_backfill(keys, *assets, tags={"batch_id": "native"}),
        None: dagster.launch_backfill(keys, *assets),
    }


@pytest.mark.parametrize("tag", ["batch_id", None])
def test_a_native_backfill_is_found(
    dagster: DagsterStack, home: Home, tag: str | None, native_backfills: dict[str | None, str]
) -> None:
    """Runs of Dagster's own backfill are found by their tag or by its id; launching adds only the rest."""
    backfill_id = native_backfills[tag]
    batch_id = "native" if tag else backfill_id
    dagster.wait_for_runs(2, {"dagster/backfill": backfill_id})
    status = home.status(batch_id, "--on", "dagster", "--workflow", "restated:flow")
    assert status["counts"] == {"ok": 2}
    out, _ = home.run(*backfill("dagster", batch_id, "date=2012-01-03..2012-01-05,tier=T1"), "--json")
    assert json.loads(out)["before"] == {"ok": 2}
    assert json.loads(out)["ended"] == {"ok": 1}
    assert batch_id in home.run("batches")[0]


@pytest.mark.parametrize(
    ("env", "args", "line"),
    [
        ({"FLOWCTX_DAGSTER_URL": "http://127.0.0.1:9"}, ["restated:flow"], "cannot be reached"),
        ({}, ["restated:flow", "--url", "localhost"], "is no URL of Dagster"),
        ({}, ["missing:flow"], "has no job 'missing_job' or 'missing'"),
    ],
)
def test_what_cannot_be_launched_says_why_in_a_line(
    home: Home, env: dict[str, str], args: list[str], line: str
) -> None:
    """An engine that is not there and a job that is missing are one line each, and no batch."""
    assert line in refusal(home, env, "dagster", *args)
