"""A batch that is started on one engine and finished on others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack
from e2e.flow_folder import BAD, Home

pytestmark = pytest.mark.e2e

SOME = "date=2012-01-04..2012-01-05"  # 6 partitions, one of which fails


def test_a_batch_goes_from_airflow_to_dagster_to_here(
    airflow: AirflowStack, dagster: DagsterStack, session: Path
) -> None:
    """Begun on Airflow, gone on with on Dagster, and its failure mended here: one success and one capture each."""
    command = ["backfill", "moved:flow", "--batch", "moved", "--select", SOME]
    urls = {"FLOWCTX_AIRFLOW_URL": airflow.url, "FLOWCTX_AIRFLOW_TOKEN": airflow.token}
    home = Home(session / "moved", {**urls, "FLOWCTX_DAGSTER_URL": dagster.url})
    home.kill_when(lambda: home.known("moved") >= 2, *command, "--on", "airflow", "--workers", "2")
    airflow.wait_until(lambda: not {"launched", "running"} & _counts(home).keys(), "what Airflow began")
    begun = sum(_counts(home).values()) - _counts(home)["missing"]
    home.run(*command, "--on", "dagster", code=1)
    assert _counts(home) == {"ok": 5, "failed": 1}
    (home.folder / "mended").touch()
    home.run(*command, "--retry-failed")
    status = home.status("moved")
    assert status["counts"] == {"ok": 6}
    assert status["engines"] == {"airflow": begun, "dagster": 5 - begun, "local": 1}
    succeeded = Counter(run["partition_key"] for run in airflow.runs("moved") if run["state"] == "success")
    tags = {"flowctx/batch_id": "moved"}
    succeeded += Counter(r["tags"]["dagster/partition"] for r in dagster.runs(tags) if r["status"] == "SUCCESS")
    assert set(succeeded.values()) == {1}
    assert len(succeeded) == 5
    captures = {(partition, capture) for partition, _, capture in home.calls()}
    assert len(captures) == 6
    assert BAD in {partition for partition, _ in captures}


def _counts(home: Home) -> dict[str, int]:
    counts: dict[str, int] = home.status("moved", "--on", "airflow", "--workflow", "moved:flow")["counts"]
    return counts
