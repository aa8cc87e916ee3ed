"""The tables of several partitions as one: exact, or refused with both partitions named."""

import io
from datetime import UTC, date, datetime
from decimal import Context, Decimal, localcontext
from zoneinfo import ZoneInfo

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flowctx import Outputs, PartitionKey, PlainDataError
from flowctx.artifacts.export import write_csv
from flowctx.artifacts.joined_batches import joined_batches
from flowctx.core.data.tables import take_table


def outputs(*tables):
    """Outputs of days in January, each with a table."""
    keys = [PartitionKey(date=f"2026-01-0{n}", fund="A") for n in range(5, 5 + len(tables))]
    return Outputs({key: {"rows": table} for key, table in zip(keys, tables, strict=True)})


def test_dimensions_come_before_the_columns():
    """Each row says of which partition it is, in the order of the partitions."""
    joined = outputs(pa.table({"x": [1, 2]}), pa.table({"x": [3]})).table("rows")
    assert joined.to_arrow().to_pydict() == {
        "date": ["2026-01-05", "2026-01-05", "2026-01-06"],
        "fund": ["A", "A", "A"],
        "x": [1, 2, 3],
    }
    assert (joined.rows, list(joined.columns)) == (3, ["date", "fund", "x"])


def test_every_reader_reads_it():
    """pandas, polars, pyarrow, batches, and whatever speaks Arrow."""
    joined = outputs(pd.DataFrame({"x": [1, 2]}), pl.DataFrame({"x": [3]})).table("rows")
    assert joined.to_pandas(columns=["x"]).x.tolist() == [1, 2, 3]
    assert joined.to_polars().get_column("x").to_list() == [1, 2, 3]
    assert joined.scan_polars().collect().height == 3
    with pytest.raises(PlainDataError, match="the joined table has .* in column 'x', which polars cannot hold"):
        outputs(pa.table({"x": pa.nulls(1, pa.decimal256(50, 2))})).table("rows").scan_polars()
    assert joined.dataset().count_rows() == 3
    assert [batch.num_rows for batch in joined.batches(rows=2)] == [2, 1]
    assert pa.table(joined).num_rows == 3
    assert joined.head(1) == [{"date": "2026-01-05", "fund": "A", "x": 1}]
    assert joined.to_arrow(where=[("x", ">", 1)]).num_rows == 2
    with pytest.raises(PlainDataError, match="no column 'y'"):
        joined.to_arrow(columns=["y"])
    with pytest.raises(PlainDataError, match=r"columns='x' is one text; pass a list: columns=\['x'\]"):
        joined.to_pandas(columns="x")


def test_columns_of_views_are_joined_with_their_values():
    """What polars has as categories, and lists and texts that are views, are joined as plain values."""
    frames = [pl.DataFrame({"c": pl.Series([one, None], dtype=pl.Categorical)}) for one in "ab"]
    assert outputs(*frames).table("rows").to_polars().get_column("c").to_list() == ["a", None, "b", None]
    enums = [pl.DataFrame({"c": pl.Series([one], dtype=pl.Enum(["a", "b"]))}) for one in "ab"]
    assert outputs(*enums).table("rows").to_pandas().c.tolist() == ["a", "b"]
    lists = [pa.table({"c": pa.array([[one], [one, "c"]], pa.list_view(pa.string_view()))}) for one in "ab"]
    assert outputs(*lists).table("rows").to_arrow().column("c").to_pylist() == [["a"], ["a", "c"], ["b"], ["b", "c"]]


