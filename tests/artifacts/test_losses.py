"""What Arrow or Parquet would lose without a word is refused, naming the column and the remedy, or kept."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import itertools
import logging
import pickle
import subprocess
import sys
import uuid
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.tseries import offsets

from flowctx import PlainDataError, StepResult, Table
from flowctx.artifacts.frames import source_of
from stored_tables import stored

EAST = dt.timezone(dt.timedelta(hours=5, minutes=30))


NESTED = pa.table({"c": pa.DictionaryArray.from_arrays(pa.array([0]), pa.array([{"a": 1}]))})


class Unhashable(pa.ExtensionType):
    """A type as pyarrow's documentation makes them."""

    def __init__(self):
        super().__init__(pa.int64(), "tests.unhashable")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls()


def objects(*values):
    return pd.DataFrame({"o": pd.Series(values, dtype=object)})


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([pd.Timestamp("2024-01-01T00:00:00.123456789")], "times with nanoseconds"),
        ([dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 5, tzinfo=dt.UTC)], "values of date and datetime"),
        ([dt.time(1, tzinfo=dt.UTC)], "times with a zone"),
        ([decimal.Decimal("NaN"), decimal.Decimal(1)], r"Decimal\('NaN'\)"),
        ([np.float32(1.1), 1.1], "values of float and float32"),
        ([1, float("nan")], "values of float and int"),
        ([1, 1.5], "values of float and int"),
        ([True, 1], "values of bool and int"),
        ([b"a", "b"], "values of bytes and str"),
        ([{1, 2}], "values of set"),
        ([{"a": 1}, {"b": 2}], "dicts with different keys"),
        ([{1: 2}], "dicts with the key 1"),
        ([[1, "a"]], "values of int and str"),
        ([[1, 1.5]], "values of float and int"),
        ([{"a": [dt.time(1, tzinfo=dt.UTC)]}], "times with a zone"),
        ([dt.datetime(2024, 1, 1, tzinfo=EAST), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], "times in zones"),
        ([dt.datetime(2024, 1, 1, tzinfo=EAST)], "times in zones"),
        ([1 + 2j], "values of complex"),
        ([uuid.UUID(int=1)], "values of UUID"),
        ([object()], "values of object"),
        ([1, 2**70], "integers of more than 64 bits"),
        ([-(2**63) - 1, None], "integers of more than 64 bits"),
        ([2**63], "integers of more than 64 bits"),
        ([[1], [2**63]], "integers of more than 64 bits"),
        ([{"a": 2**70}], "integers of more than 64 bits"),
    ],
)
def test_an_object_column_that_arrow_would_change_is_refused(values, what):
    """The message names the way to the frame, what is in it, the column and the remedy."""
    with pytest.raises(PlainDataError, match=rf"output\['rows'\] has {what}.*'o.*; (convert|use|give)"):
        StepResult.ok({"rows": objects(*values)})


@pytest.mark.parametrize(
    "values",
    [
        ["a", None, float("nan"), "b"],
        [1, None, 3],
        [-(2**63), 2**63 - 1],
        [decimal.Decimal(2**70)],
        [decimal.Decimal("1.50"), decimal.Decimal("2.5"), None],
        [dt.date(2024, 1, 1), None],
        [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), pd.NaT],
        [b"x", b""],
        [[1, 2], [], None],
        [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
        [True, None],
    ],
)
def test_an_object_column_of_one_type_comes_back(values):
    """Values are what they were; what is missing in pandas' sense is missing."""
    table = stored(objects(*values))
    expected = [None if not isinstance(v, (list, dict)) and pd.isna(v) else v for v in values]
    assert table.to_arrow()["o"].to_pylist() == expected


