"""The form of a table: what its writer finds again although its content does not depend on it."""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowctx.artifacts.content import fixed_values, flat, flat_list
from flowctx.artifacts.types import EXTENSION, T, canonical, children, inner_types, is_binary, is_list, is_text, is_view
from flowctx.core.errors import PlainDataError

#: Whether pyarrow can cast to views and hand them to other libraries.
_HAS_VIEWS = int(pa.__version__.partition(".")[0]) >= 23


@lru_cache(maxsize=1024)
def stored_type(kind: pa.DataType, *, nested: bool = False) -> pa.DataType:
    """Return the type as which Parquet keeps a type.

    Raises:
        TypeError: It keeps no such type.

    Example:
        >>> print(stored_type(pa.dictionary(pa.int8(), pa.string())))
        string
    """
    if isinstance(kind, pa.BaseExtensionType):
        return stored_type(kind.storage_type, nested=nested)
    if T.is_dictionary(kind):
        if nested:
            raise TypeError("categories inside of lists or structs")
        if T.is_nested(canonical(kind.value_type)):
            raise TypeError("categories that are lists or structs")
        return stored_type(kind.value_type, nested=True)
    if is_view(kind):
        if not (is_text(kind) or is_binary(kind) or is_list(kind)):
            raise TypeError("run-end encoded")
        if not is_list(kind):
            return canonical(kind)
    if T.is_decimal(kind) and kind.scale < 0:
        raise TypeError("decimals of a negative scale")
    # Parquet has no seconds, and older pyarrow writes any value for a large one.
    if T.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("ms", kind.tz)
    if T.is_fixed_size_list(kind):  # one that is null: pyarrow before 26 writes it and cannot read it again
        return pa.large_list(_stored_field(kind.field(0)))
    return with_children(kind, _stored_field)


def with_children(kind: pa.DataType, change: Callable[[pa.Field], pa.Field]) -> pa.DataType:
    """Return a type with other fields in it, and none of views; one that is not nested stays."""
    if T.is_list(kind):
        return pa.list_(change(kind.field(0)))
    if is_list(kind):
        return pa.large_list(change(kind.field(0)))
    if T.is_fixed_size_list(kind):
        return pa.list_(change(kind.field(0)), kind.list_size)
    if T.is_map(kind):
        return pa.map_(change(kind.key_field), change(kind.item_field))
    if T.is_struct(kind):
        return pa.struct([change(field) for field in children(kind)])
    return kind


def _stored_field(field: pa.Field) -> pa.Field:
    return field.with_type(stored_type(field.type, nested=True))


def stored(array: pa.Array) -> pa.Array:
    """Return an array as it is stored."""
    kind = stored_type(array.type)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if array.type == kind:
        return array
    if T.is_dictionary(array.type):
        values = array.dictionary
        return (values if values.type == kind else values.cast(kind)).take(array.indices)
    return cast(array, kind)


def cast(array: Any, kind: pa.DataType) -> Any:
    """Return an array in another layout of the same content."""
    if array.type == kind:
        return array
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([cast(chunk, kind) for chunk in array.chunks], kind)
    if T.is_null(array.type):
        return pa.nulls(len(array), kind)
    if _is_cast_wrongly(array.type) or _is_cast_wrongly(kind):
        return _cast_by_hand(array, kind)
    try:
        return array.cast(kind)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return _cast_by_hand(array, kind)


def cast_exactly(column: Any, kind: pa.DataType) -> Any:
    """Return a column of a canonical type as another that holds its values.

    Raises:
        pyarrow.ArrowInvalid: It does not hold one of them.
    """
    if column.type == kind:
        return column
    _check_room(column, kind)
    return cast(column, kind)


def _check_room(column: Any, kind: pa.DataType) -> None:
    """Refuse decimals that have too many digits for another scale: pyarrow, up to 26 at least, makes others of some."""
    own = column.type
    if own == kind:
        return
    if T.is_decimal(own) and T.is_decimal(kind):
        digits = kind.precision - kind.scale
        room = Decimal(f"1E{digits}")  # whatever the caller's decimal context
        if any(end is not None and end.copy_abs() >= room for end in pc.min_max(column).as_py().values()):
            raise pa.ArrowInvalid(f"one has more than {digits} digits before the point")
    elif T.is_struct(own):
        for inner, field in zip(column.flatten(), children(kind), strict=True):
            _check_room(inner, field.type)
    elif T.is_nested(own):
        _check_room(pc.list_flatten(column), kind.value_type)


@lru_cache(maxsize=1024)
def _is_cast_wrongly(kind: pa.DataType) -> bool:
    """Whether pyarrow, up to 26 at least, casts a type to other values.

    In lists of one length that are null it leaves elements, or puts any; views of lists, and nulls in a part of what is
    nested, become no valid arrays.
    """
    return any(
        T.is_fixed_size_list(one) or (is_list(one) and is_view(one)) or T.is_null(one) for one in inner_types(kind)
    )


