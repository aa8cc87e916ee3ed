"""``Table``: a handle of rows that are loaded when they are looked at."""

import copy
import pickle

import numpy as np
import pyarrow as pa
import pytest

from flowctx import PayloadError, StepResult, Table
from flowctx.core.data.references import TableReference
from flowctx.core.data.tables import TABLE, is_frame, preview_html, speaks_arrow, take_table
from stored_tables import stored

ROWS = pa.table({"symbol": ["IBM", "<b>"], "close": [1.5, 2.0]})


@pytest.fixture
def table():
    return stored(ROWS)


def test_what_is_known_without_reading_it(table):
    """Rows, columns, bytes and digest are in the reference; a table is true even without rows."""
    assert (table.rows, len(table), table.columns) == (2, 2, {"symbol": "string", "close": "float64"})
    assert bool(stored(ROWS.slice(0, 0))) is True


def test_what_is_in_it(table):
    """Each way of reading gives the rows that were written, of the columns that are asked for."""
    assert table.to_arrow(columns=["close"]).to_pydict() == {"close": [1.5, 2.0]}
    assert table.to_pandas(where=[("symbol", "=", "IBM")])["close"].tolist() == [1.5]
    assert table.to_polars()["symbol"].to_list() == ["IBM", "<b>"]
    assert [batch.num_rows for batch in table.batches(rows=1)] == [1, 1]
    assert table.head(1) == [{"symbol": "IBM", "close": 1.5}]
    assert pa.table(table).num_rows == 2
    assert table.dataset().count_rows() == 2
    assert table.scan_polars().collect().height == 2


def test_tables_are_equal_if_their_content_is(table):
    """The digest decides, whoever wrote the rows."""
    assert table == stored(ROWS.to_pandas())
    assert len({table, stored(ROWS), stored(ROWS.slice(1))}) == 2
    assert table != "table"


def test_a_table_survives_pickle_and_copies(table):
    """A pickle has the reference; a copy is the handle itself."""
    assert pickle.loads(pickle.dumps(table)) == table
    assert copy.copy(table) is table
    assert copy.deepcopy(table) is table


def test_a_frame_becomes_a_table_that_is_not_stored_yet():
    """The frame stays a source until its reference is needed."""
    found = StepResult.ok(pa.table({"n": range(40_000), "s": ["a"] * 40_000})).output[TABLE]
    assert (found.source is not None, repr(found)) == (True, "<Table, not stored yet>")
    assert (found.rows, found.source) == (40_000, None)
    assert repr(found).startswith("<Table: 40,000 rows x 2 columns, ")


def test_a_small_frame_is_what_it_was_when_it_was_handed_over():
    """It is copied as lists are: Arrow shares the memory of numpy, and whoever made it may go on with that."""
    numbers = np.arange(3.0)
    handed_over = StepResult.ok({"t": pa.table({"n": numbers}), "l": (numbers_of := [1, 2, 3])}).output
    numbers[:] = 7
    numbers_of.append(4)
    assert (handed_over["t"].to_arrow()["n"].to_pylist(), handed_over["l"]) == ([0, 1, 2], [1, 2, 3])


def test_the_first_rows_are_the_callers_own():
    """Also where they are kept from when the table was written: whoever changes them changes no table."""
    table = take_table(pa.table({"n": range(4_000), "l": [[n] for n in range(4_000)]}), "t")
    assert table.rows == 4_000
    row = table.head(1)[0]
    row["n"] = 9
    row["l"].append(9)
    assert table.head(1) == [{"n": 0, "l": [0]}]


def test_a_table_stays_in_its_store(table):
    """The first store that is named is where it is; one whose bytes travel inside is in none."""
    path = f"shared/tables/01/{'0' * 32}.parquet"
    kept = Table(TableReference(digest="1" * 64, size=3, path=path, rows=2, checksum="2" * 64))
    kept.bind("one")
    kept.bind("other")
    assert (kept.store, kept.stored_in("one"), kept.stored_in("other")) == ("one", True, False)
    assert table.stored_in("one") is False


@pytest.mark.parametrize(
    ("value", "frame"), [(ROWS, True), ((row for row in ()), True), ({"a": 1}, False), ([1], False), (None, False)]
)
def test_what_is_taken_for_a_frame(value, frame):
    """What speaks Arrow, or makes batches, is a frame; plain data is not, and a table is one already."""
    assert (speaks_arrow(value), is_frame(value)) == (frame, frame)
    assert is_frame(Table.__new__(Table))


def test_a_preview_is_escaped(table):
    """The first rows are shown as HTML in which data stays data."""
    html = preview_html(table, rows=2)
    assert html.startswith("<table><tr><th>symbol</th><th>close</th></tr><tr><th>string</th>")
    assert "<td>&lt;b&gt;</td>" in html
    assert "2 rows x 2 columns" in table._repr_html_()


def test_columns_that_are_not_in_the_reference_are_read():
    """A table with too many columns for its reference says what they are all the same."""
    found = stored(ROWS)
    wide = Table(TableReference(**{**_fields(found.reference), "columns": None}))
    assert wide.columns == found.columns


def test_a_reference_without_rows_is_refused():
    """A table that is read from a payload is checked before it is opened."""
    with pytest.raises(PayloadError):
        TableReference.from_json({"size": -1, "rows": 0, "digest": "0" * 64, "checksum": "0" * 64, "data": ""})


def _fields(reference):
    return {name: getattr(reference, name) for name in ("digest", "size", "path", "data", "rows", "checksum")}
