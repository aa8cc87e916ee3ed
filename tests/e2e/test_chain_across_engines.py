"""A chain of dates on real engines: each date reads the one before it, of its own batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack
from e2e.flow_folder import Home
from flowctx import PartitionKey

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


def test_a_backfill_of_airflows_own_waits_for_the_dates_before(
    airflow: AirflowStack, dagster: DagsterStack, session: Path
) -> None:
    """No date reads the older version of the one before, and who waits for a failure says so."""
    home = Home(session / "moved", {})
    old, bad = "date=2012-01-03..2012-01-11", "date=2012-01-10|fund=B"
    home.run("backfill", "chained:chain", "--batch", "chain-old", "--select", old, "-p", "factor=5")
    conf = {"batch_id": "chain-native", "factor": 7, "fails": bad}
    dates = ["--from-date", "2012-01-06", "--to-date", "2012-01-11", "--max-active-runs", "8"]
    airflow.cli("backfill", "create", "--dag-id", "chained", *dates, "--dag-run-conf", json.dumps(conf))

    def ended() -> bool:
        states = [run["state"] for run in airflow.runs("chained", run_type="backfill")]
        return len(states) == 8 and not {"queued", "running"} & set(states)

    airflow.wait_until(ended, "the runs of the backfill")
    runs = {str(run.context.partition): run for run in home.ledger.list_runs(batch_id="chain-native")}
    steps = {key: home.ledger.steps(run.key)[0] for key, run in runs.items()}
    made = {key: step.output["nav"] for key, step in steps.items() if step.output}
    days = {"2012-01-06": "AB", "2012-01-09": "AB", "2012-01-10": "A", "2012-01-11": "A"}
    assert made == {f"date={d}|fund={f}": 125 * 7**n for n, d in enumerate(days, 1) for f in days[d]}
    assert steps[bad].error == "no prices"
    assert f"waits for partition {bad}" in str(steps["date=2012-01-11|fund=B"].error)
    assert "which failed: " in str(steps["date=2012-01-11|fund=B"].error)
    logs = [file.read_text() for file in Path(airflow.home, "logs", "dag_id=chained").rglob("attempt=1.log")]
    assert sum("waiting, without a worker, for runs of DAG chained" in text for text in logs) >= 2

    # The date after them, on both servers: they read the same dates as a run here, and nothing differs.
    urls = {"FLOWCTX_AIRFLOW_TOKEN": airflow.token}
    command = ["verify", "chained:chain", "--url", f"airflow={airflow.url}", "--url", f"dagster={dagster.url}"]
    seen = json.loads(Home(session / "moved", urls).run(*command, "--select", "date=2012-01-12", "--json")[0])
    assert (seen["equal"], seen["statuses"], seen["engines"]) == (True, {"ok": 2}, ["airflow", "dagster"])
    made = [run.engine for run in home.ledger.list_runs(partition=PartitionKey(date="2012-01-12", fund="A"))]
    assert sorted(made) == ["airflow", "dagster"]
    _, refused = Home(session / "moved", urls).run(*command, "--select", "date=2012-01-12", code=2)
    assert "the ledger has captures of 2 of these partitions, such as date=2012-01-12|fund=A" in refused
