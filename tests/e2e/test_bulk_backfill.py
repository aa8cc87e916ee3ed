"""Batches in bulk on a real Airflow and a real Dagster: killed, canceled, gone on with, and equal to a local batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack
from e2e.flow_folder import Home

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent
TOTAL = 260
BAD, KILL = "date=2012-03-01|tier=T2", "date=2012-01-20|tier=T1"


@pytest.fixture(params=["airflow", "dagster"])
def engine(request: pytest.FixtureRequest) -> str:
    """What ``--on`` is given."""
    return str(request.param)


@pytest.fixture
def home(engine: str, request: pytest.FixtureRequest, ledger_url: str, tmp_path: Path) -> Home:
    """A folder in which ``flowctx`` is run; it reaches the engine."""
    stack: AirflowStack | DagsterStack = request.getfixturevalue(engine)
    env = {f"FLOWCTX_{engine.upper()}_URL": stack.url, "PYTHONPATH": str(HERE)}
    if isinstance(stack, AirflowStack):
        env["FLOWCTX_AIRFLOW_TOKEN"] = stack.token
    return Home(tmp_path, env, ledger_url)


def bulk(home: Home, engine: str, batch_id: str, *more: str, selection: str = "date=2012-01-02..") -> list[str]:
    """Return what to type for a batch in bulk, with two slices at a time."""
    params = ["-p", f"notes={home.folder / 'notes'}"]
    where = ["--on", engine, "--bulk", "--workers", "2"]
    return ["backfill", "bulk_flow:flow", "--batch", batch_id, "--select", selection, *where, *params, *more]


def calls(home: Home) -> Counter[str]:
    """Return how often each step was called for each partition."""
    return Counter((home.folder / "notes").read_text().splitlines())


def outcomes(home: Home, batch_id: str) -> list[tuple[Any, ...]]:
    """Return how the partitions of a batch stand, but for when and where."""
    runs = home.ledger.batches.iter_outcomes(batch_id)
    return [(run.partition, run.state, run.step, run.error) for run in runs]


def test_a_slice_that_is_killed_is_continued(engine: str, home: Home, request: pytest.FixtureRequest) -> None:
    """No step is called twice although the process of a slice dies; the batch stands as one that ran here.

    The engine is told once of each partition that was captured.
    """
    batch = f"bulk-killed-{engine}"
    failing = ["-p", f"fail={BAD}"]
    home.run(*bulk(home, engine, batch, *failing, "-p", f"kill={KILL}"), code=1)
    assert Path(f"{home.folder / 'notes'}.killed").exists()
    found = calls(home)
    assert set(found.values()) == {1}
    assert len(found) == 2 * TOTAL - 1
    status = home.status(batch)
    assert status["counts"] == {"ok": TOTAL - 1, "failed": 1}
    local = ["backfill", "bulk_flow:flow", "--batch", f"bulk-here-{engine}", "--select", "date=2012-01-02.."]
    home.run(*local, "-p", f"notes={home.folder / 'others'}", *failing, code=1)
    assert outcomes(home, batch) == outcomes(home, f"bulk-here-{engine}")
    captured = [str(run.partition) for run in home.ledger.batches.iter_outcomes(batch) if run.state.done]
    assert sorted(partitions_of(request.getfixturevalue(engine), batch)) == sorted(map(text, captured))


def test_cancel_stops_slices_and_the_same_command_goes_on(
    engine: str, home: Home, request: pytest.FixtureRequest
) -> None:
    """Slices begin no more once ``cancel`` says so; launched again, the batch is complete.

    Nothing ran twice, and nothing was told twice to the engine.
    """
    slow, batch = Path(f"{home.folder / 'notes'}.slow"), f"bulk-canceled-{engine}"
    slow.touch()
    command = bulk(home, engine, batch, selection="date=2012-01-02..2012-02-10")
    launch = home.start(*command)
    home.wait_for(launch, lambda: home.known(batch) >= 4)
    home.run("cancel", batch)
    _, err = launch.communicate(timeout=60)
    assert (launch.returncode, "canceled: no more partitions are begun" in err) == (1, True), err
    slow.unlink()
    home.run(*command)
    assert home.status(batch)["counts"] == {"ok": 60}
    assert set(calls(home).values()) == {1}
    captured = [str(run.partition) for run in home.ledger.batches.iter_outcomes(batch)]
    assert sorted(partitions_of(request.getfixturevalue(engine), batch)) == sorted(map(text, captured))


def test_without_a_bulk_dag_or_job_nothing_starts(engine: str, home: Home) -> None:
    """A workflow of which the engine has no slices is one line that says what to put where, and no batch."""
    (home.folder / "missing.py").write_text((HERE / "bulk_flow.py").read_text().replace('"bulk"', '"missing"'))
    _, err = home.run("backfill", "missing:flow", "--batch", "none", "--on", engine, "--bulk", code=1)
    what = {"airflow": "no DAG 'missing__bulk'; put bulk = workflow_bulk_dag(missing)", "dagster": "no job"}[engine]
    assert what in err
    assert len(err.strip().splitlines()) == 1
    assert "no batch 'none'" in home.run("status", "none", code=2)[1]


def text(partition: str) -> str:
    """Return the engine's key of a partition."""
    return "|".join(value.partition("=")[2] for value in partition.split("|"))


def partitions_of(stack: AirflowStack | DagsterStack, batch_id: str) -> list[str]:
    """Return the partitions of which an engine was told that they were captured, as often as it was."""
    if isinstance(stack, AirflowStack):
        events: list[dict[str, Any]] = []
        while page := stack.get("/assets/events", source_dag_id="bulk__bulk", limit=100, offset=len(events))[
            "asset_events"
        ]:
            events += page
        return [event["partition_key"] for event in events if event["extra"]["batch_id"] == batch_id]
    query = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
        assetMaterializations { partition metadataEntries { label ... on TextMetadataEntry { text } } } } } }"""
    node = stack.graphql(query, key={"path": ["bulk", "check"]})["assetNodeOrError"]
    ours = {"label": "flowctx/batch_id", "text": batch_id}
    return [event["partition"] for event in node["assetMaterializations"] if ours in event["metadataEntries"]]