def test_an_extension_type_without_a_hash_is_refused():
    """With what to do, whether pyarrow knows the type by its name or not."""
    table = pa.table({"a": pa.ExtensionArray.from_storage(Unhashable(), pa.array([1]))})
    pa.register_extension_type(Unhashable())
    try:
        with pytest.raises(PlainDataError, match=r"column 'a', an .* give its class __hash__, or store array\.storage"):
            stored(table)
    finally:
        pa.unregister_extension_type("tests.unhashable")
    with pytest.raises(PlainDataError, match="cannot write as Parquet: .* vs a: extension<tests.unhashable"):
        stored(table)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (pa.decimal256(50, 2), "its decimals have at most 38 digits"),
        (pa.decimal256(20, 2), "at most 38 digits"),
        (pa.list_(pa.decimal256(50, 2)), "at most 38 digits"),
        (pa.dictionary(pa.int8(), pa.decimal256(50, 2)), "at most 38 digits"),
        (pa.timestamp("us", "+05:30"), "time zone"),
    ],
    ids=str,
)
@pytest.mark.parametrize("rows", [0, 1])
def test_what_polars_cannot_hold_is_named(kind, why, rows):
    """With the column and the remedy, where it panics, too; the other columns are read."""
    table = stored(pa.table({"n": pa.nulls(rows, pa.int64()), "x": pa.nulls(rows, kind)}))
    for read in (table.to_polars, table.scan_polars):
        with pytest.raises(PlainDataError, match=rf"column 'x', which polars cannot hold \(.*{why}.*columns=\[...\]"):
            read()
    assert table.to_polars(columns=["n"]).height == rows
    assert len(table.to_pandas()) == table.to_arrow().num_rows == rows


def test_addresses_are_no_values():
    """Of polars' Object columns Arrow gets raw pointers: they are refused, lazily too."""
    frame = pl.DataFrame({"o": [object()]}, schema={"o": pl.Object})
    for value in (frame, frame.lazy()):
        with pytest.raises(
            PlainDataError, match=r"Python objects in column 'o', of which Arrow would keep only the addr"
        ):
            source_of(value, "output")


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "has the column 'a' more than once; rename one of them"),
        (objects("\ud800"), r"text that is not UTF-8 in column 'o'.*lone surrogates, such as '\\ud800'\); mend it"),
        (objects(["\ud800"]), "text that is not UTF-8 in column 'o'"),
        (pd.DataFrame({"a": [1]}, index=pd.Index(["\ud800"], dtype=object, name="i")), "not UTF-8 in column 'i'"),
        (
            objects(decimal.Decimal("1E+40"), decimal.Decimal("1E-40")),
            "decimals in column .o.* precision .*round",
        ),
        (objects(np.zeros((2, 2))), "arrays of 2 dimensions in column 'o', which Arrow cannot hold; make lists"),
        (objects([np.zeros((2, 2))]), "arrays of 2 dimensions in column 'o'"),
        ((x for x in ()), "generator that yields nothing, so that nobody knows its columns; yield a batch without"),
        (pd.DataFrame([[1, 2]], columns=["a", 1]), "columns named by int and str"),
        (pd.DataFrame([[1, 2]], columns=[dt.date(2026, 1, 5), dt.date(2026, 1, 6)]), "columns named by values of date"),
        (pd.DataFrame([[1, 2]], columns=pd.period_range("2026-01", periods=2, freq="M")), r"named by values of period"),
        (pd.DataFrame([[1, 2]], columns=pd.CategoricalIndex(["a", "b"])), "named by values of category.*columns.map"),
        (pd.DataFrame([[1, 2]], columns=[True, False]), "columns named by values of bool"),
        (
            pd.DataFrame({"c": pd.cut([1, 5], [0, 3, 6])}),
            "intervals as categories in column 'c'.*give pandas.cut labels",
        ),
        (NESTED, "column 'c'.*categories that are"),
        (pd.DataFrame(index=range(3)), "3 rows and no columns"),
        (pd.DataFrame({"c": [1j]}), "complex128 in column 'c'"),
        (pd.DataFrame({"s": pd.arrays.SparseArray([0, 1])}), "Sparse"),
        (pd.Series([1], name="a"), "one column without a frame; use .to_frame()"),
        (pl.Series([1]), "one column without a frame"),
        (pa.table({"a": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}), "interval in column 'a'"),
        (pa.table({"a": pa.nulls(1, pa.struct([]))}), "struct"),
        (pa.table({"a": pa.nulls(1, pa.decimal128(10, -2))}), "'a', .*decimals of a negative scale"),
        (pa.table({"a": pa.array([2**60], pa.timestamp("s"))}), "column 'a' that Parquet .*out of bounds"),
        (pa.table({"a": pa.array([2**60] * 5000, pa.timestamp("s"))}), "column 'a' that Parquet .*out of bounds"),
        (pa.table({"a": pa.array([[2**60]], pa.list_(pa.timestamp("s")))}), "column 'a' that Parquet .*out of bounds"),
        (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), "'a' more than once"),
        (pa.table({"a": pa.array([["x"]], pa.list_(pa.dictionary(pa.int8(), pa.string())))}), "categories inside"),
        (
            pl.DataFrame({"i": pl.Series([1], dtype=pl.Int128)}),
            "Int128 in column 'i', which Arrow cannot hold; cast it",
        ),
        (pl.LazyFrame({"i": [[1]]}, schema={"i": pl.List(pl.Int128)}), r"List\(Int128\) in column 'i'"),
    ],
)
def test_what_cannot_be_stored_is_refused(frame, what):
    """Each refusal is ours, and says what is wrong."""
    with pytest.raises(PlainDataError, match=what):
        stored(frame)


