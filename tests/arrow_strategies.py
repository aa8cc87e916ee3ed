"""Any table of the types that Parquet keeps: with nulls, empty, nested, chunked and sliced."""

from __future__ import annotations

import datetime as dt
import decimal

import pyarrow as pa
from hypothesis import strategies as st

UNITS = ("s", "ms", "us", "ns")
_INTEGERS = [getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)]
_NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=5)


def leaf_types():
    """Types without others in them."""
    return st.one_of(
        st.sampled_from(
            [
                pa.null(),
                pa.bool_(),
                pa.float16(),
                pa.float32(),
                pa.float64(),
                pa.string(),
                pa.large_string(),
                pa.string_view(),
                pa.binary(),
                pa.large_binary(),
                pa.binary_view(),
                pa.binary(3),
                pa.date32(),
                pa.date64(),
                pa.time32("s"),
                pa.time32("ms"),
                pa.time64("us"),
                pa.time64("ns"),
                *_INTEGERS,
            ]
        ),
        st.builds(pa.timestamp, st.sampled_from(UNITS), st.sampled_from([None, "UTC", "America/New_York", "+05:30"])),
        st.sampled_from(UNITS).map(pa.duration),
        st.builds(pa.decimal128, st.integers(6, 38), st.integers(0, 4)),
        st.builds(pa.decimal256, st.integers(39, 76), st.integers(0, 4)),
    )


def types():
    """Any type of a column."""
    nested = st.recursive(leaf_types(), _containers, max_leaves=4)
    return nested | st.builds(
        pa.dictionary,
        st.sampled_from([pa.int8(), pa.int32()]),
        st.sampled_from([pa.string(), pa.int16()]),
        st.booleans(),
    )


def _containers(inner):
    fields = st.lists(st.tuples(_NAMES, inner), min_size=1, max_size=3, unique_by=lambda pair: pair[0])
    keys = st.sampled_from([pa.string(), pa.int32()])
    return st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        # Of lists of a number of nulls, pyarrow 26 cannot write a slice.
        st.builds(pa.list_, inner.filter(lambda kind: not pa.types.is_null(kind)), st.integers(1, 3)),
        fields.map(lambda pairs: pa.struct([pa.field(name, kind) for name, kind in pairs])),
        st.builds(pa.map_, keys, inner),
    )


def values(kind):
    """Values of a type, and nulls."""
    return st.none() | _present(kind)


def _present(kind):  # noqa: C901
    t = pa.types
    if t.is_null(kind):
        return st.none()
    if t.is_dictionary(kind):
        return st.sampled_from(["a", "b", ""] if t.is_string(kind.value_type) else [1, 2, -3])
    if t.is_boolean(kind):
        return st.booleans()
    if t.is_integer(kind):
        low = 0 if "u" in str(kind) else -(2 ** (kind.bit_width - 1))
        return st.integers(low, low + 2**kind.bit_width - 1)
    if t.is_floating(kind):
        return st.floats(width=kind.bit_width)
    if t.is_decimal(kind):
        return st.integers(-(10**5), 10**5).map(lambda n: decimal.Decimal(n).scaleb(-kind.scale))
    if t.is_fixed_size_binary(kind):
        return st.binary(min_size=kind.byte_width, max_size=kind.byte_width)
    if "string" in str(kind) and not t.is_nested(kind):
        return st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
    if "binary" in str(kind) and not t.is_nested(kind):
        return st.binary(max_size=6)
    if t.is_date(kind):
        return st.dates(dt.date(1970, 1, 1), dt.date(2200, 1, 1))
    if t.is_time(kind):
        return st.integers(0, 86_399).map(lambda n: n * 1000 ** UNITS.index(kind.unit))
    if t.is_timestamp(kind) or t.is_duration(kind):
        return st.integers(-(2**30), 2**30)
    if t.is_struct(kind):
        return st.fixed_dictionaries({kind.field(i).name: values(kind.field(i).type) for i in range(kind.num_fields)})
    if t.is_map(kind):
        keys = st.text(max_size=3) if t.is_string(kind.key_type) else st.integers(-5, 5)
        return st.lists(st.tuples(keys, values(kind.item_type)), max_size=3, unique_by=lambda pair: pair[0])
    if t.is_fixed_size_list(kind):
        return st.lists(values(kind.value_type), min_size=kind.list_size, max_size=kind.list_size)
    return st.lists(values(kind.value_type), max_size=3)


#: Made once: to make it takes as long as to draw from it.
_COLUMNS = st.lists(types(), max_size=3)


@st.composite
def tables(draw):
    """Any table."""
    columns = draw(_COLUMNS)
    rows = draw(st.integers(0, 6)) if columns else 0
    arrays = [array(draw(st.lists(values(kind), min_size=rows, max_size=rows)), kind) for kind in columns]
    names = draw(st.lists(_NAMES, min_size=len(columns), max_size=len(columns), unique=True))
    table = pa.table(arrays, names=names)
    if not columns:
        return table
    cut = draw(st.integers(0, rows))
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    return chunked.slice(draw(st.integers(0, rows)))


def array(items, kind):
    """Return an array of values, times as counts of their units too."""
    t = pa.types
    if t.is_dictionary(kind):
        found = pa.array(items, kind.value_type).dictionary_encode()
        categories = pa.concat_arrays(
            [pa.array(["z"] if t.is_string(kind.value_type) else [99], kind.value_type), found.dictionary]
        )
        indices = pa.array([None if i is None else i + 1 for i in found.indices.to_pylist()], kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, categories, ordered=kind.ordered)
    return pa.array(items, kind)