def test_periods_and_intervals_stay_what_they_are():
    """As pandas has them; in rows, a period is text, not the number of months since 1970."""
    frames = [
        pd.DataFrame({"p": pd.PeriodIndex([month, None], freq="M"), "i": pd.interval_range(0, 2)})
        for month in ("2026-01", "2026-02")
    ]
    joined = outputs(*frames, pa.table({"p": pa.nulls(1), "i": pa.nulls(1)})).table("rows")
    found = joined.to_pandas(columns=["p", "i"])
    pd.testing.assert_frame_equal(found[:4].reset_index(drop=True), pd.concat(frames, ignore_index=True))
    assert [row["p"] for row in joined.head(3)] == ["2026-01", None, "2026-02"]
    categories = pd.DataFrame({"p": pd.Categorical(frames[0].p)})
    assert outputs(categories).table("rows").to_pandas().p.dtype == "period[M]"
    days = pd.DataFrame({"p": pd.period_range("2026-01-05", periods=2, freq="D")})
    with pytest.raises(PlainDataError, match=r"'p' is int64 period\[M\] in one and int64 period\[D\] in the other"):
        _ = outputs(frames[0][["p"]], days).table("rows").columns


def test_periods_are_filtered_as_the_numbers_that_are_stored():
    """As of a table alone: filters and datasets have numbers, and what is found are periods again."""
    frame = pd.DataFrame({"p": pd.period_range("2026-01", periods=3, freq="M"), "i": pd.interval_range(0, 3)})
    partitions = outputs(frame, frame)
    for table, times in (
        (partitions[PartitionKey(date="2026-01-05", fund="A")]["rows"], 1),
        (partitions.table("rows"), 2),
    ):
        where = [("p", ">", 672)]
        assert table.to_arrow(["p"], where).schema.field("p").type == table.to_arrow(["p"]).schema.field("p").type
        found = table.to_pandas(["p", "i"], where)
        expected = pd.concat([frame[1:]] * times, ignore_index=True)
        pd.testing.assert_frame_equal(found.reset_index(drop=True), expected)
        assert table.to_polars(["p"], where).height == 2 * times
        assert table.to_pandas(["p", "i"], [("p", ">", 900)]).dtypes.equals(frame.dtypes)
        assert table.dataset().count_rows(filter=pc.field("p") > 672) == 2 * times


@pytest.mark.parametrize("order", [1, -1])
def test_periods_beside_numbers_are_numbers(order):
    """As tables that were joined before have them, and days whose values are all missing."""
    frame = pd.DataFrame({"p": pd.PeriodIndex(["2026-01", None], freq="M")})
    for other, kind in ((pa.table({"p": [671]}), pa.int64()), (pd.DataFrame({"p": [None]}, dtype=float), pa.float64())):
        tables = [frame, other][::order]
        found = outputs(*tables).table("rows").to_arrow(["p"]).column("p")
        assert (found.type, found.to_pylist()[0 if order == 1 else 1]) == (kind, 672)
        parts = [({"day": str(n)}, take_table(table, "t")) for n, table in enumerate(tables)]
        with joined_batches(parts) as (schema, batches):
            assert pa.Table.from_batches(batches, schema).column("p").to_pylist() == found.to_pylist()
    intervals = pd.DataFrame({"p": pd.interval_range(0, 1)})
    with pytest.raises(PlainDataError, match="'p' is .*interval"):
        _ = outputs(*[frame, intervals][::order]).table("rows").columns


def test_csv_has_periods_as_text_and_no_bytes_that_are_none():
    """What CSV has no form for is refused, with the column."""
    file = io.BytesIO()
    periods = pa.Table.from_pandas(pd.DataFrame({"p": pd.PeriodIndex(["2026Q1", None], freq="Q")}))
    write_csv(periods.schema, periods.to_batches(), file)
    assert file.getvalue().decode().splitlines() == ['"p"', '"2026Q1"', ""]
    for kind in (pa.binary(), pa.binary(1)):
        table = pa.table({"a": [1], "b": pa.array([b"\xff"], kind)})
        with pytest.raises(PlainDataError, match="column 'b' has bytes that are no UTF-8.*write Parquet or JSON"):
            write_csv(table.schema, table.to_batches(), io.BytesIO())


