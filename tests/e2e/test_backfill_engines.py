"""A batch that is started on one engine and finished on others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from e2e.airflow_stack import airflow_stack
from e2e.backfill_flow import BAD, Home
from e2e.dagster_stack import dagster_stack
from e2e.test_backfill_airflow import DAGS
from e2e.test_backfill_dagster import DEFINITIONS

pytestmark = pytest.mark.e2e

SOME = "date=2012-01-03..2012-01-06"  # 20 partitions, one of which fails


def test_a_batch_goes_from_airflow_to_dagster_to_here(tmp_path: Path) -> None:
    """Begun on Airflow, gone on with on Dagster, and its failure mended here: one success and one capture each."""
    command = ["backfill", "flows:flow", "--batch", "moved", "--select", SOME]
    environment = {"PYTHONPATH": str(tmp_path), "FLOWCTX_LEDGER_URL": Home(tmp_path, {}).ledger_url}
    with (
        airflow_stack(tmp_path / "airflow", {"dags.py": DAGS}, env=environment) as airflow,
        dagster_stack(tmp_path / "dagster", DEFINITIONS, env=environment) as dagster,
    ):
        urls = {"FLOWCTX_AIRFLOW_URL": airflow.url, "FLOWCTX_AIRFLOW_TOKEN": airflow.token}
        home = Home(tmp_path, {**urls, "FLOWCTX_DAGSTER_URL": dagster.url})
        first = [*command, "--on", "airflow", "--workers", "4"]
        home.kill_when(lambda: home.known("moved") >= 6, *first)
        airflow.wait_until(lambda: not {"launched", "running"} & _counts(home).keys(), "what Airflow began")
        begun = sum(_counts(home).values()) - _counts(home)["missing"]
        home.run(*command, "--on", "dagster", code=1)
        assert _counts(home) == {"ok": 19, "failed": 1}
        (tmp_path / "mended").touch()
        home.run(*command, "--retry-failed")
        status = home.status("moved")
        assert status["counts"] == {"ok": 20}
        assert status["engines"] == {"airflow": begun, "dagster": 19 - begun, "local": 1}
        succeeded = Counter(run["partition_key"] for run in airflow.runs("restated") if run["state"] == "success")
        tags = {"flowctx/batch_id": "moved"}
        succeeded += Counter(r["tags"]["dagster/partition"] for r in dagster.runs(tags) if r["status"] == "SUCCESS")
        assert set(succeeded.values()) == {1}
        assert len(succeeded) == 19
        captures = {(partition, capture) for partition, _, capture in home.calls()}
        assert len(captures) == 20
        assert BAD in {partition for partition, _ in captures}


def _counts(home: Home) -> dict[str, int]:
    counts: dict[str, int] = home.status("moved", "--on", "airflow")["counts"]
    return counts
