"""Batches in bulk on a real Airflow: killed, canceled, gone on with, and equal to a local batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.flow_folder import Home

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent
TOTAL = 260
BAD, KILL = "date=2012-03-01|tier=T2", "date=2012-01-20|tier=T1"


@pytest.fixture
def home(airflow: AirflowStack, ledger_url: str, tmp_path: Path) -> Home:
    """A folder in which ``flowctx`` is run; it reaches Airflow."""
    env = {"FLOWCTX_AIRFLOW_URL": airflow.url, "FLOWCTX_AIRFLOW_TOKEN": airflow.token, "PYTHONPATH": str(HERE)}
    return Home(tmp_path, env, ledger_url)


def bulk(home: Home, batch_id: str, *more: str, selection: str = "date=2012-01-02..") -> list[str]:
    """Return what to type for a batch in bulk, with two slices at a time."""
    params = ["-p", f"notes={home.folder / 'notes'}"]
    where = ["--on", "airflow", "--bulk", "--workers", "2"]
    return ["backfill", "bulk_flow:flow", "--batch", batch_id, "--select", selection, *where, *params, *more]


def calls(home: Home) -> Counter[str]:
    """Return how often each step was called for each partition."""
    return Counter((home.folder / "notes").read_text().splitlines())


def outcomes(home: Home, batch_id: str) -> list[tuple[Any, ...]]:
    """Return how the partitions of a batch stand, but for when and where."""
    runs = home.ledger.batches.iter_outcomes(batch_id)
    return [(run.partition, run.state, run.step, run.error) for run in runs]


def test_a_slice_that_is_killed_is_continued(airflow: AirflowStack, home: Home) -> None:
    """No step is called twice although the process of a slice dies; the batch stands as one that ran here.

    Airflow has an event of each partition that was captured.
    """
    failing = ["-p", f"fail={BAD}"]
    home.run(*bulk(home, "bulk-killed", *failing, "-p", f"kill={KILL}"), code=1)
    assert Path(f"{home.folder / 'notes'}.killed").exists()
    found = calls(home)
    assert set(found.values()) == {1}
    assert len(found) == 2 * TOTAL - 1
    status = home.status("bulk-killed")
    assert status["counts"] == {"ok": TOTAL - 1, "failed": 1}
    local = ["backfill", "bulk_flow:flow", "--batch", "bulk-here", "--select", "date=2012-01-02.."]
    home.run(*local, "-p", f"notes={home.folder / 'others'}", *failing, code=1)
    assert outcomes(home, "bulk-killed") == outcomes(home, "bulk-here")
    captured = {str(run.partition) for run in home.ledger.batches.iter_outcomes("bulk-killed") if run.state.done}
    assert partitions_of(airflow, "bulk-killed") == {text(partition) for partition in captured}


def test_cancel_stops_slices_and_the_same_command_goes_on(home: Home) -> None:
    """Slices begin no more once ``cancel`` says so; launched again, the batch is complete, and nothing ran twice."""
    slow = Path(f"{home.folder / 'notes'}.slow")
    slow.touch()
    command = bulk(home, "bulk-slow", selection="date=2012-01-02..2012-02-10")
    launch = home.start(*command)
    home.wait_for(launch, lambda: home.known("bulk-slow") >= 4)
    home.run("cancel", "bulk-slow")
    _, err = launch.communicate(timeout=60)
    assert (launch.returncode, "canceled: no more partitions are begun" in err) == (1, True), err
    slow.unlink()
    home.run(*command)
    assert home.status("bulk-slow")["counts"] == {"ok": 60}
    assert set(calls(home).values()) == {1}


def test_without_a_bulk_dag_nothing_starts(home: Home) -> None:
    """A workflow without one is one line that says what to put where, and no batch."""
    (home.folder / "missing.py").write_text((HERE / "bulk_flow.py").read_text().replace('"bulk"', '"missing"'))
    _, err = home.run("backfill", "missing:flow", "--batch", "bulk-none", "--on", "airflow", "--bulk", code=1)
    assert "no DAG 'missing__bulk'; put bulk = workflow_bulk_dag(missing) into its DAG folder" in err
    assert len(err.strip().splitlines()) == 1
    assert "no batch 'bulk-none'" in home.run("status", "bulk-none", code=2)[1]


def text(partition: str) -> str:
    """Return the engine's key of a partition."""
    return "|".join(value.partition("=")[2] for value in partition.split("|"))


def partitions_of(airflow: AirflowStack, batch_id: str) -> set[str]:
    """Return the partitions of which Airflow has events of a batch."""
    events: list[dict[str, Any]] = []
    while page := airflow.get("/assets/events", source_dag_id="bulk__bulk", limit=100, offset=len(events))[
        "asset_events"
    ]:
        events += page
    return {event["partition_key"] for event in events if event["extra"]["batch_id"] == batch_id}
