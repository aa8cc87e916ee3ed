"""What differs between two tables: found exactly, whatever library and layout they are of."""

from __future__ import annotations

import math
import random
import tempfile
import tracemalloc
from contextlib import contextmanager
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx.artifacts.changed_cells import Comparison
from flowctx.artifacts.differences import compare_tables
from flowctx.artifacts.likeness import apart_from
from flowctx.artifacts.reading import ParquetTable
from flowctx.artifacts.table_parts import PART_BYTES
from flowctx.core.data.number_changes import are_near
from flowctx.core.data.references import TableReference
from flowctx.core.data.tables import Table, take_table
from flowctx.core.errors import ArtifactError

NAN = float("nan")


def table(**columns) -> Table:
    made = take_table(pa.table(columns), "t")
    assert made is not None
    return made


def cells(found):
    return [(dict(one.row), one.column, one.old, one.new) for one in found.largest]


def test_rows_are_found_by_their_keys():
    """Whatever their order: cells that changed, the largest first, and rows that were added and removed."""
    old = table(symbol=["A", "B", "C", "D"], close=[1.0, 2.0, 3.0, 4.0], note=["x", "y", None, "z"])
    new = table(symbol=["E", "D", "C", "A"], close=[9.0, 4.5, 3.0, -7.0], note=["n", "z", "new", "x"])
    found = compare_tables(old, new, Comparison(key=("symbol",)))
    assert cells(found) == [
        ({"symbol": "A"}, "close", 1.0, -7.0),
        ({"symbol": "D"}, "close", 4.0, 4.5),
        ({"symbol": "C"}, "note", None, "new"),
    ]
    assert [one.delta for one in found.largest] == [-8.0, 0.5, None]
    assert (found.added_rows, found.removed_rows) == (({"symbol": "E"},), ({"symbol": "B"},))
    assert (found.changed_rows, found.cells, dict(found.columns)) == (3, 3, {"close": 2, "note": 1})


def test_without_a_key_rows_are_compared_by_position():
    """A row is then called by its number, and what is longer has rows more."""
    found = compare_tables(table(n=[1, 2, 3]), table(n=[1, 5]), Comparison())
    assert cells(found) == [({"row": 1}, "n", 2, 5)]
    assert (found.added, found.removed, found.removed_rows) == (0, 1, ({"row": 2},))


def test_nulls_and_nan_are_equal_to_themselves_and_to_nothing_else():
    """Of values and of keys."""
    old = table(k=[1.0, NAN, None], v=[NAN, None, 0.0])
    assert not compare_tables(old, table(k=[None, NAN, 1.0], v=[0.0, None, NAN]), Comparison(key=("k",))).differs
    found = compare_tables(old, table(k=[1.0, NAN, None], v=[None, NAN, None]), Comparison(key=("k",)))
    assert found.columns == {"v": 3}


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_a_key_of_zero_has_no_sign(kind):
    """As a value has none, alone and beside another key."""
    keys = (pa.array([kind(zero), None, kind(1.5)], pa.from_numpy_dtype(kind)) for zero in (0.0, -0.0))
    old, new = (table(k=key, n=[1, 1, 1], v=[1, 1, 1]) for key in keys)
    for key in (("k",), ("n", "k")):
        assert not compare_tables(old, new, Comparison(key=key)).differs


def short(*values):
    return pa.array([None if one is None else np.float16(one) for one in values], pa.float16())


def test_short_floats_are_compared():
    """Pyarrow compares none of 16 bits."""
    old, new = (table(v=short(one, NAN, None, 1.0)) for one in (1.5, 2.0))
    found = compare_tables(old, new, Comparison())
    assert (cells(found), found.largest[0].delta) == ([({"row": 0}, "v", 1.5, 2.0)], 0.5)
    assert not compare_tables(old, new, Comparison(atol=0.5)).differs
    assert apart_from(old, new) is None