def test_a_reader_is_read_once():
    """Where a reader or generator stands twice, the second one would find it empty: it is refused."""
    reader = pa.table({"a": [1, 2]}).to_reader()
    with pytest.raises(PlainDataError, match=r"output\['b'\] can be read only once.*read_all\(\)"):
        StepResult.ok({"a": reader, "b": reader})
    batches = (batch for batch in pa.table({"a": [1, 2]}).to_batches())
    source = source_of(batches, "output")
    assert source.write(io.BytesIO()).rows == 2
    with pytest.raises(PlainDataError, match="can be read only once"):
        source.write(io.BytesIO())


def test_batches_of_two_schemas_are_refused():
    """A generator whose batches change their columns half way is refused, with both."""
    frames = (frame for frame in [pd.DataFrame({"a": [1]}), pd.DataFrame({"a": ["x"]})])
    with pytest.raises(PlainDataError, match="'a' is .*string in batch 2 and int64 in the first; give all batches one"):
        stored(frames)
    frames = (pd.DataFrame({name: []}) for name in "ab")
    with pytest.raises(PlainDataError, match="batch 2 has the columns b, the first a; give all batches one schema"):
        stored(frames)
    schemas = (pa.schema([pa.field("a", pa.int64(), nullable)]) for nullable in (False, True))
    batches = (pa.record_batch([[value]], schema=schema) for value, schema in zip((1, None), schemas, strict=True))
    with pytest.raises(PlainDataError, match="'a' has nulls in batch 2, and the first allows none; give all batches"):
        stored(batches)


DAY = dt.date(2026, 1, 5)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ([decimal.Decimal("193.27")], [decimal.Decimal("12345678.9"), None]),
        ([DAY], [None]),
        ([DAY], []),
        ([{"a": [1]}], [{"a": []}, {"a": None}]),
        ([{"a": decimal.Decimal("1.25")}], [{"a": decimal.Decimal("1.5")}, None]),
        ([[decimal.Decimal("1.25")]], [[decimal.Decimal("12345.5")]]),
    ],
)
def test_batches_take_the_types_of_the_first(first, other):
    """Pandas chooses those of decimals, and of what is null, by the values of each frame."""
    found = stored(objects(*values) for values in (first, other, first))
    assert found.to_arrow()["o"].to_pylist() == [*first, *other, *first]


def test_decimals_fit_whatever_is_beside_them():
    """In a struct with a map, which is the same in all batches."""
    kinds = [
        pa.struct({"d": pa.decimal128(*digits), "m": pa.map_(pa.string(), pa.int64())}) for digits in ((5, 2), (3, 1))
    ]
    batches = (pa.record_batch({"c": pa.array([{"d": decimal.Decimal("1.5"), "m": [("k", 1)]}], k)}) for k in kinds)
    assert [row["d"] for row in stored(batches).to_arrow()["c"].to_pylist()] == [decimal.Decimal("1.5")] * 2


