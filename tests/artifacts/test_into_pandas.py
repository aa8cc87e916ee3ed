"""What pandas has no plain type for is read as it is, not as something near."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from flowctx import Outputs, PartitionKey
from stored_tables import stored

LONG = 2**53 + 1


def plain(value):
    """Return a value with lists for arrays, and ``None`` for what is missing."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return None if value is pd.NA else value


@pytest.mark.parametrize(
    "column",
    [
        pa.array([LONG, None, 1]),
        pa.array([0, None, -(2**63), 2**60, LONG]),
        pa.array([2**64 - 1, None], pa.uint64()),
        pa.array([[LONG, None], None, [1]]),
        pa.array([[LONG], [None]], pa.list_view(pa.int64())),
        pa.array([[LONG, 1], None, [None, 2]], pa.list_(pa.int64(), 2)),
        pa.array([{"x": LONG, "y": "a"}, {"x": None, "y": None}, None]),
        pa.array([[{"x": [LONG, None]}], []]),
    ],
    ids=lambda column: str(column.type),
)
def test_whole_numbers_beside_nulls_stay_what_they_are(column):
    """Where a float would be another number, a column is pandas' own Int64; in lists and structs they are Python's."""
    frame = stored(pa.table({"before": [1.5] * len(column), "column": column})).to_pandas()
    assert plain(frame["column"]) == column.to_pylist()
    assert list(frame.dtypes[["before"]]) == ["float64"]
    if pa.types.is_integer(column.type):
        assert str(frame["column"].dtype).lower() == str(column.type)


def test_whole_numbers_that_are_floats_are_read_as_floats():
    """As pandas has them; so are lists of them, and columns without nulls are integers."""
    table = pa.table({"few": [1, None], "round": [2**60, None], "lists": [[1, None], [2]], "none": [LONG, 1]})
    frame = stored(table).to_pandas()
    assert [str(dtype) for dtype in frame.dtypes] == ["float64", "float64", "object", "int64"]
    assert frame["lists"][0].dtype == "float64"


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"n": [LONG, None]}),
        pd.DataFrame({"n": pd.Series([LONG, None], dtype=object)}),
        pd.DataFrame({"n": pd.array([LONG, None], dtype="Int64")}),
        pd.DataFrame({"n": pd.array([LONG, None], dtype="int64[pyarrow]")}),
    ],
    ids=["polars", "objects", "Int64", "Arrow"],
)
def test_each_way_to_read_a_frame_has_them(frame):
    """Alone, some rows of it, and joined with others, which may be read again."""
    table = stored(frame)
    joined = Outputs({PartitionKey(day=day): {"rows": table} for day in "12"}).table("rows")
    found = [table.to_pandas(), table.to_pandas(["n"], [("n", "=", LONG)]), joined.to_pandas(), joined.to_pandas()]
    assert [plain(one["n"]) for one in found] == [[LONG, None], [LONG], *[[LONG, None] * 2] * 2]
    for dtype in ("Int64", "int64[pyarrow]"):
        assert frame["n"].dtype != dtype or found[0]["n"].dtype == dtype


@pytest.mark.parametrize(
    "index",
    [
        pd.Index([LONG, None], dtype=object, name="k"),
        pd.Index(pd.array([LONG, None], dtype="Int64"), name="k"),
        pd.MultiIndex.from_arrays([["x", "y"], pd.array([LONG, None], dtype="Int64")], names=["s", "k"]),
        pd.MultiIndex.from_arrays([["x", "y"], pd.Index([LONG, None], dtype=object)], names=["s", "k"]),
    ],
    ids=["objects", "Int64", "levels", "levels of objects"],
)
def test_an_index_of_whole_numbers_and_nulls_comes_back(index):
    """Alone or as one of several levels, under columns of any names."""
    frame = pd.DataFrame({("a", 1): [1, 2], ("a", 2): pd.array([None, LONG], dtype=object)}, index=index)
    back = stored(pa.Table.from_pandas(frame)).to_pandas()
    assert plain(back.index.get_level_values("k")) == [LONG, None]
    assert plain(back["a", 2]) == [None, LONG]
    assert list(back.index.names) == list(index.names)
    assert back.columns.equals(frame.columns)
