"""What pandas has no plain type for is read as it is, not as something near."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from flowctx import Outputs, PartitionKey, PlainDataError
from flowctx.artifacts import from_pandas, into_pandas
from stored_tables import stored

LONG = 2**53 + 1
LIST = pa.list_(pa.int64())


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


CLOSE = datetime(2026, 1, 31, 20, tzinfo=ZoneInfo("America/New_York"))
IN_ZONE = pa.timestamp("us", "America/New_York")
EXACT = pd.Timestamp("2026-01-31 20:00:00.123456789", tz="America/New_York")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[CLOSE, None], None], pa.list_(IN_ZONE)),
        pa.array([[[CLOSE], [CLOSE, None]], None], pa.list_(pa.list_(IN_ZONE))),
        pa.array([[CLOSE], None], pa.list_(IN_ZONE, 1)),
        pa.array([None, [[CLOSE]], [None]], pa.list_(pa.list_(IN_ZONE), 1)),
        pa.array([None, [CLOSE], []], pa.list_view(IN_ZONE)),
        pa.array([[CLOSE], [], [None, CLOSE], None], pa.large_list(IN_ZONE)).slice(2),
        pa.array([[{"at": [EXACT]}, None], None], pa.list_(pa.struct({"at": pa.list_(pa.timestamp("ns", "UTC"))}))),
        pa.array([[EXACT], []], pa.list_(pa.timestamp("ns", "America/New_York"))),
        pa.array(
            [{"at": EXACT, "n": [LONG, None]}, None],
            pa.struct({"at": pa.timestamp("ns", "America/New_York"), "n": LIST}),
        ),
        pa.array([{"at": EXACT.tz_localize(None)}, {"at": None}], pa.struct({"at": pa.timestamp("ns")})),
        pa.array([{"took": pd.Timedelta(7, "ns")}], pa.struct({"took": pa.duration("ns")})),
        pa.array([[("a", EXACT)], []], pa.map_(pa.string(), pa.timestamp("ns", "America/New_York"))),
        pa.array([{"at": [CLOSE]}], pa.struct({"at": pa.list_(IN_ZONE)})),
    ],
    ids=lambda column: str(column.type),
)
def test_times_in_lists_and_structs_stay_what_they_are(column):
    """With their zone, and no number of nanoseconds; those of categories are below."""
    found = stored(pa.table({"column": column})).to_pandas()["column"]
    assert repr(plain(found)) == repr(plain(column.to_pylist()))


@pytest.mark.parametrize("zone", ["America/New_York", "UTC", "+09:00"])
def test_categories_of_times_keep_their_zone(zone):
    """In a column, and in an index, alone or one of its levels."""
    times = pd.Categorical(
        pd.to_datetime(["2026-01-31 20:00", None, "2026-01-30 20:00"]).tz_localize(zone), ordered=True
    )
    frame = pd.DataFrame({"n": [1, 2, 3], "at": times})
    for given in (frame, frame.set_index("at"), frame.assign(k=list("abc")).set_index(["k", "at"])):
        pd.testing.assert_frame_equal(stored(given).to_pandas(), given)
    for least in (1, 3):
        assert stored(frame).to_pandas(where=[("n", ">", least)])["at"].cat.categories.tz is not None
    assert len(stored(frame.set_index("at")).to_pandas(where=[("n", ">", 3)])) == 0


def test_lists_of_times_are_read_all_at_once(monkeypatch):
    """Not one by one, which takes far longer than to read the rest."""
    monkeypatch.delattr(into_pandas, "_as_in_pandas")
    column = pa.array([[[CLOSE], None], None], pa.list_(pa.list_(IN_ZONE)))
    assert plain(stored(pa.table({"column": column})).to_pandas()["column"]) == column.to_pylist()


@pytest.mark.parametrize("kind", [pa.list_(IN_ZONE), pa.struct({"at": pa.timestamp("ns", "UTC")})], ids=str)
def test_where_nothing_matches_there_are_no_times(kind):
    """In lists and structs, of a table or of joined ones that have no rows; those of categories are above."""
    table = pa.table({"n": [1], "at": pa.array([None], kind)})
    assert len(stored(table).to_pandas(where=[("n", ">", 1)])["at"]) == 0
    empty = {PartitionKey(day=day): {"rows": stored(table.slice(0, 0))} for day in "12"}
    assert list(Outputs(empty).table("rows").to_pandas().columns) == ["day", "n", "at"]


def test_categories_whose_zone_would_be_lost_are_refused(monkeypatch):
    """Older versions of pyarrow make of them times without a zone."""
    monkeypatch.setattr(from_pandas, "_loses_zone", lambda dtype: True)
    frame = pd.DataFrame({"at": pd.Categorical(pd.to_datetime(["2026-01-31 20:00"]).tz_localize("UTC"))})
    with pytest.raises(PlainDataError, match="times in a zone as categories in column 'at', of which .* keeps no zone"):
        stored(frame)
    assert stored(pd.DataFrame({"at": pd.Categorical(["a"])})).rows == 1


def test_times_that_python_does_not_have_are_refused():
    """In lists, where pandas has no times with a zone of its own."""
    table = stored(pa.table({"at": pa.array([[2**62]], pa.list_(pa.timestamp("us", "UTC")))}))
    with pytest.raises(
        PlainDataError, match=r"column 'at' has times in list<timestamp\[us\]@UTC> that Python does not"
    ):
        table.to_pandas()


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