@pytest.mark.parametrize(
    ("first", "other", "what"),
    [
        (decimal.Decimal("193.2"), decimal.Decimal("193.27"), r"'o' is .*5, 2.* in batch 2 and .*1.* largest scale"),
        (None, DAY, "'o' is date32.* in batch 2 and null in the first; the first has no value there: give it the type"),
        ([decimal.Decimal("1.2")], [decimal.Decimal("1.25")], "'o' is list<.* in batch 2 and list<.* largest scale"),
        (decimal.Decimal("1.25"), decimal.Decimal("1" * 37), "one has too many digits for the first: give all batches"),
        (DAY, 1, "'o' is int64 in batch 2 and date32"),
    ],
)
def test_batches_that_do_not_fit_are_refused(first, other, what):
    """With the column, the types and the remedy."""
    with pytest.raises(PlainDataError, match=what):
        stored(objects(value) for value in (first, other))


@pytest.mark.parametrize(
    "frames",
    [
        [pd.DataFrame({"c": ["x"]}), pd.DataFrame({"c": [float("nan")]})],
        [pd.DataFrame({"c": pd.Categorical(["x"], ordered=True)}), pd.DataFrame({"c": [float("nan")]})],
        [pd.DataFrame({"c": pd.Categorical(["x"])}), pd.DataFrame({"c": pd.Categorical([None], categories=[1.5])})],
        [pd.DataFrame({"c": pd.to_datetime(["2026-01-05"])}), pd.DataFrame({"c": pd.to_datetime([None]).as_unit("s")})],
        [pl.DataFrame({"c": ["x"]}, schema={"c": pl.Enum(["x"])}), pl.DataFrame({"c": [None]})],
    ],
    ids=["text", "an order", "categories", "times", "an Enum"],
)
def test_a_column_without_values_fits_any_type(frames):
    """A later chunk of a file may have an empty column, which pandas calls numbers."""
    first, none, last = stored(frame for frame in [*frames, frames[0]]).to_arrow()["c"].to_pylist()
    assert (none, last) == (None, first)
    assert first is not None


def ordered(*values, of):
    return pd.DataFrame({"c": pd.Categorical(values, categories=of, ordered=True)})


def enum(*values, of):
    return pl.DataFrame({"c": values}, schema={"c": pl.Enum(of)})


@pytest.mark.parametrize(
    "frames",
    [
        [ordered("A", "CCC", of=["A", "CCC"]), ordered("BB", of=["A", "BB", "CCC"])],
        [ordered("A", of=["A", "B"]), ordered("A", of=["B", "A"])],
        [enum("A", of=["A", "B"]), enum("mid", of=["A", "mid", "B"])],
        [enum(of=["A", "B"]), enum("mid", of=["A", "mid", "B"])],
    ],
)
def test_batches_of_two_orders_of_categories_are_refused(frames):
    """A rating between two others cannot be put at the end, and polars knows no value that its Enum has not."""
    pieces = "two pieces of it have other ones; give all the same ones"
    others = pieces if isinstance(frames[0], pd.DataFrame) else "batch 2 has others than the first; give all the same"
    with pytest.raises(PlainDataError, match=f"an order in column 'c', and {others}"):
        stored(frame for frame in frames)
    if isinstance(frames[0], pd.DataFrame):
        with pytest.raises(PlainDataError, match=f"an order in column 'c', and {pieces}"):
            stored(pa.concat_tables([pa.table(frame) for frame in frames]))