def _cast_by_hand(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast what pyarrow cannot: what is nested, element by element."""
    if isinstance(array, pa.ExtensionArray):
        return cast(array.storage, kind)
    mask = pc.is_null(array) if array.null_count else None
    if T.is_struct(kind):
        inner = [cast(child, field.type) for child, field in zip(array.flatten(), children(kind), strict=True)]
        return pa.StructArray.from_arrays(inner, fields=children(kind), mask=mask)
    if T.is_fixed_size_list(kind):
        values = cast(_all_elements(array, kind.list_size), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=mask)
    if T.is_map(kind):
        pair = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
        large = flat_list(array, pa.large_list(pa.field("item", pair)))
        keys, items = (cast(large.values.field(i), kind.field(0).type.field(i).type) for i in range(2))
        return pa.MapArray.from_arrays(large.offsets.cast(pa.int32()), keys, items, type=kind, mask=mask)
    if is_list(kind):
        large = flat_list(array, pa.large_list(pa.field("item", array.type.value_type)))
        values = cast(large.values, kind.value_type)
        if is_view(kind):
            return _as_views(large, values, kind, mask)
        if T.is_large_list(kind):
            return pa.LargeListArray.from_arrays(large.offsets, values, type=kind, mask=mask)
        return pa.ListArray.from_arrays(large.offsets.cast(pa.int32()), values, type=kind, mask=mask)
    return array.cast(kind)


def _as_views(lists: pa.Array, values: pa.Array, kind: pa.DataType, mask: pa.Array | None) -> pa.Array:
    """Return lists as views, to which pyarrow 26 casts none."""
    view = pa.ListViewArray if T.is_list_view(kind) else pa.LargeListViewArray
    number = pa.int32() if view is pa.ListViewArray else pa.int64()
    starts, ends = lists.offsets[:-1], lists.offsets[1:]
    return view.from_arrays(starts.cast(number), pc.subtract(ends, starts).cast(number), values, type=kind, mask=mask)


def _all_elements(array: pa.Array, size: int) -> pa.Array:
    """Return the elements of lists of one length, and nulls for those of each list that is null."""
    if T.is_fixed_size_list(array.type):
        return fixed_values(array)
    if pc.any(pc.not_equal(pc.list_value_length(array), size)).as_py():
        raise pa.ArrowInvalid(f"lists have not all {size} elements")
    values = array.flatten()
    if not array.null_count:
        return values
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
    firsts = (np.cumsum(valid) - 1) * size
    places = (firsts[:, np.newaxis] + np.arange(size)).ravel()
    return values.take(pa.array(places, pa.int64(), mask=np.repeat(~valid, size)))


class _Categories:
    """The categories of a column, batch by batch.

    Args:
        first: Those of the first batch.
    """

    def __init__(self, first: pa.Array) -> None:
        self._known = first
        #: Those of later batches, new or known, until they are as many as are known: to find the new ones takes as long
        #: as it takes to read all.
        self._waiting: list[pa.Array] = []
        self._number = 0

    def add(self, values: pa.Array) -> bool:
        """Add those of a batch, and return whether that has none, or the same as all before it."""
        if not len(values) or self._known.equals(values):
            return True
        same = not len(self._known)
        self._waiting.append(values)
        self._number += len(values)
        if self._number >= len(self._known):
            self.all()
        return same

    def all(self) -> pa.Array:
        """Return them, those that only later batches have at the end."""
        if self._waiting:
            self._known = pc.unique(pa.chunked_array([self._known, *self._waiting]))
            self._waiting, self._number = [], 0
        return self._known


class Form:
    """What is kept of a table beside its content, gathered while it is written.

    Args:
        schema: The schema as its writer had it.
        freq: The frequency of its pandas index.
    """

    def __init__(self, schema: pa.Schema, *, freq: str | None = None) -> None:
        self.schema, self.freq = schema, freq
        self._categories: dict[int, _Categories] = {}
        self._indices = [i for i, field in enumerate(schema) if T.is_dictionary(_storage(field.type))]

    def see(self, group: list[pa.RecordBatch], path: str) -> None:
        """Note the categories of batches; those that only later ones have are put at the end.

        Raises:
            PlainDataError: They have an order, and those of two batches are others.
        """
        for i in self._indices:
            for batch in group:
                column = batch.column(i)
                column = column.storage if isinstance(column, pa.ExtensionArray) else column
                values = flat(column.dictionary.drop_null(), canonical(column.type.value_type))
                known = self._categories.setdefault(i, _Categories(values))
                if not known.add(values) and column.type.ordered:
                    raise other_categories(path, self.schema.names[i])

    def text(self, as_read: pa.Schema) -> bytes | None:
        """Return it as it stands in a file; ``None`` if a reader finds all of it anyway.

        Args:
            as_read: The schema that a reader finds.
        """
        if not self._indices and self.freq is None and as_read.equals(self.schema, check_metadata=True):
            return None
        found: dict[str, Any] = {"schema": _text(self.schema.serialize().to_pybytes())}
        if self._indices:
            found["categories"] = {str(i): _text(_packed(self._categories_of(i))) for i in self._indices}
        if self.freq is not None:
            found["freq"] = self.freq
        return json.dumps(found).encode()

    def _categories_of(self, i: int) -> pa.Array:
        kind = _storage(self.schema.field(i).type).value_type
        known = self._categories.get(i)
        return pa.array([], canonical(kind)) if known is None else known.all()

    @classmethod
    def read(cls, data: bytes | None, as_read: pa.Schema) -> Form:
        """Return the form in a file's metadata; that of the file itself if there is none."""
        if data is None:
            return cls(as_read)
        found = json.loads(data)
        schema = _read_schema(a2b_base64(found["schema"]))
        categories = {int(i): _unpacked(a2b_base64(text)) for i, text in found.get("categories", {}).items()}
        kinds = [_as_restored(field.type) for field in schema]
        for i, values in categories.items():
            kinds[i] = _with_room(kinds[i], len(values))
        fields = [field.with_type(kind) for field, kind in zip(schema, kinds, strict=True)]
        form = cls(pa.schema(fields, metadata=schema.metadata), freq=found.get("freq"))
        form._categories = {i: _Categories(values) for i, values in categories.items()}
        return form

    def restore(self, table: Any) -> Any:
        """Return a table (or batch) of some of its columns as their writer had them."""
        arrays, fields = [], []
        for name, column in zip(table.schema.names, table.columns, strict=True):
            i = self.schema.get_field_index(name)
            field = self.schema.field(i)
            arrays.append(self._restored(column, field.type, i))
            fields.append(field)
        schema = pa.schema(fields, metadata=self.schema.metadata)
        return type(table).from_arrays(arrays, schema=schema)

    def _restored(self, column: Any, kind: pa.DataType, i: int) -> Any:
        if column.type == kind:
            return column
        if isinstance(column, pa.ChunkedArray):
            return pa.chunked_array([self._restored(chunk, kind, i) for chunk in column.chunks], kind)
        if isinstance(kind, pa.BaseExtensionType):
            return pa.ExtensionArray.from_storage(kind, self._restored(column, kind.storage_type, i))
        if T.is_dictionary(kind):
            categories = self._categories[i].all()
            indices = pc.index_in(flat(column, categories.type), categories).cast(kind.index_type)
            values = cast(categories, kind.value_type)
            return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)
        return cast(column, kind)