def test_numbers_within_the_tolerance_are_equal():
    """Of floats, integers and decimals; a null, a NaN and an infinity are never near a number."""
    old = table(f=[100.0, 1.0, 1.0, 1.0, math.inf], i=[100, 1, 1, 1, 1], d=[Decimal("100.0")] * 5)
    new = table(f=[100.5, 1.5, None, NAN, 1.0], i=[101, 9, 1, 1, 1], d=[Decimal("100.1")] * 5)
    assert compare_tables(old, new, Comparison(atol=1)).columns == {"f": 3, "i": 1}
    assert compare_tables(old, new, Comparison(rtol=0.01)).columns == {"f": 4, "i": 1}
    assert compare_tables(old, new, Comparison()).columns == {"f": 5, "i": 2, "d": 5}
    found = compare_tables(table(f=[1.0]), table(f=[math.inf]), Comparison(rtol=1))
    assert found.columns == {"f": 1}


@pytest.mark.parametrize(
    ("kind", "old", "new", "change"),
    [
        (pa.int64(), 10**18, 10**18 + 17, 17.0),
        (pa.int64(), -(2**63), 2**63 - 1, 2.0**64),
        (pa.uint64(), 2**64 - 1, 2**64 - 2, -1.0),
        (pa.decimal128(38, 2), Decimal("123456789012345678.01"), Decimal("123456789012345678.03"), 0.02),
        (pa.decimal256(50, 40), Decimal(10**9), Decimal(10**9 - 1), -1.0),
        (pa.decimal256(76, 0), Decimal(-(10**75)), Decimal(10**75 - 1), 2e75),
    ],
)
def test_numbers_are_subtracted_exactly(kind, old, new, change):
    """Whole numbers and decimals of more digits than a float has: identifiers are not near one another."""
    sides = table(v=pa.array([old, None, 1], kind)), table(v=pa.array([new, None, 1], kind))
    for how in (Comparison(), Comparison(atol=0.01), Comparison(atol=abs(change) * 0.99)):
        found = compare_tables(*sides, how)
        assert cells(found) == [({"row": 0}, "v", old, new)]
        assert found.largest[0].delta == change
    assert not compare_tables(*sides, Comparison(atol=abs(change))).differs


@pytest.mark.parametrize(
    ("kind", "old", "new", "how"),
    [
        (pa.decimal128(10, 1), Decimal("1.0"), Decimal("1.3"), Comparison(atol=0.3)),
        (pa.int32(), 71, 100, Comparison(rtol=0.29)),
        (pa.int64(), 71, 100, Comparison(rtol=0.29)),
        (pa.decimal128(10, 1), Decimal("7.1"), Decimal("10.0"), Comparison(rtol=0.29)),
        (pa.decimal256(60, 20), Decimal("1.1"), Decimal("1.4"), Comparison(atol=0.3)),
    ],
)
def test_a_tolerance_is_taken_as_it_is_written(kind, old, new, how):
    """In tables as among plain values: what differs by just as much is equal, and what differs by more is not."""
    unit = Decimal(1).scaleb(-kind.scale) if pa.types.is_decimal(kind) else 1
    sides = (table(v=pa.array(values, kind)) for values in ([old, old - unit, None], [new, new, None]))
    assert are_near(old, new, how.atol, how.rtol)
    assert not are_near(old - unit, new, how.atol, how.rtol)
    assert cells(compare_tables(*sides, how)) == [({"row": 1}, "v", old - unit, new)]


@pytest.mark.parametrize("scale", [1, 2, 9, 30])
def test_the_change_of_a_decimal_is_rounded_once(scale):
    """It is the float that is nearest, as that of a plain value."""
    old, new = ([Decimal(n + step).scaleb(-scale) for n in range(0, 9000, 7)] for step in (0, 3))
    kind = pa.decimal128(38, scale)
    found = compare_tables(table(v=pa.array(old, kind)), table(v=pa.array(new, kind)), Comparison(most=9000))
    assert {one.delta for one in found.largest} == {float(Decimal(3).scaleb(-scale))}


