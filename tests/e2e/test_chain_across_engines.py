"""A chain of dates that is launched on real engines: each date reads the one before it, of its own batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack
from e2e.flow_folder import Home

pytestmark = pytest.mark.e2e

SOME = "date=2012-01-03..2012-01-05"  # three sessions of two funds


def test_a_chain_is_the_same_on_every_engine(airflow: AirflowStack, dagster: DagsterStack, session: Path) -> None:
    """Launched here, on Airflow and on Dagster with other parameters, no batch has read another's dates."""
    urls = {"FLOWCTX_AIRFLOW_URL": airflow.url, "FLOWCTX_AIRFLOW_TOKEN": airflow.token}
    home = Home(session / "moved", {**urls, "FLOWCTX_DAGSTER_URL": dagster.url})
    for factor, engine in enumerate(("local", "airflow", "dagster"), 2):
        command = ["backfill", "chained:chain", "--batch", f"chain-{engine}", "--select", SOME, "--on", engine]
        home.run(*command, "--workers", "4", "-p", f"factor={factor}")
        runs = home.ledger.list_runs(workflow="chained", batch_id=f"chain-{engine}")
        found = {str(run.context.partition): home.ledger.steps(run.key)[0].output["nav"] for run in runs}
        days = ("2012-01-03", "2012-01-04", "2012-01-05")
        assert found == {f"date={d}|fund={f}": factor**n for n, d in enumerate(days, 1) for f in "AB"}
        last = next(run for run in runs if str(run.context.partition) == "date=2012-01-05|fund=B")
        assert home.ledger.steps(last.key)[1].output == {"sum": sum(factor**n for n in range(1, 4))}
