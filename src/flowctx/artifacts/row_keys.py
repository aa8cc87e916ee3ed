"""Rows by their keys: which rows of two tables are one and the same, and a hash that sorts them into parts.

Rows are matched by a number for each key, and an array of where each number stands: a join of pyarrow's takes longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: So many keys can be told apart by numbers.
_MOST_CODES: Final = 1 << 62
#: With more numbers than so many for each row, they are made dense first.
_SPARSE: Final = 4
#: What a null or a NaN is hashed as.
_NOTHING: Final = 0x5851F42D


@dataclass(frozen=True, slots=True)
class Matches:
    """Which rows are one and the same, as positions in the two tables."""

    #: Rows of the old table that are in both.
    old: pa.Array
    #: The same rows in the new one.
    new: pa.Array
    #: Rows that are only in the new table.
    added: pa.Array
    #: Rows that are only in the old one.
    removed: pa.Array


@dataclass(frozen=True, slots=True)
class Repeats:
    """Keys that are not unique in one table."""

    #: How many keys.
    count: int = 0
    #: The position of the first row that has one of them.
    first: int = 0


def match_positions(old: int, new: int) -> Matches:
    """Return which rows are one and the same, of two tables of so many rows, by position."""
    both = min(old, new)
    same = numbers(0, both)
    return Matches(same, same, numbers(both, new), numbers(both, old))


def match_keys(old: pa.Table, new: pa.Table) -> tuple[Repeats, Repeats] | Matches:
    """Return which rows are one and the same, or which keys are not unique in either table.

    Args:
        old: The key columns of the old table.
        new: Those of the new one, of the same types.
    """
    codes, several = _codes(old, new)
    sides = codes[: old.num_rows], codes[old.num_rows :]
    repeats = tuple(_repeats(side, several) for side in sides)
    if any(side.count for side in repeats):
        return repeats[0], repeats[1]
    place = np.full(several, -1, np.int64)
    place[sides[1]] = np.arange(new.num_rows)
    there = place[sides[0]]
    in_both = there >= 0
    place[sides[0]] = -1  # what is left is only in the new table
    added = np.sort(place[place >= 0])
    return Matches(*map(as_array, (np.flatnonzero(in_both), there[in_both], added, np.flatnonzero(~in_both))))


def _repeats(codes: Any, several: int) -> Repeats:
    counts = np.bincount(codes, minlength=several)
    if not counts.size or counts.max() < 2:
        return Repeats()
    return Repeats(int((counts > 1).sum()), int(np.argmax(counts[codes] > 1)))


def _codes(old: pa.Table, new: pa.Table) -> tuple[Any, int]:
    """Return a number for each row of both tables, the same for the same key, and how many numbers there may be."""
    codes, count = None, 1
    for name in old.schema.names:
        column = pa.chunked_array([*old.column(name).chunks, *new.column(name).chunks], old.schema.field(name).type)
        encoded, several = _encoded(column)
        if codes is None:
            codes, count = encoded, several
            continue
        if count * several >= _MOST_CODES:
            codes, count = _encoded(codes)
        codes = pc.add(pc.multiply(codes, as_array([several])[0]), encoded)
        count *= several
    assert codes is not None  # noqa: S101 - there is a key
    if count > _SPARSE * len(codes) + 1000:
        codes, count = _encoded(codes)
    return as_numpy(codes), count


def _encoded(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """Return a number for each value, nulls too, and how many numbers there may be."""
    dense = _dense(column)
    if dense is not None:
        return dense
    if pa.types.is_floating(column.type):
        column = pc.add(column.cast(pa.float64()), pa.scalar(0.0))  # -0.0 is 0.0
    encoded = column.dictionary_encode().unify_dictionaries()
    several = max((len(chunk.dictionary) for chunk in encoded.chunks), default=0)
    found = [pc.fill_null(chunk.indices.cast(pa.int64()), as_array([several])[0]) for chunk in encoded.chunks]
    return pa.chunked_array(found, pa.int64()), several + 1


def _dense(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int] | None:
    """Return integers and dates as they are, from 0 on, if they lie close together; a hash table takes longer."""
    kind = column.type
    if not (pa.types.is_signed_integer(kind) or pa.types.is_date32(kind)) or column.null_count or not len(column):
        return None
    found = column.cast(pa.int32()) if pa.types.is_date32(kind) else column
    found = found.cast(pa.int64())
    ends = pc.min_max(found)
    several = ends["max"].as_py() - ends["min"].as_py() + 1
    return (pc.subtract(found, ends["min"]), several) if several <= _SPARSE * len(column) + 1000 else None


# -- hashes -----------------------------------------------------------------------------------------------------------


def hash_rows(batch: pa.RecordBatch, names: Sequence[str], seed: int) -> Any:
    """Return a number below 2**64 for each row, the same for equal keys; it holds in this process only."""
    found = np.full(batch.num_rows, seed, np.uint64)
    for name in names:
        found = _mixed(found ^ _hashed(batch.column(name)))
    return found


def _mixed(found: Any) -> Any:
    """Spread numbers over all bits, as splitmix64 does."""
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))


def _hashed(column: pa.Array) -> Any:
    kind = column.type
    if pa.types.is_floating(kind):
        found = floats(column)
        return np.where(np.isnan(found), np.nan, found + 0.0).view(np.uint64)  # one NaN, and -0.0 as 0.0
    if pa.types.is_temporal(kind) or pa.types.is_integer(kind):
        plain = column.view(getattr(pa, f"int{kind.bit_width}")()).cast(pa.int64())
    elif pa.types.is_boolean(kind):
        plain = column.cast(pa.int64())
    else:
        encoded = column.dictionary_encode()
        hashes = as_array([hash(value) for value in encoded.dictionary.to_pylist()])
        plain = hashes.take(encoded.indices)
    filled = pc.fill_null(plain, as_array([_NOTHING])[0]) if plain.null_count else plain
    return as_numpy(filled).view(np.uint64)


# -- arrays -----------------------------------------------------------------------------------------------------------


def numbers(start: int, stop: int) -> pa.Array:
    """Return whole numbers in order."""
    return as_array(np.arange(start, stop))


def as_array(found: Any, kind: Any = np.int64) -> pa.Array:
    """Return numbers as an array; ``pa.array`` would import pandas first, which takes longer than a comparison."""
    made = np.ascontiguousarray(found, kind)
    return pa.Array.from_buffers(pa.from_numpy_dtype(kind), len(made), [None, pa.py_buffer(made)])


def as_numpy(found: pa.Array | pa.ChunkedArray, kind: Any = np.int64) -> Any:
    """Return numbers of 64 bits without nulls as numpy has them; ``to_numpy`` would import pandas, too."""
    chunks = found.chunks if isinstance(found, pa.ChunkedArray) else [found]
    parts = [np.frombuffer(c.buffers()[1], kind, len(c), c.offset * 8) for c in chunks if len(c)]
    return np.concatenate(parts) if parts else np.empty(0, kind)


def floats(found: pa.Array | pa.ChunkedArray) -> Any:
    """Return numbers as floats, as numpy has them; nulls are NaN."""
    nan = as_array([np.nan], np.float64)[0]
    return as_numpy(pc.fill_null(found.cast(pa.float64(), safe=False), nan), np.float64)