def test_layouts_do_not_count():
    """Dictionaries, large texts and chunks are other layouts of the same content."""
    texts = pa.array(["a", "b", "a"])
    chunks = pa.chunked_array([texts.dictionary_encode().slice(0, 1), texts.dictionary_encode().slice(1)])
    old, new = table(k=[1, 2, 3], s=texts.cast(pa.large_string())), table(k=[1, 2, 3], s=chunks)
    assert not compare_tables(old, new, Comparison(key=("k",))).differs
    assert not compare_tables(old, new, Comparison(key=("s", "k"))).differs


@pytest.mark.parametrize("text", [pa.string(), pa.string_view()])
def test_dictionaries_and_lists_of_views_are_compared_by_their_values(text):
    """Categories as polars has them, and lists that are views, differ where a value does."""
    old, new = ([["a"], [one]] for one in "bc")
    for kind in (pa.list_(text), pa.list_view(text)):
        sides = (table(v=pa.array(values, kind)) for values in (old, new))
        assert cells(compare_tables(*sides, Comparison())) == [({"row": 1}, "v", ["b"], ["c"])]
    sides = (table(v=pa.DictionaryArray.from_arrays(pa.array([1, 0]), pa.array([one, "a"], text))) for one in "bc")
    assert cells(compare_tables(*sides, Comparison())) == [({"row": 1}, "v", "b", "c")]


def test_a_nested_value_is_one_cell():
    """A list that differs, in whatever places."""
    old, new = table(k=[1, 2], v=[[1, 2], [NAN]]), table(k=[2, 1], v=[[NAN], [1, 3]])
    assert cells(compare_tables(old, new, Comparison(key=("k",)))) == [({"k": 1}, "v", [1, 2], [1, 3])]


def test_numbers_in_lists_and_structs_may_be_near():
    """What is beside them has to be equal, and there have to be as many."""
    old = table(v=[{"at": "1y", "rates": [1.0, NAN, None]}] * 5)
    others = [[1.001, NAN, None], [1.1, NAN, None], [1.0, NAN], [1.0, None, None]]
    new = table(v=[*({"at": "1y", "rates": some} for some in others), {"at": "2y", "rates": [1.0, NAN, None]}])
    found = compare_tables(old, new, Comparison(atol=0.01))
    assert [one.row["row"] for one in found.largest] == [1, 2, 3, 4]
    assert compare_tables(old, new, Comparison()).columns == {"v": 5}
    decimals = [table(v=[[Decimal("1.00")], [None]]), table(v=[[Decimal("1.01")], None])]
    assert compare_tables(*decimals, Comparison(rtol=0.01)).columns == {"v": 1}


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ({"a": [1]}, {"b": [1]}, (), "only the old table has the column 'a'"),
        ({"a": [1]}, {"a": [1], "b": [1]}, (), "only the new table has the column 'b'"),
        ({"a": [1]}, {"a": [1.5]}, (), "column 'a' is int64 in the old table and float64 in the new one"),
        ({"a": [1, 1, 2]}, {"a": [1, 2]}, ("a",), "1 key not unique in the old table, such as a=1; name more"),
        ({"a": [1], "v": [1]}, {"a": [2, 2], "v": [1, 1]}, ("a",), "1 key not unique in the new table"),
        ({"a": [1]}, {"a": [2]}, ("z",), "have no column 'z' to be a key; they have a"),
        ({"a": [[1]]}, {"a": [[2]]}, ("a",), "column 'a' is list<int64>, which cannot be a key"),
    ],
)
def test_what_cannot_be_compared_says_why(old, new, key, says):
    """One sentence, which is part of what is found."""
    found = compare_tables(table(**old), table(**new), Comparison(key=key))
    assert says in str(found.problem)
    assert found.differs