def _read_schema(data: bytes) -> pa.Schema:
    """Return a schema; pandas, where it is installed, is asked for the types that it has made itself.

    pyarrow knows its periods and intervals only once pandas has made one in this process; before, they are numbers.
    """
    schema = pa.ipc.read_schema(pa.py_buffer(data))
    if any((field.metadata or {}).get(EXTENSION, b"").startswith(b"pandas.") for field in schema):
        try:
            import pandas
        except ModuleNotFoundError:
            return schema
        pa.array(pandas.PeriodIndex([], freq="D"))
        schema = pa.ipc.read_schema(pa.py_buffer(data))
    return schema


def _as_restored(kind: pa.DataType) -> pa.DataType:
    """Return the type as which a reader gets a type: views are plain in old versions, which crash over them."""
    if _HAS_VIEWS:
        return kind
    if T.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _as_restored(kind.value_type), kind.ordered)
    if is_view(kind) and not is_list(kind):
        return stored_type(kind)
    return with_children(kind, lambda field: field.with_type(_as_restored(field.type)))


def _with_room(kind: pa.DataType, categories: int) -> pa.DataType:
    """Return a type of categories that has room for so many: batches may have others each, and few of them."""
    if not T.is_dictionary(kind):
        return kind
    bits, unsigned = kind.index_type.bit_width, T.is_unsigned_integer(kind.index_type)
    while categories > 1 << (bits - (not unsigned)):
        bits *= 2
    index = getattr(pa, f"{'u' * unsigned}int{bits}")()
    return pa.dictionary(index, kind.value_type, kind.ordered)


def other_categories(path: str, column: str, number: int | None = None) -> PlainDataError:
    """Return the error of categories that have an order, and of which no one order is known.

    Args:
        path: The way to the table.
        column: The column.
        number: Of which batch of a generator they are, from 1 on.
    """
    others = "two pieces of it have other ones" if number is None else f"batch {number} has others than the first"
    return PlainDataError(
        f"{path} has categories with an order in column {column!r}, and {others}; give all the same ones"
    )


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _packed(array: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([array], names=["categories"])
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _unpacked(data: bytes) -> pa.Array:
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all().column(0).combine_chunks()


def _text(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")
