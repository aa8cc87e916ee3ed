"""The digest of a table's content, fed batch by batch.

Each column has a digest of its own, fed in blocks of 65,536 rows whatever the batches were: for each block the number
of rows and of nulls, which rows are null (if any is), then canonical buffers: numbers with zero under nulls and one
NaN, lengths and bytes of the text that is not null, lengths and elements of lists. The root is made of every column's
name, type and digest, and the number of rows; types of pandas' periods have their frequency, those of intervals the
closed side. What differs only in layout (chunks, slices, dictionaries, views, large
types, a bitmap of ones, garbage under nulls) has one digest; what differs in a name, a type, a value, a null or the
order has another. ``-0.0`` and ``0.0`` are two values.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowctx.artifacts.types import T, canonical, is_list, meanings, schema_bytes, type_name

#: Rows of a block.
BLOCK = 1 << 16
#: Digests were made before intervals had their closed side in them: those of the usual ones stay.
_USUAL_INTERVAL = "interval[right]"
#: The one NaN of each width in bytes, as bits.
_NAN = {2: 0x7E00, 4: 0x7FC00000, 8: 0x7FF8000000000000}


class ContentDigest:
    """The digest of a table of a schema.

    Args:
        schema: Its schema; types that have no name are refused with ``TypeError``.

    Example:
        >>> table = pa.table({"a": [1, 2]})
        >>> digest = ContentDigest(table.schema)
        >>> digest.update(table.to_batches()[0])
        >>> digest.hexdigest()[:8]
        '3eb6d0cb'
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.kinds = _columns(schema_bytes(schema))
        self.columns = [hashlib.sha256() for _ in self.kinds]
        self.rows = 0
        self._waiting: list[pa.RecordBatch] = []
        self._waits = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Feed the next rows."""
        self.rows += batch.num_rows
        at = 0
        while at < batch.num_rows:
            taken = min(BLOCK - self._waits, batch.num_rows - at)
            self._waiting.append(batch if taken == batch.num_rows else batch.slice(at, taken))
            self._waits += taken
            at += taken
            if self._waits == BLOCK:
                self._feed()

    def hexdigest(self) -> str:
        """Return the digest, in 64 hexadecimal characters; nothing can be fed after that."""
        if self._waits:
            self._feed()
        root = hashlib.sha256()
        for kind, column in zip(self.kinds, self.columns, strict=True):
            root.update(kind.head + column.digest())
        root.update(struct.pack("<q", self.rows))
        return root.hexdigest()

    def _feed(self) -> None:
        blocks, self._waiting, self._waits = self._waiting, [], 0
        for i, (digest, kind) in enumerate(zip(self.columns, self.kinds, strict=True)):
            arrays = [flat(block.column(i), kind.type) for block in blocks]
            array = arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
            if kind.width and len(array):
                _feed_numbers(digest, array, kind.width, kind.floating)
            else:
                _feed(digest, array, kind.type)


class _Kind(NamedTuple):
    """What is known of a column before its values."""

    #: Its canonical type.
    type: pa.DataType
    #: The name and the type, as the root of a digest has them.
    head: bytes
    #: How many bytes a value has, if it is a number.
    width: int
    #: Whether it is a number with a fraction.
    floating: bool


@lru_cache(maxsize=256)
def _columns(serialized: bytes) -> list[_Kind]:
    """Return what is known of the columns of a schema."""
    found = []
    for field in pa.ipc.read_schema(pa.py_buffer(serialized)):
        kind = canonical(field.type)
        suffixes = (meaning for meaning in meanings(field) if meaning != _USUAL_INTERVAL)
        texts = (field.name.encode(), " ".join([type_name(kind), *suffixes]).encode())
        head = b"".join(struct.pack("<q", len(text)) + text for text in texts)
        found.append(_Kind(kind, head, _width(kind), T.is_floating(kind)))
    return found


def _width(kind: pa.DataType) -> int:
    """Return how many bytes a number of a type has; 0 if it is no type of numbers, dates or times."""
    return kind.bit_width // 8 if T.is_primitive(kind) and not T.is_boolean(kind) else 0


def flat(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return an array in its canonical layout."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if array.type == kind:
        return array
    if T.is_dictionary(array.type):
        return flat(array.dictionary, kind).take(array.indices)
    if T.is_struct(kind):
        inner = [flat(child, field.type) for child, field in zip(array.flatten(), kind, strict=True)]
        return pa.StructArray.from_arrays(inner, fields=list(kind), mask=_mask(array))
    if T.is_large_list(kind):
        return flat_list(array, kind)
    if T.is_fixed_size_list(kind):
        values = flat(fixed_values(array), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=_mask(array))
    return array.cast(kind)


def flat_column(column: Any) -> Any:
    """Return an array, or one in chunks, in its canonical layout.

    pyarrow's own cast, up to 26 at least, knows no dictionaries of views, and loses elements of views of lists.
    """
    kind = canonical(column.type)
    if not isinstance(column, pa.ChunkedArray):
        return flat(column, kind)
    return pa.chunked_array([flat(chunk, kind) for chunk in column.chunks], kind)


def flat_list(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return lists or maps in the layout of a type of large lists, which begins at their first one."""
    if T.is_map(array.type):
        pair = [array.type.key_field.with_name("key"), array.type.item_field.with_name("value")]
        pairs = pa.StructArray.from_arrays([array.keys, array.items], fields=pair)
        lists = pa.list_(pa.field("entries", pairs.type, nullable=False))
        # Not by a cast: pyarrow 26 makes some of those that are not valid.
        array = pa.Array.from_buffers(lists, len(array), array.buffers()[:2], array.null_count, array.offset, [pairs])
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    values = flat(array.flatten(), kind.value_type)  # without the elements of lists that are null
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values, type=kind, mask=_mask(array))


