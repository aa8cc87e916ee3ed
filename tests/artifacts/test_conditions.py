"""A slip in ``where=`` is said, with the columns: nothing is damaged."""

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flowctx import Outputs, PartitionKey, PlainDataError
from flowctx.core.data.tables import take_table

ROWS = pa.table({"n": [1, 0], "d": [date(2026, 1, 5), date(2026, 1, 6)]})


def tables():
    """A table alone, one without rows, and two as one."""
    keys = [PartitionKey(fund=fund) for fund in "AB"]
    alone, empty = take_table(ROWS, "t"), take_table(ROWS.slice(0, 0), "t")
    return alone, empty, Outputs({key: {"rows": ROWS} for key in keys}).table("rows")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ([("zz", "=", 1)], r"No match for FieldRef.Name\(zz\).*its columns are .*n int64, d date: name one of them"),
        ([("d", "=", "2026-01-05")], "does not fit the .*table .*compare it with a value of its type"),
        (pc.field("n"), "must evaluate to bool"),
        ([], r'where=\[\] is no condition.*write \[\("symbol", "=", "IBM"\)\] .* or leave it out for all rows'),
        ([("n", "~", 1)], "is no condition .*not a valid operator"),
        ("n=1", "where='n=1' is no condition"),
    ],
    ids=str,
)
def test_what_is_no_condition_of_its_columns_is_refused(where, says):
    """In each way to read, with and without rows, and of joined tables."""
    for table in tables():
        for read in (table.to_arrow, table.to_pandas, table.to_polars, lambda **how: list(table.batches(**how))):  # noqa: B023
            with pytest.raises(PlainDataError, match=says):
                read(where=where)


def test_what_cannot_be_told_of_a_value_is_refused():
    """Only when rows are read it is seen."""
    alone, empty, joined = tables()
    where = pc.divide(pc.scalar(1), pc.field("n")) > 0
    assert empty.to_arrow(where=where).num_rows == 0
    for table in (alone, joined):
        with pytest.raises(PlainDataError, match="does not fit the .*table .divide by zero"):
            table.to_arrow(where=where)
