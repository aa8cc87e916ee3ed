"""Tables come back as their writers had them, and equal content has equal digests."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arrow_strategies import tables
from flowctx.artifacts.form import _as_restored, stored_type
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
    # Old versions of pyarrow get plain types for views.
    fields = [field.with_type(_as_restored(field.type)) for field in table.schema]
    schema = pa.schema(fields, table.schema.metadata)
    assert back.schema.equals(schema, check_metadata=True)
    assert texts(back) == texts(table)
    assert found.rows == table.num_rows
    assert list(found.columns) == table.column_names
    batches = pa.Table.from_batches(found.batches(rows=2), schema)
    assert texts(batches) == texts(table)
    for name in table.column_names[-1:]:
        assert texts(found.to_arrow([name])) == texts(table.select([name]))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.list_(pa.null(), 1), [[None], None, [None]]),
        (pa.list_(pa.float32(), 3), [None, [1, 2, None], None, [4, 5, 6], None]),
        (pa.struct([("a", pa.list_(pa.int8(), 2))]), [{"a": None}, None, {"a": [1, 2]}]),
        (pa.map_(pa.string(), pa.list_(pa.int8(), 2)), [[("a", [1, 2]), ("b", None)], None, []]),
        (pa.list_(pa.list_(pa.string(), 2), 2), [[["a", "b"], None], None, [None, ["c", None]]]),
    ],
    ids=str,
)
def test_a_list_of_fixed_length_may_be_null(kind, values):
    """It comes back, though pyarrow before 26 writes such lists and cannot read them again."""
    table = pa.table({"x": pa.array(values, kind)})
    for part in (table, table[1:], pa.concat_tables([table, table])):
        assert stored(part).to_arrow().equals(part)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.list_view(pa.int64()), [[1], None, [], [2, 3]]),
        (pa.large_list_view(pa.string()), [["a", None], None, ["b"]]),
        (pa.struct([("a", pa.list_view(pa.int8()))]), [{"a": [1]}, None, {"a": None}, {"a": [2, 3]}]),
        (pa.list_(pa.list_view(pa.int8())), [[[1], [2, 3]], None, [None, []]]),
    ],
    ids=str,
)
def test_a_view_of_lists_comes_back(kind, values):
    """It comes back, though pyarrow 26 casts such views to lists that are not valid; polars reads it as lists."""
    table = pa.table({"x": pa.array(values, kind)})
    plain = pa.table({"x": pa.array(values, stored_type(kind))})
    for part, other in ((table, plain), (table[1:], plain[1:]), (pa.concat_tables([table] * 2), [plain] * 2)):
        back = stored(part)
        assert back.to_arrow()["x"].to_pylist() == part["x"].to_pylist()
        assert back.digest == stored(pa.concat_tables(other) if isinstance(other, list) else other).digest
        assert back.to_polars()["x"].to_list() == part["x"].to_pylist()


def test_a_part_of_maps_has_the_digest_of_its_rows():
    """Also where pyarrow 26 casts the part to lists that are not valid."""
    kind = pa.map_(pa.string(), pa.struct([("a", pa.null())]))
    values = [None, [("x", {"a": None})], [("y", None), ("z", {"a": None})], []]
    table = pa.table({"x": pa.array(values, kind)})
    for start in range(4):
        for end in range(start, 5):
            same = pa.table({"x": pa.array(values[start:end], kind)})
            assert stored(table[start:end]).digest == stored(same).digest


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.list_(pa.list_(pa.struct([("a", pa.null())]), 2)), [[[{"a": None}, None], [None, None]], None, [None]]),
        (pa.list_(pa.list_(pa.list_(pa.null()), 1)), [[[[]], [[None]]], [[[None]], None], [[[]]], []]),
        (pa.list_(pa.list_(pa.map_(pa.int32(), pa.null()), 1)), [[[[(0, None)]], None], None, [None, [[]]], []]),
        (
            pa.struct([("a", pa.list_(pa.struct([("b", pa.null())]))), ("c", pa.timestamp("s"))]),
            [{"a": [{"b": None}] * 2, "c": 1}, None, {"a": [None], "c": None}, {"a": None, "c": 2}],
        ),
    ],
    ids=str,
)
def test_a_part_of_nested_nulls_is_stored_as_its_rows(kind, values):
    """It comes back with the digest of its rows, though pyarrow 26 casts such parts to arrays that are not valid."""
    table = pa.table({"x": pa.array(values, kind)})
    for start in range(len(values) + 1):
        for end in range(start, len(values) + 1):
            same = stored(pa.table({"x": pa.array(values[start:end], kind)}))
            for part in (table[start:end], pa.concat_tables([table[start:end], table[end:end]])):
                assert stored(part).digest == same.digest
                assert (
                    stored(part).to_arrow()["x"].to_pylist()
                    == part["x"].to_pylist()
                    == same.to_arrow()["x"].to_pylist()
                )


def test_parts_with_nested_nulls_may_be_batches_of_a_generator():
    """Also where a later one has decimals of fewer digits beside the nulls, and is cast."""
    nulls = pa.list_(pa.struct([("a", pa.null())]))
    kinds = [pa.struct([("nulls", nulls), ("price", pa.decimal128(digits, 2))]) for digits in (6, 5)]
    values = [{"nulls": [{"a": None}] * 2, "price": Decimal(n)} for n in range(6)]
    parts = [pa.record_batch([pa.array(values, kind)], ["x"]).slice(2, 3) for kind in kinds]
    in_one_part = stored(pa.table({"x": pa.array(values[2:5] * 2, kinds[0])}))
    found = stored(part for part in parts)
    assert (found.digest, found.to_arrow()["x"].to_pylist()) == (in_one_part.digest, values[2:5] * 2)


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
