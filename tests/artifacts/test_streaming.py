"""A table of any size is written and read in flat memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flowctx import PlainDataError
from stored_tables import stored

SCRIPT = Path(__file__).parents[1] / "bench" / "streaming.py"


def streamed(url: str, megabytes: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), url, str(megabytes)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_memory_stays_flat(kind, request, tmp_path):
    """A generator of 512 MB goes through a folder or a bucket and back in less than half of that."""
    url = str(tmp_path) if kind == "folder" else request.getfixturevalue("bucket")
    found = streamed(url, 512)
    assert found["peak"] - found["before"] < 512 / 2


def test_whatever_makes_batches_is_a_table(tmp_path):
    """A reader, a generator, a LazyFrame of files and a relation of DuckDB make one table, with one digest."""
    table = pa.table({"n": range(200_000), "s": [f"s{n % 7}" for n in range(200_000)]})
    pl.DataFrame(table).write_parquet(tmp_path / "x.parquet")
    sources = {
        "reader": table.to_reader(max_chunksize=1000),
        "generator": (batch for batch in table.to_batches(max_chunksize=777)),
        "lazy": pl.scan_parquet(tmp_path / "x.parquet"),
        "relation": duckdb.connect().sql(f"select * from '{tmp_path}/x.parquet'"),
        "frames": (frame.to_pandas() for frame in table.to_batches(max_chunksize=50_000)),
    }
    digests = {name: stored(source).digest for name, source in sources.items()}
    assert set(digests.values()) == {stored(table).digest}


@pytest.mark.parametrize("what", ["interval 1 month", "case when i = 90_000 then error('no more') else 'a' end"])
def test_a_relation_that_is_refused_or_fails_frees_its_connection(what):
    """Nothing that runs on the connection afterwards finds a result that is still open."""
    connection = duckdb.connect()
    with pytest.raises((PlainDataError, OSError)) as caught:
        stored(connection.sql(f"select {what} as d from range(100_000) t(i)"))
    assert connection.sql("select 7").fetchall() == [(7,)]
    del caught


def test_columns_and_rows_are_read_in_part():
    """Batches hold the columns that are asked for, and the rows for which a condition on any column holds."""
    table = stored(pa.table({"n": range(100_000), "s": ["a", "b"] * 50_000}))
    found = pa.Table.from_batches(table.batches(["n"], [("s", "=", "b"), ("n", ">=", 99_990)], rows=1000))
    assert found.column_names == ["n"]
    assert found["n"].to_pylist() == [99_991, 99_993, 99_995, 99_997, 99_999]
    assert table.to_arrow(["n"], pc.field("n") < 2)["n"].to_pylist() == [0, 1]
