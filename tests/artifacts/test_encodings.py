"""How columns are encoded follows from what they hold, and never changes a value; other libraries read them."""

from __future__ import annotations

import io

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stored_tables import stored

ROWS = 1 << 15
RANDOM = np.random.default_rng(1)
FLOATS = RANDOM.normal(size=ROWS)
EVERY_MINUTE = np.arange(ROWS) * np.timedelta64(1, "m") + np.datetime64("2026-01-01T00:00:00.000000")


def encodings_of(table):
    group = pq.ParquetFile(io.BytesIO(stored(table).reference.data)).metadata.row_group(0)
    return {group.column(i).path_in_schema: set(group.column(i).encodings) for i in range(group.num_columns)}


@pytest.mark.parametrize(
    ("values", "encoding"),
    [
        (EVERY_MINUTE, "DELTA_BINARY_PACKED"),
        (np.arange(ROWS, dtype="i2"), "DELTA_BINARY_PACKED"),
        (np.arange(2**64 - ROWS, 2**64, dtype="u8"), "DELTA_BINARY_PACKED"),
        (np.repeat(EVERY_MINUTE[: ROWS // 64], 64), "RLE_DICTIONARY"),
        (RANDOM.integers(0, 500, ROWS), "RLE_DICTIONARY"),
        ([f"name{n % 500}" for n in range(ROWS)], "RLE_DICTIONARY"),
        (FLOATS, "BYTE_STREAM_SPLIT"),
        (np.round(FLOATS, 2), "PLAIN"),
    ],
)
def test_a_column_is_encoded_as_it_is_small(values, encoding):
    """Steps as steps, what repeats by a dictionary, floats that are not round byte by byte."""
    assert encoding in encodings_of(pa.table({"x": values}))["x"]


def test_a_name_of_two_columns_says_nothing():
    """A column named like the way to a nested one is encoded as the others are."""
    nested = pa.array([{"b": "text"}] * ROWS, pa.struct([("b", pa.string())]))
    table = pa.table({"a": nested, "a.b": np.arange(ROWS)})
    assert stored(table).to_arrow().equals(table)


def test_what_is_encoded_so_is_read_by_all(tmp_path):
    """Nulls, numbers that stop going up, ends of the range: pyarrow, polars and DuckDB find the values."""
    jumps = np.concatenate([np.arange(ROWS - 4), [2**63 - 1, -(2**63), 0, 7]])
    nulls = np.arange(ROWS) % 7 == 0
    columns = {"time": EVERY_MINUTE, "jumps": jumps, "float": FLOATS, "single": FLOATS.astype("f4")}
    table = pa.table({name: pa.array(values, mask=nulls) for name, values in columns.items()})
    kept = stored(table)
    assert kept.to_arrow().equals(table)
    file = tmp_path / "x.parquet"
    file.write_bytes(kept.reference.data)
    assert pl.read_parquet(file).equals(pl.from_arrow(table))
    assert duckdb.read_parquet(str(file)).arrow().read_all().cast(table.schema).equals(table)


def test_a_tiny_table_is_written_plainly():
    """A few rows have no dictionary and no statistics, which would take longer than all else; its rows are found."""
    table = pa.table({"name": ["a", "b", "a", None], "n": [1, 2, None, 4]})
    kept = stored(table)
    group = pq.ParquetFile(io.BytesIO(kept.reference.data)).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    assert not any(column.has_dictionary_page or column.is_stats_set for column in columns)
    assert kept.to_arrow(where=[("n", ">", 1)]).equals(table.take([1, 3]))