def fixed_values(array: pa.Array) -> pa.Array:
    """Return all elements of lists of one length, those of null lists too."""
    size = array.type.list_size
    return array.values.slice(array.offset * size, len(array) * size)


def _mask(array: pa.Array) -> pa.Array | None:
    return pc.is_null(array) if array.null_count else None


def _feed(digest: Any, array: pa.Array, kind: pa.DataType) -> None:
    """Feed one array of a canonical type."""
    nulls = array.null_count
    if len(array) and (width := _width(kind)):
        _feed_numbers(digest, array, width, T.is_floating(kind))
        return
    digest.update(struct.pack("<qq", len(array), nulls))
    if T.is_null(kind) or not len(array):
        return
    if nulls:
        digest.update(_bits(pc.is_valid(array)))
    for part in _parts(array, kind, nulls):
        if isinstance(part, tuple):
            _feed(digest, *part)
        else:
            digest.update(part)


def _parts(array: pa.Array, kind: pa.DataType, nulls: int) -> Iterator[Any]:
    """Yield the canonical buffers of an array, and its elements as arrays with their types."""
    if T.is_struct(kind):
        yield from zip(array.flatten(), (field.type for field in kind), strict=True)
    elif is_list(kind):
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        yield np.ascontiguousarray(lengths.astype("<i8"))
        yield array.flatten(), kind.value_type
    elif T.is_fixed_size_list(kind):
        yield (array.drop_null() if nulls else array).flatten(), kind.value_type
    elif T.is_large_string(kind) or T.is_large_binary(kind):
        yield from _text(array.drop_null() if nulls else array)
    elif T.is_boolean(kind):
        yield _bits(array.fill_null(False) if nulls else array)
    else:  # fixed-size binary, decimals
        array = array.drop_null() if nulls else array
        width = kind.byte_width
        if width and len(array):
            yield memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]


def _text(array: pa.Array) -> Iterator[Any]:
    if not len(array):
        return
    _, offsets, data = array.buffers()
    ends: Any = np.frombuffer(offsets, "<i8", len(array) + 1, array.offset * 8)
    yield np.diff(ends).astype("<i4")
    if data is not None:
        yield memoryview(data)[int(ends[0]) : int(ends[-1])]


def _valid(array: pa.Array) -> Any:
    """Return whether each value is one, and no null."""
    first, start = divmod(array.offset, 8)
    bitmap = np.frombuffer(array.buffers()[0], "u1", offset=first)
    return np.unpackbits(bitmap, count=start + len(array), bitorder="little")[start:].view("?")


def _feed_numbers(digest: Any, array: pa.Array, width: int, floating: bool) -> None:
    """Feed values of one width, with zero under nulls and one NaN."""
    nulls = array.null_count
    digest.update(struct.pack("<qq", len(array), nulls))
    values = np.frombuffer(array.buffers()[1], f"<u{width}", len(array), array.offset * width)
    if floating:
        strange = np.isnan(values.view(f"<f{width}"))
        if np.count_nonzero(strange):
            values = np.where(strange, values.dtype.type(_NAN[width]), values)
    if nulls:
        valid = _valid(array)
        digest.update(np.packbits(valid, bitorder="little"))
        values = np.where(valid, values, values.dtype.type(0))
    digest.update(values)


def _bits(array: pa.Array) -> Any:
    return np.packbits(array.to_numpy(zero_copy_only=False), bitorder="little")
