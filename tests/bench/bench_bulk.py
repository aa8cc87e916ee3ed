"""The example in bulk and natively, on a real Airflow and a real Dagster, beside a local batch of two workers.

All of it runs in bulk, and natively the last 100 partitions, each of which is a run of the engine:
``FLOWCTX_BENCH_NATIVE=20`` for another number, and 0 for none. What all would take natively is extrapolated. With
``FLOWCTX_BENCH_EVENTS=0`` the engines are told of no partition in bulk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from report import console, show

from flowctx.examples.prices import SYMBOLS, prices

sys.path.insert(0, str(Path(__file__).parents[1]))
from e2e.airflow_stack import AirflowStack, airflow_stack
from e2e.dagster_stack import DagsterStack, Location, dagster_stack
from postgres import postgres_database, postgres_server

LANES = 2
EVERYTHING = "date=2000-03-01..2013-03-01"
WARM = "date=2013-02-25..2013-03-01,symbol=IBM"
#: How many partitions run natively: whole dates of five symbols.
NATIVE = int(os.environ.get("FLOWCTX_BENCH_NATIVE", "100"))
#: Whether an engine is told of each partition that it runs in bulk.
EVENTS = os.environ.get("FLOWCTX_BENCH_EVENTS", "1") != "0"

AIRFLOW = f"""
from airflow.sdk import Asset
from flowctx.airflow import workflow_bulk_dag, workflow_dag
from flowctx.examples.prices import prices

dag = workflow_dag(prices)
bulk = workflow_bulk_dag(prices, outlets={'[Asset("prices")]' if EVENTS else ()})
"""
DAGSTER = f"""
import dagster as dg
from flowctx.dagster import workflow_bulk_job, workflow_definitions
from flowctx.examples.prices import prices

bulk = workflow_bulk_job(prices, materialize={"last" if EVENTS else "none"!r})
defs = dg.Definitions.merge(workflow_definitions(prices), dg.Definitions(jobs=[bulk]))
"""
MATERIALIZED = "{ assetNodes { partitionStats { numMaterialized } } }"


class Engine(NamedTuple):
    """An engine that runs."""

    name: str
    #: The environment that tells a command where it is.
    reach: dict[str, str]
    #: Says how many partitions its assets have been told of.
    told: Callable[[], int]


def main(selection: str = EVERYTHING) -> None:
    """Print how long each takes from the command to its end, with the same ledger on PostgreSQL."""
    seconds: dict[str, float] = {}
    assert prices.partitions is not None
    total = len(prices.partitions.select(selection))
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server, postgres_database(server) as ledger:
        env = {**os.environ, "FLOWCTX_LEDGER_URL": ledger}
        local = f"a local batch, {LANES} workers"
        seconds[local] = total * backfill("local", selection, env, *_lanes())
        for engine in engines(Path(folder), server, ledger):
            name, there = engine.name, {**env, **engine.reach}
            backfill(f"warm-{name}", WARM, there, *_lanes(), "--on", name, "--bulk")
            in_bulk = backfill(f"bulk-{name}", selection, there, *_lanes(), "--on", name, "--bulk")
            seconds[f"in bulk on {name}, {LANES} slices at a time"] = total * in_bulk
            console.print(f"  {engine.told():,} partitions of which {name}'s assets were told")
            seconds[f"{local}, again after {name}"] = total * backfill(f"after-{name}", selection, env, *_lanes())
            if NATIVE:
                natively = backfill(f"native-{name}", f"date=last:{-(-NATIVE // len(SYMBOLS))}", there, "--on", name)
                seconds[f"natively on {name}, from {NATIVE} partitions"] = total * natively
    show(f"{total:,} partitions of five steps", seconds, unit="in all", budget="in bulk at most 2x the local batch")


def _lanes() -> list[str]:
    return ["--workers", str(LANES)]


def backfill(batch_id: str, selection: str, env: Mapping[str, str], *more: str) -> float:
    """Run a batch, and return how many seconds a partition took, from the command to its end."""
    started = time.perf_counter()
    program = [sys.executable, "-m", "flowctx.cli", "backfill", "flowctx.examples.prices:prices"]
    command = [*program, "--batch", batch_id, "--select", selection, *more, "--json"]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True)
    took = time.perf_counter() - started
    if done.returncode not in (0, 1):  # 1: some have not ended, which is seen below
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr[-2000:]}")
    states = json.loads(done.stdout)["ended"]
    count = sum(states.values())
    ended = ", ".join(f"{number:,} {state}" for state, number in states.items())
    console.print(f"  {took:7.1f} s  {batch_id}: {ended}; {took / count * 1000:,.1f} ms a partition")
    return took / count


def engines(folder: Path, server: str, ledger: str) -> Iterator[Engine]:
    """Start one engine after the other."""
    with ExitStack() as held:
        database = held.enter_context(postgres_database(server))
        (folder / "prices_dags.py").write_text(AIRFLOW)
        env = {"FLOWCTX_LEDGER_URL": ledger, "AIRFLOW__CORE__PARALLELISM": str(LANES)}
        airflow = held.enter_context(airflow_stack(folder / "airflow", database, [folder / "prices_dags.py"], env=env))
        reach = {"FLOWCTX_AIRFLOW_URL": airflow.url, "FLOWCTX_AIRFLOW_TOKEN": airflow.token}
        yield Engine("airflow", reach, lambda: asset_events(airflow))
    with ExitStack() as held:
        (folder / "definitions.py").write_text(DAGSTER)
        location = Location(folder / "definitions.py", {"FLOWCTX_LEDGER_URL": ledger})
        dagster = held.enter_context(dagster_stack(folder / "dagster", {"bench": location}))
        yield Engine("dagster", {"FLOWCTX_DAGSTER_URL": dagster.url}, lambda: materialized(dagster))


def asset_events(airflow: AirflowStack) -> int:
    """Return how many asset events there are."""
    return int(airflow.get("/assets/events", limit=1)["total_entries"])


def materialized(dagster: DagsterStack) -> int:
    """Return of how many partitions an asset is materialised."""
    nodes = dagster.graphql(MATERIALIZED)["assetNodes"]
    return max(int(node["partitionStats"]["numMaterialized"]) for node in nodes)


if __name__ == "__main__":
    main(*sys.argv[1:])
