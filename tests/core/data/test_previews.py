"""Tables in small."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import ArtifactRef, File, PayloadError
from flowctx.core.data.plain import freeze
from flowctx.core.data.previews import cell_text, handles_of, markdown, preview, previews_of
from stored_tables import stored

TABLE = stored(pa.table({"n": range(7), "text": ["a|b", None, "c\nd", "x" * 100, "", "e", "f"]}))


def test_tables_and_files_are_found_by_their_way(tmp_path):
    """Each has the names and numbers that lead to it; large outputs and plain data have none."""
    (tmp_path / "a.txt").write_text("a")
    file, ref = File(tmp_path / "a.txt"), ArtifactRef(uri="x", digest="0" * 64, size=1)
    output = freeze({"prices": TABLE, "funds": {"GROWTH": [1, file]}, "n": 1, "ref": ref})
    assert list(handles_of(output)) == [("prices", TABLE), ("funds.GROWTH.1", file)]


def test_a_preview_is_the_first_rows_as_text():
    """Size, columns and five rows, whatever the table has."""
    small = preview(TABLE)
    assert (small["rows"], small["bytes"]) == (7, TABLE.bytes)
    assert list(small["columns"]) == ["n", "text"]
    assert small["first"][:3] == [["0", "a|b"], ["1", ""], ["2", "c d"]]
    assert len(small["first"]) == 5


def test_a_wide_table_is_cut():
    """Only the first columns are shown."""
    wide = stored(pa.table({f"c{number}": [number] for number in range(50)}))
    assert list(preview(wide)["columns"]) == [f"c{number}" for number in range(12)]
    assert len(preview(wide)["first"][0]) == 12


def test_a_preview_has_no_secrets():
    """A column of a secret name is hidden, and so is what is secret in a text; the types and sizes stay."""
    urls = ["postgres://me:hunter2@db/x", None]
    small = preview(stored(pa.table({"api_key": ["abc", None], "url": urls, "n": [1, 2]})))
    assert small["first"] == [["***", "postgres://me:***@db/x", "1"], ["", "", "2"]]
    assert list(small["columns"]) == ["api_key", "url", "n"]


def test_what_cannot_be_shown_has_no_preview(caplog):
    """It is an error to ask for that table's alone; among those of an output it is left out, and the log says so."""
    odd = stored(pa.table({"at": pa.array([1], pa.timestamp("us", "Foo/Bar"))}))
    with pytest.raises(PayloadError, match="its rows cannot be shown: UnknownTimeZoneError: 'Foo/Bar'"):
        preview(odd)
    assert [name for name, _ in previews_of(freeze({"odd": odd, "fine": TABLE}))] == ["fine"]
    assert "table odd has no preview: its rows cannot be shown" in caplog.text


def test_markdown_is_a_table():
    """A bar in a cell does not end it, and every line has as many cells as there are columns."""
    lines = markdown(preview(TABLE)).splitlines()
    assert lines[:3] == ["| n | text |", "| --- | --- |", r"| 0 | a\|b |"]
    assert {line.replace(r"\|", "").count("|") for line in lines} == {3}


@pytest.mark.parametrize(("value", "text"), [(None, ""), (1.5, "1.5"), ("a\n b", "a b"), ("x" * 40, "x" * 40)])
def test_a_cell_is_short_text(value, text):
    """Nothing is an empty cell, and blanks of all kinds are one blank."""
    assert cell_text(value) == text


@given(st.text())
def test_a_cell_is_one_line(value):
    """However long or broken a text is, its cell is one line of at most forty characters."""
    assert len(cell_text(value)) <= 40
    assert len(cell_text(value).splitlines()) <= 1
