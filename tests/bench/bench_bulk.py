"""The whole example in bulk, on a real Airflow and a real Dagster, beside a local batch with as many workers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from report import console, show

sys.path.insert(0, str(Path(__file__).parents[1]))
from e2e.airflow_stack import airflow_stack
from e2e.dagster_stack import Location, dagster_stack
from postgres import postgres_database, postgres_server

LANES = 2
EVERYTHING = "date=2000-03-01..2013-03-01"
WARM = "date=2013-02-25..2013-03-01,symbol=IBM"

AIRFLOW = """
from flowctx.airflow import workflow_bulk_dag
from flowctx.examples.prices import prices

dag = workflow_bulk_dag(prices)
"""
DAGSTER = """
import dagster as dg
from flowctx.dagster import workflow_bulk_job, workflow_definitions
from flowctx.examples.prices import prices

defs = dg.Definitions.merge(workflow_definitions(prices), dg.Definitions(jobs=[workflow_bulk_job(prices)]))
"""


def main(selection: str = EVERYTHING) -> None:
    """Print how long each takes from the command to its end, with the same ledger on PostgreSQL."""
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server, postgres_database(server) as ledger:
        env = {**os.environ, "FLOWCTX_LEDGER_URL": ledger}
        local = f"a local batch, {LANES} workers"
        seconds[local] = backfill("local", selection, env)
        for name, reach in engines(Path(folder), server, ledger):
            where = ["--on", name, "--bulk"]
            backfill(f"warm-{name}", WARM, {**env, **reach}, *where)
            seconds[f"in bulk on {name}, {LANES} slices at a time"] = backfill(
                name, selection, {**env, **reach}, *where
            )
            seconds[f"{local}, again after {name}"] = backfill(f"after-{name}", selection, env)
    show("The example, five steps a partition", seconds, unit="in all", budget="in bulk at most 2x the local batch")


def backfill(batch_id: str, selection: str, env: Mapping[str, str], *more: str) -> float:
    """Run a batch, and return how long the command took."""
    started = time.perf_counter()
    program = [sys.executable, "-m", "flowctx.cli", "backfill", "flowctx.examples.prices:prices"]
    command = [*program, "--batch", batch_id, "--select", selection, "--workers", str(LANES), *more]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True)
    took = time.perf_counter() - started
    summary = " ".join(done.stdout.split())
    console.print(f"  {took:7.1f} s  {batch_id}: {summary or done.stderr[-500:]}")
    return took


def engines(folder: Path, server: str, ledger: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Start one engine after the other, and yield its name and how it is reached."""
    with ExitStack() as held:
        database = held.enter_context(postgres_database(server))
        (folder / "bulk_dag.py").write_text(AIRFLOW)
        env = {"FLOWCTX_LEDGER_URL": ledger, "AIRFLOW__CORE__PARALLELISM": str(LANES)}
        airflow = held.enter_context(airflow_stack(folder / "airflow", database, [folder / "bulk_dag.py"], env=env))
        yield "airflow", {"FLOWCTX_AIRFLOW_URL": airflow.url, "FLOWCTX_AIRFLOW_TOKEN": airflow.token}
    with ExitStack() as held:
        (folder / "definitions.py").write_text(DAGSTER)
        location = Location(folder / "definitions.py", {"FLOWCTX_LEDGER_URL": ledger})
        dagster = held.enter_context(dagster_stack(folder / "dagster", {"bench": location}))
        yield "dagster", {"FLOWCTX_DAGSTER_URL": dagster.url}


if __name__ == "__main__":
    main(*sys.argv[1:])