def test_batches_may_have_new_categories_at_the_end():
    """Where they have no order, or a batch has none yet."""
    plain = (pd.DataFrame({"c": pd.Categorical([one])}) for one in "BA")
    assert list(stored(plain).to_pandas().c.cat.categories) == ["B", "A"]
    many = [str(number) for number in range(200)]
    growing = (pd.DataFrame({"c": pd.Categorical(some)}) for some in (["0"], many))
    assert stored(growing).to_pandas().c.tolist() == ["0", *many]
    columns = (
        pa.DictionaryArray.from_arrays(pa.array([at], pa.int8()), pa.array(of, pa.string()), ordered=True)
        for at, of in ((None, []), (1, ["B", "A"]))
    )
    found = stored(pa.record_batch({"c": column}) for column in columns).to_pandas().c
    assert (list(found.cat.categories), found.cat.ordered, found[1]) == (["B", "A"], True, "A")


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(5, 7)),
        pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(2, name="k")),
        pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(8, 2, -3)),
        pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="k")),
        pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", "n"])),
        pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2024-01-01", periods=2, freq="B", tz="America/New_York")),
        pd.DataFrame({"a": [1, 2, 3]}, index=pd.date_range("2024-01-31", periods=3, freq="ME", name="month")),
        pd.DataFrame({"c": pd.Categorical(["lo", "hi"], categories=["lo", "mid", "hi"], ordered=True)}),
        pd.DataFrame({"c": pd.Categorical([1, 2], categories=pd.Index([2, 1, 3], dtype="int8"))}),
        pd.DataFrame({"t": pd.array(["2024-01-01", None], dtype="datetime64[s]")}),
        pd.DataFrame({"t": pd.to_timedelta([1, 2], unit="s")}),
        pd.DataFrame({"i": pd.array([1, None], dtype="Int64"), "b": pd.array([True, None], dtype="boolean")}),
        pd.DataFrame({"f": [1.5, float("nan")]}),
        pd.DataFrame({"p": pd.period_range("2024-01", periods=2, freq="M")}),
        pd.DataFrame({"a": [1, 2]}, index=pd.period_range("2024-01", periods=2, freq="M", name="month")),
        pd.DataFrame({"a": [1, 2]}, index=pd.period_range("2024-01", periods=2, freq="Q")),
        pd.DataFrame({"a": [1, 2]}, index=pd.timedelta_range("1D", periods=2)),
        pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2026-01-16", periods=2, freq="WOM-3FRI")),
        pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2026-01-02", periods=2, freq=2 * offsets.BDay())),
        pd.DataFrame({"v": pd.arrays.IntervalArray.from_breaks([0, 1, 2])}),
        pd.DataFrame({0: [1], 1: [2]}),
        pd.DataFrame([[1, 2]], columns=pd.DatetimeIndex(["2026-01-05", "2026-01-09"], name="day")),
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])),
        pd.DataFrame({"a": []}, dtype="float64"),
        pd.DataFrame({"t": pd.to_datetime(["2024-01-01T00:00:00.123456789"]).tz_localize("Europe/Berlin")}),
    ],
    ids=lambda frame: "-".join(map(str, frame.dtypes))[:30] + type(frame.index).__name__,
)
def test_a_pandas_frame_comes_back_as_it_was(frame):
    """Index, frequency, categories and their order, dtypes and units are there again."""
    found = stored(frame)
    back = found.to_pandas()
    pd.testing.assert_frame_equal(back, frame, check_freq=True)
    assert getattr(back.index, "freq", None) == getattr(frame.index, "freq", None)


def test_ids_in_even_steps_are_a_column():
    """They are RangeIndexes of pandas, and are found by filters and other libraries, and make another table."""
    frames = [pd.DataFrame({"id": ids, "x": [1.0, 2.0]}).set_index("id") for ids in ([100, 101], [900, 910])]
    one, other = map(stored, frames)
    assert one.columns == other.columns == {"x": "float64", "id": "int64"}
    assert one.digest != other.digest
    pd.testing.assert_frame_equal(other.to_pandas(where=[("x", ">", 1)]), frames[1].loc[910:])
    assert stored(frame for frame in frames).to_polars()["id"].to_list() == [100, 101, 900, 910]


