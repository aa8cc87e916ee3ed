"""Rows and tables of many partitions as Parquet and CSV: as if all were known at once, with few in memory."""

from __future__ import annotations

import io
import tempfile
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx.artifacts import rows_as_parquet, waiting_streams
from flowctx.artifacts.export import write_parquet
from flowctx.artifacts.joined import JoinedTable
from flowctx.artifacts.joined_batches import joined_batches
from flowctx.artifacts.rows_as_parquet import write_rows
from flowctx.cli.output import new_file
from flowctx.core.data.tables import take_table
from flowctx.core.errors import FlowctxError, LedgerUnavailable, PlainDataError

DAY = date(2026, 1, 5)
NOON = datetime.fromisoformat("2026-01-05T12:00")
NUMBERS = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-1000, max_value=1000)
LISTS = st.lists(st.integers(0, 9), max_size=2) | st.lists(st.floats(0, 1), max_size=2)
COLUMN = st.sampled_from([NUMBERS, DECIMALS | st.integers(0, 99), LISTS, st.text("aé", max_size=2), st.dates()])


def written(rows):
    write_rows(rows, made := io.BytesIO())
    return pq.read_table(made)


@settings(deadline=None)
@given(
    COLUMN.flatmap(lambda values: st.lists(st.none() | values, min_size=1, max_size=8)), st.sampled_from([1, 3, 500])
)
def test_a_column_has_the_type_that_holds_all_its_values(values, block):
    """However few are looked at together: numbers of two kinds, decimals of any scale, empty lists, nulls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_as_parquet, "_BLOCK", block)
        found = written([{"tier": f"T{at}", "v": value} for at, value in enumerate(values)])
    if any(isinstance(value, Decimal) for value in values):
        values = [Decimal(value) if isinstance(value, int) else value for value in values]
    expected = pa.table({"tier": [f"T{at}" for at in range(len(values))], "v": values})
    write_parquet(expected.schema, expected.to_batches(), made := io.BytesIO())
    assert found.equals(pq.read_table(made))


def test_a_column_that_comes_late_is_null_before(monkeypatch):
    """All rows are one row group, and columns stand in the order in which they first come."""
    monkeypatch.setattr(rows_as_parquet, "_BLOCK", 1)
    write_rows([{"b": 1}, {"a": "x", "b": None}, {"b": 2.5}], made := io.BytesIO())
    assert pq.ParquetFile(made).num_row_groups == 1
    assert pq.read_table(made).to_pydict() == {"b": [1.0, None, 2.5], "a": [None, "x", None]}


@pytest.mark.parametrize("block", [1, 500])
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((date(2026, 1, 5), 3), "date and int"),
        ((date(2026, 1, 5), NOON), "a time without a zone and date"),
        ((NOON.replace(tzinfo=UTC), NOON), "a time with a zone and a time without a zone"),
        (("a", b"a"), "bytes and str"),
        ((True, 1), "bool and int"),
        ((Decimal("0.1"), 0.1), "Decimal and float"),
        ((2**60 + 1, 0.5), "is outside of the range"),
    ],
)
def test_values_of_two_types_are_refused(monkeypatch, block, values, says):
    """A number is no date, and the time of a day is not lost, whatever Arrow would make of them together."""
    monkeypatch.setattr(rows_as_parquet, "_BLOCK", block)
    with pytest.raises(PlainDataError, match=r"'v' are not of one type in all partitions \(.*" + says):
        written([{"v": value} for value in values])
    with pytest.raises(PlainDataError, match=r"'v(\[\]\.a)?' are not of one type in all partitions \(.*" + says):
        written([{"v": [{"a": value}]} for value in values])
    for rows in ([{"v": [value]} for value in values], [{"v": [None, *values]}]):
        with pytest.raises(PlainDataError, match=r"'v(\[\])?' are not of one type in all partitions \(.*" + says):
            written(rows)


@pytest.mark.parametrize("form", [lambda value: value, lambda value: [None, value], lambda value: [{"a": [value]}]])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (time(16, tzinfo=timezone(timedelta(hours=9))), r"times with an offset"),
        ([UUID(int=5)], r"UUID and .*list: "),
        (Decimal("NaN"), r"Decimal.*: "),
    ],
)
def test_values_that_no_table_holds_are_refused(form, value, says):
    """An offset is not dropped, and what Arrow cannot do is not a matter of two types."""
    with pytest.raises(PlainDataError, match=r"^the values 'v[^']*' fit in no table \(" + says):
        written([{"v": form(value)}])


def test_lists_are_not_looked_through_value_by_value(monkeypatch):
    """What Python says of their types at once is enough, and far faster."""
    seen, kind = [], rows_as_parquet._kind
    monkeypatch.setattr(rows_as_parquet, "_kind", lambda value: seen.append(value) or kind(value))
    for value in ([0.5, None], [1, 2], [True], ["a"], [DAY], [[b"a"], []]):
        assert written([{"v": value}]).column("v").to_pylist() == [value]
    assert all(isinstance(value, list) for value in seen)


def test_names_with_dots_are_no_ways_to_nested_values():
    """``a.b`` and ``b`` of ``a`` may have two types."""
    rows = [{"v": [{"a.b": 1, "a": None}]}, {"v": [{"a.b": None, "a": {"b": DAY}}]}]
    assert written(rows).column("v").to_pylist() == [row["v"] for row in rows]


@pytest.mark.parametrize("form", [lambda value: value, lambda value: [value, None], lambda value: [{"a": [value]}]])
@pytest.mark.parametrize("order", [1, -1])
def test_whole_numbers_beside_decimals_may_have_more_digits_than_the_first(form, order):
    """Also where many rows are between them, and in lists."""
    values = [*[1] * 500, *[-123456] * 500, Decimal("0.25")][::order]
    found = written([{"v": form(value)} for value in values])
    assert found.column("v").to_pylist() == [form(value) for value in values]
    assert "decimal128(8, 2)" in str(found.schema.field("v").type)


TABLES = [
    {"n": pa.array([1, 2]), "s": pa.array(["a", None])},
    {"n": pa.array([], pa.string()), "s": pa.array([], pa.string())},
    {"n": pa.array([0.5]), "s": pa.array(["b"]).dictionary_encode()},
    {"s": pa.nulls(1), "n": pa.nulls(1)},
]


@pytest.mark.parametrize("places", [(0, 1, 2, 3), (1, 0), (1,), (3, 2), (2, 2)])
def test_tables_together_are_the_same_read_at_once_or_one_by_one(places):
    """Types, nulls, dimensions and order, also where some have no rows."""
    parts = [({"tier": f"T{at}"}, take_table(pa.table(TABLES[at]), "t")) for at in places]
    with joined_batches(parts) as (schema, batches):
        found = pa.Table.from_batches(batches, schema)
    assert found.equals(JoinedTable(parts).arrow.combine_chunks())


def test_tables_that_do_not_fit_together_are_refused():
    """They name the partitions and the column."""
    parts = [({"tier": at}, take_table(pa.table({at: [1]}), "t")) for at in ("T1", "T2")]
    with pytest.raises(PlainDataError, match="only one of them has the column 'T1'"), joined_batches(parts):
        pass


def test_a_full_disk_is_said_where_it_is(monkeypatch, tmp_path):
    """Rows that wait need room in another folder than the file that is written."""
    monkeypatch.setattr(waiting_streams, "TemporaryFile", lambda: open("/dev/full", "wb"))  # noqa: SIM115
    with pytest.raises(FlowctxError, match="set TMPDIR to a folder that has room"), new_file(tmp_path / "o") as place:
        write_rows([{"a": "long"}], place)
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(FlowctxError, match="set TMPDIR to a folder that has room"):
        written([{"a": "long"}])
    assert not list(tmp_path.iterdir())


def test_a_ledger_that_is_away_is_no_fault_of_the_file(tmp_path):
    """What is read while a file is written may fail as a connection does; no half of a file is left."""
    with pytest.raises(LedgerUnavailable, match="away"), new_file(tmp_path / "o.csv"):
        raise LedgerUnavailable("the ledger is away")
    assert not list(tmp_path.iterdir())