def test_a_null_column_takes_the_type_of_the_others_and_whole_numbers_become_floats_where_exact():
    """A day without values, and one whose prices are all whole, fit the rest."""
    joined = outputs(
        pa.table({"x": pa.nulls(1), "y": [1]}), pa.table({"x": ["a"], "y": [1.5]}), pa.table({"y": [2**53], "x": ["b"]})
    ).table("rows")
    assert joined.to_arrow().column("y").to_pylist() == [1.0, 1.5, 2.0**53]
    assert joined.to_arrow().column("x").to_pylist() == [None, "a", "b"]


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (pa.array([Decimal("1.10")]), pa.array([Decimal("1.123")]), "decimal(3)"),
        (
            pa.array([Decimal("1.10")], pa.decimal256(50, 2)),
            pa.array([Decimal("7")], pa.decimal128(5, 0)),
            "decimal(2)",
        ),
        (pa.array([[Decimal("1.1")], []]), pa.array([[Decimal("1.12")]]), "list<decimal(2)>"),
        (pa.array([[], [None]]), pa.array([[1], None]), "list<int64>"),
        (pa.array([{"a": None, "b": [1]}]), pa.array([{"a": "x", "b": []}]), "struct<1:a:string,1:b:list<int64>>"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_decimals_take_the_larger_scale_and_nulls_in_lists_the_other_type(one, other, kind, order):
    """Pandas and pyarrow choose a scale by the values of a day; where all lists are empty, nobody knows their type."""
    tables = [pa.table({"x": side}) for side in (one, other)][::order]
    joined = outputs(*tables).table("rows")
    assert joined.columns["x"] == kind
    assert joined.to_arrow().column("x").to_pylist() == [value for t in tables for value in t.column("x").to_pylist()]


def test_the_callers_decimals_are_of_any_context():
    """One that has few digits, and no large numbers."""
    joined = outputs(*(pa.table({"x": [Decimal(x)]}) for x in ("1.5", "1.25"))).table("rows")
    with localcontext(Context(prec=1, Emax=10)):
        assert joined.to_arrow().column("x").to_pylist() == [Decimal("1.5"), Decimal("1.25")]


@pytest.mark.parametrize("form", [lambda x: x, lambda x: [x], lambda x: {"a": [None, x]}])
@pytest.mark.parametrize("order", [1, -1])
def test_no_decimal_becomes_another_number(form, order):
    """With 18 more digits it is above a power of two: pyarrow casts it to what is left, which is small."""
    numbers = [Decimal(-(-(2**128) // 10**18)), Decimal("1e-18")][::order]
    joined = outputs(*(pa.table({"x": pa.array([form(x)])}) for x in numbers))
    found = joined.table("rows").to_arrow()
    assert found.column("x").to_pylist() == [form(x) for x in numbers]
    with joined_batches(joined.tables("rows")) as (schema, batches):
        assert pa.Table.from_batches(batches, schema).equals(found.combine_chunks())
    joined = outputs(
        *(pa.table({"x": pa.array([form(x)])}) for x in (Decimal(-(-(2**256) // 10**18)), Decimal("1e-18")))
    )
    words = r"column 'x' of date=2026-01-05.* exactly \(one has more than 58 digits before the point\); read them"
    with pytest.raises(PlainDataError, match=words):
        joined.table("rows").to_arrow()
    with pytest.raises(PlainDataError, match=words), joined_batches(joined.tables("rows")) as (_, batches):
        list(batches)


@pytest.mark.parametrize("place", [0, 1])
def test_a_day_without_rows_takes_the_types_of_the_others(place):
    """What pandas makes of no rows are floats and objects: they have nothing to lose."""
    days = [pa.table({"n": [1, 2], "day": [date(2026, 1, 5)] * 2, "l": [[1], []]})]
    empty = pd.DataFrame({"l": pd.Series([], dtype=float), "n": [], "day": pd.Series([], dtype=object)})
    days.insert(place, empty)
    joined = outputs(*days).table("rows")
    assert joined.to_arrow().column("n").to_pylist() == [1, 2]
    assert {**joined.columns} == {
        "date": "string", "fund": "string", "n": "int64", "day": "date", "l": "list<int64>"
    }  # fmt: skip
    assert outputs(empty, pa.table({"n": ["a"], "l": [1], "day": [1]}).slice(0, 0)).table("rows").rows == 0
    with pytest.raises(PlainDataError, match="only one of them has the column"):
        _ = outputs(days[1 - place], empty[["n"]]).table("rows").columns


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"x": [1]}, {"x": ["1"]}, "date=2026-01-05.fund=A and of date=2026-01-06.fund=A .* column 'x' is int64"),
        ({"x": [1]}, {"x": [1], "y": [1]}, "only one of them has the column 'y'"),
        ({"x": [Decimal("9" * 76)]}, {"x": [Decimal("0.1")]}, r"'x' of date=2026-01-05.fund=A does not become decimal"),
        ({"x": [[1]]}, {"x": [["1"]]}, "column 'x' is list<int64> in one and list<string> in the other"),
        ({"x": [{"a": 1}]}, {"x": [{"b": 1}]}, "column 'x' is struct.* in one and struct"),
        ({"x": [2**53 + 1]}, {"x": [1.5]}, "column 'x' of date=2026-01-05.fund=A does not become float64 exactly"),
        ({"x": [1], "date": ["2026-01-05"]}, {"x": [1], "date": ["2026-01-05"]}, "not the partition's own date"),
        ({"fund": [1]}, {"fund": [1]}, "not the partition's own fund"),
    ],
)
def test_what_does_not_fit_is_refused(one, other, words):
    """Nothing is rounded, guessed or left out."""
    joined = outputs(pa.table(one), pa.table(other)).table("rows")
    with pytest.raises(PlainDataError, match=words):
        joined.to_arrow()


@pytest.mark.parametrize(
    "own",
    [
        date(2026, 1, 5),
        datetime(2026, 1, 5),  # noqa: DTZ001
        datetime(2026, 1, 5, tzinfo=UTC),
        datetime(2026, 1, 5, tzinfo=ZoneInfo("Asia/Tokyo")),
        "2026-01-05",
    ],
)
def test_a_column_that_says_the_same_as_the_dimension_stays(own):
    """A frame may carry its own date, as a date, a midnight, in whatever zone, or text."""
    joined = outputs(pa.table({"date": [own], "x": [1]})).table("rows")
    assert joined.to_arrow().to_pydict() == {"fund": ["A"], "date": [own], "x": [1]}


def test_a_time_is_of_the_day_in_its_zone():
    """The day before in New York is refused, though it is midnight of the date in UTC."""
    own = datetime(2026, 1, 4, 19, tzinfo=ZoneInfo("America/New_York"))
    with pytest.raises(PlainDataError, match="has a column 'date' that is not the partition's own date; rename it"):
        outputs(pa.table({"date": [own], "x": [1]})).table("rows").to_arrow()


HOUR = datetime(2026, 1, 9, 16, tzinfo=ZoneInfo("America/New_York"))


@pytest.mark.parametrize("own", [HOUR, HOUR.astimezone(UTC), HOUR.replace(tzinfo=None), "2026-01-09T16:00-05:00"])
def test_a_time_may_be_the_hour_of_its_partition(own):
    """In whatever zone, or as its clocks show it; another hour is refused, also on the same day."""
    key = PartitionKey(h="2026-01-09T16:00-05:00")
    assert Outputs({key: {"rows": pa.table({"h": [own]})}}).table("rows").to_arrow().to_pydict() == {"h": [own]}
    other = pa.table({"h": [HOUR.replace(hour=17)]})
    with pytest.raises(PlainDataError, match="has a column 'h' that is not the partition's own h; rename it"):
        Outputs({key: {"rows": other}}).table("rows").to_arrow()


def test_it_can_be_an_output_itself():
    """A step may hand on what it has read, as one table."""
    joined = outputs(pa.table({"x": [1]}), pa.table({"x": [2]})).table("rows")
    assert joined.digest == outputs(pa.table({"x": [1]}), pa.table({"x": [2]})).table("rows").digest