def test_chunks_of_a_file_need_no_index():
    """Their default index counts the rows of the whole file, or of each chunk: the order says as much."""
    rows = pd.DataFrame({"x": range(5)})
    for chunks in ([rows[:2], rows[2:3], rows[3:]], [rows[:2], rows[:3]]):
        table = stored(chunk for chunk in chunks)
        assert table.columns == {"x": "int64"}
        assert list(table.to_pandas().index) == [0, 1, 2, 3, 4]
    left_out = stored(chunk for chunk in [rows[:1], rows[2:3], rows[4:]])
    assert (left_out.columns, list(left_out.to_pandas().index)) == ({"x": "int64"}, [0, 1, 2])
    for first, second in ((rows[1:2], rows[3:]), (rows[1:2], rows[1:3]), (rows[3:4], rows[:1])):
        kept = [*first.index, *second.index]
        assert list(stored(chunk for chunk in [first, second]).to_pandas().index) == kept


def test_ids_in_even_steps_of_before_are_read():
    """They were kept beside the columns."""
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(5, 7, name="k"))
    pd.testing.assert_frame_equal(stored(pa.Table.from_pandas(frame)).to_pandas(), frame)


def test_periods_come_back_in_another_process(tmp_path):
    """As on every engine: pyarrow knows pandas' types only once pandas has made one."""
    frame = pd.DataFrame({"p": pd.interval_range(0, 2)}, index=pd.period_range("2024-01", periods=2, freq="M"))
    file = tmp_path / "table"
    file.write_bytes(pickle.dumps(stored(frame).reference))
    code = (
        "import pickle, sys\n"
        "from flowctx import Table\n"
        "table = Table(pickle.load(open(sys.argv[1], 'rb')))\n"
        "names, frame = list(table.columns), table.to_pandas()\n"
        "print(names[0], frame['p'].dtype, frame.index.dtype)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)
    assert done.stdout == "p interval[int64, right] period[M]\n"


def test_an_index_of_periods_whose_frequency_was_kept_beside_it_is_read():
    """Versions before kept it, as of an index of times; in the type of periods it is anyway."""
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.period_range("2024-01", periods=2, freq="M", name="month"))
    source, file = source_of(frame, "output"), io.BytesIO()
    source.freq = "M"
    reference = replace(source.write(file), data=file.getvalue())
    pd.testing.assert_frame_equal(Table(reference).to_pandas(), frame)


@pytest.mark.parametrize(
    "freq",
    [
        offsets.CustomBusinessDay(holidays=["2026-01-19"]),
        offsets.DateOffset(months=1),
        offsets.BusinessHour(start="09:30", end="16:00"),
    ],
    ids=lambda freq: freq.freqstr,
)
def test_a_frequency_whose_name_does_not_say_all_of_it_is_left_out(freq, caplog):
    """With a warning; the frame is read, and no other one is made up. So is a table of before, which kept the name."""
    frame = pd.DataFrame({"x": range(30)}, index=pd.date_range("2026-01-02", periods=30, freq=freq))
    with caplog.at_level(logging.WARNING, "flowctx"):
        source, file = source_of(frame, "output"), io.BytesIO()
    assert f"the frequency {freq!r}, which is not kept" in caplog.text
    back = stored(frame).to_pandas()
    pd.testing.assert_frame_equal(back, frame, check_freq=False)
    assert back.index.freq is None
    source.freq = freq.freqstr
    before = Table(replace(source.write(file), data=file.getvalue()))
    pd.testing.assert_frame_equal(before.to_pandas(), frame, check_freq=False)


def test_a_polars_frame_comes_back_as_it_was():
    """Enums and their categories, categoricals, time zones and nested columns are there again."""
    frame = pl.DataFrame(
        {
            "e": pl.Series(["b", "a", None], dtype=pl.Enum(["b", "x", "a"])),
            "c": pl.Series(["q", None, "r"], dtype=pl.Categorical),
            "t": pl.Series([1, 2, None], dtype=pl.Datetime("ms", "Asia/Tokyo")),
            "l": [["x"], [], None],
            "s": [{"a": 1, "b": "x"}, {"a": None, "b": ""}, None],
            "n": [1.5, float("nan"), None],
            "d": pl.Series([decimal.Decimal("1.10"), None, None], dtype=pl.Decimal(10, 2)),
        }
    )
    table = stored(frame)
    for back in (table.to_polars(), pl.DataFrame(table)):
        assert back.schema == frame.schema
        assert back.equals(frame, null_equal=True)


