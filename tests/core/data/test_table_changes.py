"""What differs between two tables, as a value."""

from flowctx.core.data.table_changes import TableChange


def test_cells_are_those_of_all_columns():
    """A row may have several."""
    assert TableChange(columns={"a": 2, "b": 1}, changed_rows=2).cells == 3


def test_tables_differ_in_cells_rows_or_what_they_are():
    """Other numbers of rows alone are told by what was added and removed."""
    assert not TableChange(rows_before=3, rows_after=3).differs
    assert all(TableChange(**how).differs for how in ({"added": 1}, {"removed": 1}, {"columns": {"a": 1}}))
    assert TableChange(problem="other columns").differs
