"""A launch whose engine has stopped running what it was told to run says so, once for each reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.engine_servers import Airflow, Dagster, serving
from adapters.test_bulk_launchers import BulkDagster
from backfill.flows import flow
from flowctx import Backfill, EngineError
from flowctx.backfill import LaunchListener, LaunchProgress, standstill
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.backfill.airflow_bulk import AirflowBulkLauncher
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.backfill.dagster_bulk import DagsterBulkLauncher
from flowctx.backfill.joint import JointBackfill
from flowctx.ledger import open_ledger

#: The REST API that the server here has.
AIRFLOW = pytest.mark.needs("airflow", "partitioned runs")
HEARD = "2026-01-09T12:00:00Z"


class Changing(LaunchListener):
    """Changes the engine: first when all has begun, and then once of each change there was a warning."""

    def __init__(self, caplog: pytest.LogCaptureFixture, *changes: Callable[[], None]) -> None:
        self.caplog, self.changes, self.made, self.ticks = caplog, changes, 0, 0

    def tick(self, progress: LaunchProgress) -> None:
        """Make the next change."""
        self.ticks += 1
        begun = self.ticks > progress.total + 1
        if begun and self.made == len(warnings_of(self.caplog)) and self.made < len(self.changes):
            self.changes[self.made]()
            self.made += 1


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask as soon as nothing has come, and do not wait."""
    monkeypatch.setattr(standstill, "_PATIENCE_SECONDS", 0.0)
    for module in ("polling", "bulk"):
        monkeypatch.setattr(f"flowctx.backfill.{module}.POLL_SECONDS", 0.01)


@pytest.fixture
def dagster() -> Iterator[Dagster]:
    """A Dagster that has the bulk job."""
    with serving(BulkDagster()) as server:
        assert isinstance(server, Dagster)
        yield server


def launch(launcher: Any, listener: LaunchListener, joint: bool = False) -> LaunchProgress:
    """Launch three partitions."""
    one = Backfill(flow, "date=2012-01-02", "b", ledger=open_ledger("memory://"))
    return (JointBackfill([one]) if joint else one).launch(launcher, listener=listener)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of a standstill."""
    return [record.getMessage() for record in caplog.records if "stands still" in record.getMessage()]


@AIRFLOW
@pytest.mark.parametrize("how", ["alone", "joint", "bulk"])
def test_on_airflow(airflow: Airflow, caplog: pytest.LogCaptureFixture, how: str) -> None:
    """A DAG that is paused on the way, and a scheduler that is not heard of, are told with what to type."""
    airflow.state = "running"
    well = airflow.dag, airflow.scheduler

    def paused() -> None:
        airflow.dag = {**airflow.dag, "is_paused": True}

    def silent() -> None:
        airflow.dag, airflow.scheduler = well[0], {"status": "unhealthy", "latest_scheduler_heartbeat": HEARD}

    def done() -> None:
        airflow.scheduler = well[1]
        for run in airflow.runs.values():
            run["state"] = "success"

    launcher, changes = AirflowLauncher(airflow.url), Changing(caplog, paused, silent, done)
    launch(AirflowBulkLauncher(launcher) if how == "bulk" else launcher, changes, how == "joint")
    dag_id = "filled__bulk" if how == "bulk" else "filled"
    there = f"Airflow at {airflow.url}"
    assert warnings_of(caplog) == [
        f"batch b stands still: DAG '{dag_id}' at {there} is paused; type: airflow dags unpause {dag_id}",
        f"batch b stands still: the scheduler of {there} has not been heard of since {HEARD}; see whether it runs: "
        "airflow scheduler",
    ]


def test_what_may_not_be_asked_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever may launch need not be allowed to see how the engine is."""

    def obstacle() -> str:
        raise EngineError("403")

    standstill.Standstill("b", obstacle).look()
    assert caplog.records == []


@pytest.mark.parametrize("bulk", [False, True])
def test_on_dagster(dagster: Dagster, caplog: pytest.LogCaptureFixture, bulk: bool) -> None:
    """A daemon that has died is told with what to type."""
    dagster.status = "STARTED"

    def dead() -> None:
        dagster.healthy = False

    def done() -> None:
        for run in dagster.runs.values():
            run["status"] = "SUCCESS"

    launcher = DagsterLauncher(dagster.url)
    launch(DagsterBulkLauncher(launcher) if bulk else launcher, Changing(caplog, dead, done))
    assert warnings_of(caplog) == [
        f"batch b stands still: Dagster at {dagster.url} has no daemon to take runs from its queue; type: "
        "dagster-daemon run"
    ]