@pytest.mark.parametrize("key", [(), ("k",)])
def test_periods_are_compared_as_text(key):
    """They are called as pandas calls them, also where they are the key."""
    old, new = (
        take_table(pd.DataFrame({"k": pd.period_range("2026Q1", periods=2, freq="Q"), "p": periods}), "t")
        for periods in (pd.PeriodIndex([month, None], freq="M") for month in ("2026-01", "2026-03"))
    )
    row = {"k": "2026Q1"} if key else {"row": 0}
    assert cells(compare_tables(old, new, Comparison(key=key))) == [(row, "p", "2026-01", "2026-03")]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (pd.period_range("2026", periods=1, freq="h"), pd.period_range("2026", periods=1, freq="min"), "period[min]"),
        (pd.period_range("2026", periods=1, freq="D"), pd.PeriodIndex.from_ordinals([20454], freq="M"), "period[M]"),
        (pd.interval_range(0, 1), pd.interval_range(0, 1, closed="left"), "interval[left]"),
    ],
)
def test_other_frequencies_and_closed_sides_are_other_types(old, new, says):
    """What pandas means by them differs, be the numbers or the texts the same."""
    old, new = (take_table(pd.DataFrame({"v": side}), "t") for side in (old, new))
    found = compare_tables(old, new, Comparison())
    assert f"{says} in the new one; compare tables of the same types" in str(found.problem)
    assert found.differs
    assert old != new


@pytest.mark.parametrize("key", [(), ("k",)])
def test_periods_beside_numbers_are_compared_as_numbers(key):
    """Tables that were joined by versions before have the numbers."""
    old = table(k=[1, 2], p=[671, None])
    new = take_table(pd.DataFrame({"k": [1, 2], "p": pd.PeriodIndex(["2026-01", None], freq="M")}), "t")
    row = {"k": 1} if key else {"row": 0}
    assert cells(compare_tables(old, new, Comparison(key=key))) == [(row, "p", 671, 672)]
    assert cells(compare_tables(new, old, Comparison(key=key))) == [(row, "p", 672, 671)]


def test_decimals_of_two_scales_are_compared_exactly():
    """A price that is restated with more digits has another scale, as have those of a day that is all whole."""
    old, new = (
        table(k=["A", "B"], p=[Decimal("193.2"), Decimal(10)]),
        table(k=["A", "B"], p=[Decimal("193.27"), Decimal("10.00")]),
    )
    assert cells(compare_tables(old, new, Comparison(key=("k",)))) == [
        ({"k": "A"}, "p", Decimal("193.20"), Decimal("193.27"))
    ]
    assert cells(compare_tables(new, old, Comparison(key=("p",)))) == []
    large = Decimal("9" * 38)
    found = compare_tables(table(p=[large]), table(p=[Decimal("0.1")]), Comparison())
    assert cells(found) == [({"row": 0}, "p", large, Decimal("0.1"))]
    assert found.largest[0].delta == -1e38
    found = compare_tables(table(p=[Decimal("9" * 76)]), table(p=[Decimal("0.1")]), Comparison())
    assert "column 'p' does not become decimal(1) exactly (one has more than 75 digits before" in str(found.problem)