def test_equal_content_keeps_the_form_of_each_writer():
    """Frames that differ only in categories or the name of the columns have one digest, and come back as they were."""
    plain = pl.DataFrame({"c": ["lo", "hi"]})
    ordered = pd.DataFrame(
        {"c": pd.Categorical(["lo", "hi"], ["lo", "mid", "hi"], ordered=True)}, columns=pd.Index(["c"], name="names")
    )
    one, two = stored(plain), stored(ordered)
    assert one == two
    assert one.digest == two.digest
    assert one.to_polars().schema == plain.schema
    pd.testing.assert_frame_equal(two.to_pandas(), ordered)


@pytest.mark.parametrize(("index", "few"), [(pa.int8(), 100), (pa.uint8(), 200), (pa.int32(), 100)], ids=str)
def test_batches_have_categories_of_their_own(index, few):
    """Together they may be more than the numbers of a batch can tell apart: then larger numbers do."""
    texts = [[f"{name}{i}" for i in range(few)] for name in "ab"]
    batches = [
        pa.record_batch({"c": pa.DictionaryArray.from_arrays(pa.array(range(few), index), some)}) for some in texts
    ]
    table = stored(batch for batch in batches)
    wide = {pa.int8(): pa.int16(), pa.uint8(): pa.uint16()}.get(index, index)
    for back in (table.to_arrow(), pa.table(table), pa.Table.from_batches(table.batches())):
        assert back.schema.types == [pa.dictionary(wide, pa.string())]
        assert back.column("c").to_pylist() == texts[0] + texts[1]
    assert table.to_polars()["c"].to_list() == texts[0] + texts[1]


@given(st.lists(st.lists(st.integers(0, 30), max_size=9, unique=True), min_size=1, max_size=9))
def test_categories_of_many_batches_are_in_the_order_in_which_they_come(batches):
    """Whichever of them a batch has, and however often."""
    columns = (
        pa.DictionaryArray.from_arrays(pa.array(range(len(some)), pa.int8()), pa.array(some, pa.int64()))
        for some in batches
    )
    found = stored(pa.record_batch({"c": column}) for column in columns).to_pandas()["c"]
    values = list(itertools.chain.from_iterable(batches))
    assert (found.cat.categories.tolist(), found.tolist()) == (list(dict.fromkeys(values)), values)


def test_frames_have_categories_of_their_own():
    """Of pandas, which numbers those of each frame with the smallest type."""
    texts = [[f"{name}{i}" for i in range(100)] for name in "ab"]
    table = stored(pd.DataFrame({"c": pd.Categorical(some)}) for some in texts)
    assert table.to_pandas()["c"].tolist() == texts[0] + texts[1]


def test_an_index_that_a_filter_left_is_kept_and_said(caplog):
    """It becomes a column, which may not be meant: a warning says how to get rid of it."""
    frame = pd.DataFrame({"a": [1, 2, 3, 4]})
    with caplog.at_level(logging.WARNING, "flowctx"):
        found = stored(frame[frame["a"].isin([1, 3, 4])])
    assert list(found.columns) == ["a", "__index_level_0__"]
    assert "frame.reset_index(drop=True)" in caplog.text
    assert found.to_pandas().index.tolist() == [0, 2, 3]


def test_libraries_agree_on_the_digest():
    """pandas, polars, DuckDB and pyarrow make one table of the same rows."""
    frame = pl.DataFrame({"i": [1, 2, None], "f": [1.5, -0.0, None], "s": ["a", "", None], "b": [True, None, False]})
    relation = duckdb.connect().from_arrow(frame.to_arrow())
    nullable = frame.to_pandas(use_pyarrow_extension_array=True)
    digests = {stored(value).digest for value in (frame, frame.lazy(), frame.to_arrow(), relation, nullable)}
    assert len(digests) == 1
    assert stored(frame.with_columns(f=pl.Series([1.5, 0.0, None]))).digest not in digests
