"""Arrow types: what each is called by its content, and as what it is stored.

One canonical type stands for all layouts of the same content: dictionaries are their values, views and large types the
plain ones. Names are ours, because pyarrow's texts change between versions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

T = pa.types
#: Where a field says its extension type, if pyarrow does not know that type (yet): pandas registers its own late.
EXTENSION = b"ARROW:extension:name"
_PARAMETERS = b"ARROW:extension:metadata"
#: What says what values of pandas' extension types mean.
_MEANING = {"pandas.period": "freq", "pandas.interval": "closed"}
_UTC = frozenset({"UTC", "Etc/UTC", "Etc/GMT", "GMT", "Z", "+00:00", "Zulu", "Etc/Zulu"})


def _is(name: str, kind: pa.DataType) -> bool:
    """Whether a type is of a kind that older versions of pyarrow may not know."""
    check = getattr(T, f"is_{name}", None)
    return check is not None and bool(check(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether values are text, in any layout."""
    return T.is_string(kind) or T.is_large_string(kind) or _is("string_view", kind)


def is_binary(kind: pa.DataType) -> bool:
    """Whether values are bytes of any length, in any layout."""
    return T.is_binary(kind) or T.is_large_binary(kind) or _is("binary_view", kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether values are lists of any length, in any layout."""
    plain = T.is_list(kind) or T.is_large_list(kind)
    return plain or _is("list_view", kind) or _is("large_list_view", kind)


def is_view(kind: pa.DataType) -> bool:
    """Whether the layout is one of views, or of runs."""
    names = ("string_view", "binary_view", "list_view", "large_list_view", "run_end_encoded")
    return any(_is(name, kind) for name in names)


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a batch as dicts; what Python has no value for is text."""
    columns = {name: _values(batch.column(i)) for i, name in enumerate(batch.schema.names)}
    return [{name: column[i] for name, column in columns.items()} for i in range(batch.num_rows)]


def _values(column: pa.Array) -> list[Any]:
    if is_period(column.type):
        column = period_texts(column)
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # times that are too early, too late or too exact for Python
        storage = column.storage if isinstance(column, pa.ExtensionArray) else column
        return [None if item is None else str(item) for item in storage.cast(pa.string()).to_pylist()]


def is_period(kind: pa.DataType) -> bool:
    """Whether values are periods of pandas, which are numbers to all others."""
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "pandas.period"


def period_texts(column: Any) -> Any:
    """Return periods as text, such as ``2026-01``."""
    stored = column.cast(column.type.storage_type)
    values = stored.drop_null().unique()  # each becomes an object of Python
    texts = pa.array([str(one) for one in values.cast(column.type).to_pandas()], pa.string())
    return texts.take(pc.index_in(stored, values))


def meanings(field: pa.Field) -> Iterator[str]:
    """Yield what values of a column mean to pandas: the frequency of periods, and the closed side of intervals.

    Example:
        >>> metadata = {"ARROW:extension:name": "pandas.period", "ARROW:extension:metadata": '{"freq": "M"}'}
        >>> list(meanings(pa.field("month", pa.int64(), metadata=metadata)))
        ['period[M]']
    """
    kind, metadata = field.type, field.metadata or {}
    known = isinstance(kind, pa.BaseExtensionType)
    name = kind.extension_name if known else metadata.get(EXTENSION, b"").decode()
    if name in _MEANING:
        found = json.loads(kind.__arrow_ext_serialize__() if known else metadata[_PARAMETERS])
        yield f"{name.removeprefix('pandas.')}[{found[_MEANING[name]]}]"
    for inner in [pa.field("storage", kind.storage_type)] if known else children(kind):
        yield from meanings(inner)


def type_and_meaning(field: pa.Field) -> str:
    """Return our name of a column's type, and what its values mean to pandas, such as ``int64 period[M]``."""
    return " ".join([type_name(canonical(field.type)), *meanings(field)])


#: The schema that was written last, and its bytes.
_WRITTEN: list[tuple[pa.Schema, bytes]] = []


def schema_bytes(schema: pa.Schema) -> bytes:
    """Return a schema as bytes.

    A step makes many tables of one schema, and to compare two takes a fraction of what it takes to write or hash one.
    """
    last = _WRITTEN[0] if _WRITTEN else None
    if last is not None and schema.equals(last[0], check_metadata=True):
        return last[1]
    written: bytes = schema.serialize().to_pybytes()
    _WRITTEN[:] = [(schema, written)]
    return written


#: So few bytes take longer to compress, and to pass on piece by piece, than anything else that is done with them.
TINY = 2048


def bytes_of(data: pa.RecordBatch | pa.Table) -> int:
    """Return about how many bytes a batch or table has in memory."""
    held = int(data.get_total_buffer_size())
    if held <= TINY:  # some of it may have been cut away; to count without that takes longer than to copy it
        return held
    try:
        return int(data.nbytes)
    except pa.ArrowException:  # pyarrow before 23 cannot tell of views
        return held


def children(kind: pa.DataType) -> list[pa.Field]:
    """Return the fields of a nested type."""
    return [kind.field(i) for i in range(kind.num_fields)] if T.is_nested(kind) else []


def inner_types(kind: pa.DataType) -> Iterator[pa.DataType]:
    """Yield a type and all that are in it: those of storage, of categories and of fields."""
    yield kind
    if isinstance(kind, pa.BaseExtensionType):
        yield from inner_types(kind.storage_type)
    elif T.is_dictionary(kind):
        yield from inner_types(kind.value_type)
    for field in children(kind):
        yield from inner_types(field.type)


@lru_cache(maxsize=1024)
def canonical(kind: pa.DataType) -> pa.DataType:
    """Return the type that stands for every layout of the same content.

    Example:
        >>> print(canonical(pa.dictionary(pa.int8(), pa.string())))
        large_string
    """
    if isinstance(kind, pa.BaseExtensionType):
        return canonical(kind.storage_type)
    if T.is_dictionary(kind) or _is("run_end_encoded", kind):
        return canonical(kind.value_type)
    if is_text(kind):
        return pa.large_string()
    if is_binary(kind):
        return pa.large_binary()
    if is_list(kind):
        return pa.large_list(pa.field("item", canonical(kind.value_type)))
    if T.is_fixed_size_list(kind):
        return pa.list_(pa.field("item", canonical(kind.value_type)), kind.list_size)
    if T.is_map(kind):
        pair = pa.struct([("key", canonical(kind.key_type)), ("value", canonical(kind.item_type))])
        return pa.large_list(pa.field("item", pair))
    if T.is_struct(kind):
        return pa.struct([pa.field(field.name, canonical(field.type)) for field in children(kind)])
    if T.is_timestamp(kind) and kind.tz in _UTC:
        return pa.timestamp(kind.unit, "UTC")
    if T.is_decimal(kind):
        return pa.decimal256(76, kind.scale) if kind.precision > 38 else pa.decimal128(38, kind.scale)
    return kind


def common_type(one: pa.DataType, other: pa.DataType, *, wide: bool = False) -> pa.DataType | None:
    """Return the canonical type that holds the values of two others as they are, or ``None``.

    Nulls have any type, also those in lists and structs, and decimals take the larger scale, with which some have too
    many digits: ``cast_exactly`` refuses these.

    Args:
        one: A canonical type.
        other: Another.
        wide: Whether decimals of two scales have room for 76 digits; polars has none for more than 38.

    Example:
        >>> print(common_type(canonical(pa.decimal128(5, 1)), canonical(pa.decimal128(3, 2))))
        decimal128(38, 2)
    """
    if one == other or T.is_null(other):
        return one
    if T.is_null(one):
        return other
    if T.is_decimal(one) and T.is_decimal(other):
        digits = 76 if wide and one.scale != other.scale else max(one.precision, other.precision)
        return canonical(pa.decimal256(digits, max(one.scale, other.scale)))
    inner = [common_type(a.type, b.type, wide=wide) for a, b in zip(children(one), children(other), strict=False)]
    fields = [a.with_type(kind) for a, kind in zip(children(one), inner, strict=False) if kind is not None]
    if not fields or len(fields) != max(one.num_fields, other.num_fields):
        return None
    if is_list(one) and is_list(other):
        return pa.large_list(fields[0])
    if T.is_fixed_size_list(one) and T.is_fixed_size_list(other) and one.list_size == other.list_size:
        return pa.list_(fields[0], one.list_size)
    same_names = [field.name for field in children(one)] == [field.name for field in children(other)]
    return pa.struct(fields) if T.is_struct(one) and T.is_struct(other) and same_names else None


@lru_cache(maxsize=1024)
def type_name(kind: pa.DataType) -> str:
    """Return our name of a canonical type; it is part of every digest.

    Raises:
        TypeError: The type cannot be stored, so it has none.

    Example:
        >>> type_name(pa.timestamp("us", "UTC"))
        'timestamp[us]@UTC'
    """
    if T.is_nested(kind):
        return _nested_name(kind)
    for name, check in _PLAIN:
        if check(kind):
            return name
    if T.is_timestamp(kind):
        return f"timestamp[{kind.unit}]" + (f"@{kind.tz}" if kind.tz else "")
    if T.is_duration(kind):
        return f"duration[{kind.unit}]"
    if T.is_time(kind):
        return f"time[{kind.unit}]"
    if T.is_decimal(kind):
        return f"decimal({kind.scale})"
    if T.is_fixed_size_binary(kind):
        return f"binary[{kind.byte_width}]"
    raise TypeError(f"Arrow's {kind} has no place in a table")


_PLAIN: tuple[tuple[str, Any], ...] = (
    ("string", is_text),
    ("binary", is_binary),
    ("null", T.is_null),
    ("bool", T.is_boolean),
    *((name, getattr(T, f"is_{name}")) for name in ("int8", "int16", "int32", "int64")),
    *((name, getattr(T, f"is_{name}")) for name in ("uint8", "uint16", "uint32", "uint64")),
    *((name, getattr(T, f"is_{name}")) for name in ("float16", "float32", "float64")),
    ("date", T.is_date32),
    ("date64", T.is_date64),
)


def _nested_name(kind: pa.DataType) -> str:
    if is_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    if T.is_fixed_size_list(kind):
        return f"list[{kind.list_size}]<{type_name(kind.value_type)}>"
    if T.is_struct(kind) and kind.num_fields:
        # With the length of each name, so that no name can be taken for the end of another.
        inner = (f"{len(field.name)}:{field.name}:{type_name(field.type)}" for field in children(kind))
        return f"struct<{','.join(inner)}>"
    raise TypeError(f"Arrow's {kind} has no place in a table")