@pytest.mark.parametrize("form", [lambda x: x, lambda x: [x], lambda x: {"a": [None, x]}])
def test_a_decimal_is_not_taken_for_what_pyarrow_makes_of_it(form):
    """With 18 more digits it is above 2**128, and what is left of it is the other number."""
    one = -(-(2**128) // 10**18)
    other = Decimal(one * 10**18 - 2**128).scaleb(-18)
    old, new = table(p=[form(Decimal(one))]), table(p=[form(other)])
    assert cells(compare_tables(old, new, Comparison())) == [({"row": 0}, "p", form(Decimal(one)), form(other))]
    assert apart_from(old, new) is None
    restated = table(p=pa.array([form(Decimal(one)), form(other)])).to_arrow()
    assert apart_from(old, take_table(restated.slice(0, 1), "t")) == "the scale of decimals (p)"


def test_lists_of_nulls_take_the_other_type():
    """Those of which all are empty, too."""
    found = compare_tables(table(v=[[], [None]]), table(v=[[], [3]]), Comparison())
    assert cells(found) == [({"row": 1}, "v", [None], [3])]
    assert apart_from(table(v=[[]]), table(v=pa.array([[]], pa.list_(pa.int64())))) == "the type of an empty column (v)"
    assert apart_from(table(v=[Decimal("1.1")]), table(v=[Decimal("1.10")])) == "the scale of decimals (v)"


def test_a_column_of_nulls_takes_the_other_type():
    """A column that was never filled is no other type."""
    found = compare_tables(table(v=pa.nulls(2)), table(v=[None, 3]), Comparison())
    assert cells(found) == [({"row": 1}, "v", None, 3)]


@pytest.mark.parametrize("key", [(), ("k",)])
def test_a_table_without_rows_takes_the_types_of_the_other(key):
    """What pandas makes of no rows are floats and objects; all rows of the other are new, or gone."""
    some, how = table(k=["a", "b"], v=[1, 2]), Comparison(key=key)
    none = table(k=pa.array([], pa.float64()), v=pa.nulls(0))
    assert compare_tables(none, some, how).added == 2
    assert compare_tables(some, none, how).removed == 2
    assert compare_tables(table(k=pa.array([], pa.string()), v=pa.array([], pa.int64())), none, how).problem is None


def test_only_the_largest_changes_are_kept():
    """So many as were asked for; the counts are of all."""
    old, new = table(k=range(2000), v=[0] * 2000), table(k=range(2000), v=range(2000))
    found = compare_tables(old, new, Comparison(key=("k",), most=3))
    assert [one.new for one in found.largest] == [1999, 1998, 1997]
    assert found.columns == {"v": 1999}
    empty = compare_tables(table(k=pa.array([], pa.int64()), v=pa.array([], pa.int64())), new, Comparison(key=("k",)))
    assert (empty.added, len(empty.added_rows)) == (2000, 1000)


ROWS = st.dictionaries(
    st.tuples(st.integers(0, 4) | st.none(), st.sampled_from(["a", "b", ""])), st.integers(0, 3), max_size=9
)


@settings(max_examples=60)
@given(old=ROWS, new=ROWS, seed=st.integers(0, 9), part_bytes=st.sampled_from([1, 64, PART_BYTES]))
def test_it_is_what_a_dict_says(old, new, seed, part_bytes):
    """For any rows in any order, in memory and in parts on disk: what was added, removed and changed."""

    def made(rows):
        keys = list(rows)
        random.Random(seed).shuffle(keys)
        columns = {"i": [k[0] for k in keys], "s": [k[1] for k in keys], "v": [rows[k] for k in keys]}
        return table(
            **{name: pa.array(column, pa.string() if name == "s" else pa.int64()) for name, column in columns.items()}
        )

    found = compare_tables(made(old), made(new), Comparison(key=("i", "s"), part_bytes=part_bytes))
    assert found.problem is None
    assert {(c.row["i"], c.row["s"]): (c.old, c.new) for c in found.largest} == {
        key: (value, new[key]) for key, value in old.items() if key in new and new[key] != value
    }
    assert {(row["i"], row["s"]) for row in found.added_rows} == new.keys() - old.keys()
    assert {(row["i"], row["s"]) for row in found.removed_rows} == old.keys() - new.keys()


@pytest.mark.parametrize(
    "keys",
    [
        [-3, -2, 5, 0],
        [date(1969, 12, 31), date(2026, 1, 9), date(1970, 1, 1), date(2012, 10, 26)],
        [-(2**63), 2**63 - 1, 0, 1],
        pa.array([2**64 - 1, 0, 1, 2], pa.uint64()),
    ],
)
def test_keys_are_told_apart_whatever_numbers_they_are(keys):
    """Close together or far apart, before and after zero, as dates or as numbers."""
    found = compare_tables(table(k=keys, v=[1, 2, 3, 4]), table(k=keys[::-1], v=[4, 3, 2, 9]), Comparison(key=("k",)))
    assert [(c.row["k"], c.old, c.new) for c in found.largest] == [(pa.array(keys)[0].as_py(), 1, 9)]
    assert (found.added, found.removed, found.cells) == (0, 0, 1)


class Made:
    """Reads a table that is made as it is read: ten keys of its own, and ten cells that the other side has not."""

    def __init__(self, rows: int, side: int) -> None:
        self.rows, self.side = rows, side

    @contextmanager
    def opened(self):
        yield self

    def batches(self, columns, where, rows):
        for start in range(0, self.rows, min(rows, 4000)):
            place = np.arange(start, min(start + min(rows, 4000), self.rows))
            if self.side:
                place = self.rows - 1 - place
            day = np.where(place % (self.rows // 10) == 5, -1 - 2 * place - self.side, place // 5)
            value = np.where(place % (self.rows // 10) == 3, place * (self.side + 1), place % 97 / 8)
            made = {"day": day, "symbol": place % 5, "v": value, "w": place}
            batch = pa.RecordBatch.from_pydict(made)
            yield batch if columns is None else batch.select(columns)


def pair(rows: int) -> tuple[Table, Table]:
    """Return two such tables, in opposite order."""
    found = []
    for side in range(2):
        reference = TableReference(rows=rows, columns=None, size=0, digest=str(side), checksum="", path="made")
        found.append(Table(reference))
        found[-1]._reader = Made(rows, side)
    return found[0], found[1]


def peak(rows: int, key: tuple[str, ...]) -> int:
    """Return the most memory that a comparison of so many rows has, in parts of about 2,500."""
    old, new = pair(rows)
    before = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counted)
    tracemalloc.start()
    try:
        found = compare_tables(old, new, Comparison(key=key, part_bytes=100_000, most=100))
        assert (found.columns, found.added, found.removed) == ({"v": 10}, 10, 10) or not key
        return counted.max_memory() + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


@pytest.mark.parametrize("key", [("day", "symbol"), ()])
def test_memory_stays_flat(key):
    """With four times as many rows, by key and by position: one or two parts of each table are held."""
    assert peak(80_000, key) < 2 * peak(20_000, key)


def test_the_largest_changes_are_the_same_in_parts():
    """And the first rows that were added and removed: how many parts there are makes no difference."""
    old, new = pair(2000)
    for most in (1, 1000):
        found = [
            compare_tables(old, new, Comparison(key=("day", "symbol"), most=most, part_bytes=size))
            for size in (8000, 30_000, PART_BYTES)
        ]
        assert found[0] == found[1] == found[2]
        assert len(found[0].added_rows) == min(most, 10)


def test_keys_that_are_not_unique_are_counted_over_all_parts():
    """With the first row of one, however the rows are sorted; a key with many rows does not need them in memory."""
    old = table(k=[*range(1000), *range(10, 15)], v=[0.5] * 1005)
    problem = compare_tables(old, table(k=[1, 1], v=[0.5] * 2), Comparison(key=("k",), part_bytes=200)).problem
    assert problem == "5 keys not unique in the old table, such as k=10; name more columns"
    same = table(k=["A"] * 1000, v=range(1000))
    problem = compare_tables(table(k=["A"], v=[1]), same, Comparison(key=("k",), part_bytes=200)).problem
    assert problem == "1 key not unique in the new table, such as k=A; name more columns"


def test_no_room_for_temporary_files_is_one_sentence(monkeypatch, tmp_path):
    """It says where they would be."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    old, new = pair(100)
    with pytest.raises(ArtifactError, match="temporary files in .*gone cannot be written .No such file .* set TMPDIR"):
        compare_tables(old, new, Comparison(key=("day", "symbol"), part_bytes=1))
    assert compare_tables(old, new, Comparison(key=("day", "symbol"))).cells == 10


def test_each_file_is_opened_once():
    """However many columns there are."""
    opened = []

    def counting(last):
        made = Table(table(a=[1, 2], b=[1, last], c=["x", "y"]).reference)
        open_bytes = made._open()._open
        made._reader = ParquetTable(made.reference, lambda: opened.append(last) or open_bytes(), "the table")
        return made

    assert compare_tables(counting(2), counting(3), Comparison(key=("a",))).columns == {"b": 1}
    assert opened == [2, 3]
