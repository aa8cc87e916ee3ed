"""Tables come back as their writers had them, and equal content has equal digests."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arrow_strategies import tables
from stored_tables import stored

MANY = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def texts(table):
    """Return values that can be compared: NaN equals NaN."""
    return str(table.to_pydict()) if table.num_columns else ""


@MANY
@given(tables())
def test_a_table_comes_back_as_it_was(table):
    """Every type that Parquet keeps: schema, values, nulls and categories, by column and by batch too."""
    found = stored(table)
    back = found.to_arrow()
    back.validate(full=True)
    assert back.schema.equals(table.schema, check_metadata=True)
    assert texts(back) == texts(table)
    assert found.rows == table.num_rows
    assert list(found.columns) == table.column_names
    batches = pa.Table.from_batches(found.batches(rows=2), table.schema)
    assert texts(batches) == texts(table)
    for name in table.column_names[-1:]:
        assert texts(found.to_arrow([name])) == texts(table.select([name]))


@MANY
@given(tables(), st.integers(1, 4))
def test_layout_is_no_content(table, rows):
    """Chunks, slices and what lies under nulls do not change the digest; a table that was read has its writer's."""
    digest = stored(table).digest
    chunked = pa.concat_tables([table.slice(at, rows) for at in range(0, table.num_rows, rows)] or [table])
    assert stored(chunked).digest == digest
    assert stored(table.combine_chunks()).digest == digest
    assert stored(stored(table)).digest == digest


@MANY
@given(tables(), tables())
def test_other_content_has_another_digest(one, other):
    """Tables have one digest if and only if names, types, values and order agree."""
    left, right = stored(one), stored(other)
    same = (left.columns, texts(one)) == (right.columns, texts(other))
    assert (left.digest == right.digest) == same
