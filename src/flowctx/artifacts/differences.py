"""What differs between two tables: rows found by their keys, one pair of columns in memory at a time.

Rows are matched by a number for each key, and an array of where each number stands: a join of pyarrow's takes longer.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowctx.artifacts.types import canonical, rows_of, type_name
from flowctx.core.data.table_changes import CellChange, TableChange
from flowctx.core.data.tables import Table
from flowctx.core.errors import PlainDataError

#: The name of a row's number, where rows are compared by position.
ROW = "row"
#: So many nested values are compared at a time.
_NESTED_AT_ONCE = 10_000
#: So many keys can be told apart by numbers.
_MOST_CODES = 1 << 62
#: With more numbers than so many for each row, they are made dense first.
_SPARSE = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How tables are compared.

    Args:
        key: The columns that say which rows are one and the same; none: rows are compared by position.
        atol: Numbers that differ by no more are equal.
        rtol: Numbers that differ by no more than this part of the new one are equal.
        most: So many changed cells, added rows and removed rows are returned.
    """

    key: tuple[str, ...] = ()
    atol: float = 0.0
    rtol: float = 0.0
    most: int = 1000


def compare_tables(old: Table, new: Table, how: Comparison) -> TableChange:
    """Return what differs between two tables; why they cannot be compared is a part of it.

    Example:
        ::

            compare_tables(before, after, Comparison(key=("symbol",))).columns   # {"close": 3}
    """
    if old.digest == new.digest:
        return TableChange(rows_before=old.rows, rows_after=new.rows, key=how.key)
    with old.opened() as before, new.opened() as after:
        return _compared(before, after, how)


def _compared(old: Table, new: Table, how: Comparison) -> TableChange:
    try:
        types = _common_types(old, new)
        rows = _matched(old, new, types, how.key)
    except PlainDataError as exc:
        return TableChange(rows_before=old.rows, rows_after=new.rows, key=how.key, problem=str(exc))
    found = _Cells(old, new, rows, how)
    for name, kind in types.items():
        if name not in how.key:
            found.look_at(name, kind)
    return TableChange(
        rows_before=old.rows,
        rows_after=new.rows,
        key=how.key,
        added=len(rows.added),
        removed=len(rows.removed),
        changed_rows=found.changed_rows,
        columns=found.columns,
        largest=tuple(found.largest()),
        added_rows=tuple(_keys_at(new, rows.added[: how.most], how.key)),
        removed_rows=tuple(_keys_at(old, rows.removed[: how.most], how.key)),
    )


def _common_types(old: Table, new: Table) -> dict[str, pa.DataType]:
    """Return the columns with their types, which have to be the same in both tables."""
    before, after = (_schema(table) for table in (old, new))
    odd = sorted(before.keys() ^ after.keys())
    if odd:
        where = "the old" if odd[0] in before else "the new"
        raise PlainDataError(f"only {where} table has the column {odd[0]!r}; compare tables of the same columns")
    types = {}
    for name, kind in before.items():
        other = after[name]
        types[name] = other if pa.types.is_null(kind) else kind
        if kind != other and not pa.types.is_null(kind) and not pa.types.is_null(other):
            raise PlainDataError(
                f"column {name!r} is {type_name(kind)} in the old table and {type_name(other)} in the new one; compare "
                "tables of the same types"
            )
    return types


def _schema(table: Table) -> dict[str, pa.DataType]:
    first = next(iter(table.batches(rows=1)), None)
    schema = table.to_arrow().schema if first is None else first.schema
    return {field.name: canonical(field.type) for field in schema}


@dataclass(frozen=True, slots=True)
class _Rows:
    """Which rows are one and the same, as positions in the two tables."""

    old: pa.Array
    new: pa.Array
    added: pa.Array
    removed: pa.Array


def _matched(old: Table, new: Table, types: Mapping[str, pa.DataType], key: Sequence[str]) -> _Rows:
    if not key:
        both = min(old.rows, new.rows)
        same = _numbers(0, both)
        return _Rows(same, same, _numbers(both, new.rows), _numbers(both, old.rows))
    for name in key:
        if name not in types:
            raise PlainDataError(f"the tables have no column {name!r} to be a key; they have {', '.join(types)}")
        if pa.types.is_nested(types[name]):
            raise PlainDataError(f"column {name!r} is {type_name(types[name])}, which cannot be a key; choose another")
    codes, several = _codes(old, new, types, key)
    sides = {"old": codes[: old.rows], "new": codes[old.rows :]}
    for (side, numbers), table in zip(sides.items(), (old, new), strict=True):
        counts = np.bincount(numbers, minlength=several)
        if counts.size and counts.max() > 1:
            row = next(_keys_at(table, _array(np.flatnonzero(counts[numbers] > 1)[:1]), key))
            raise PlainDataError(
                f"{int((counts > 1).sum()):,} keys are not unique in the {side} table, such as {_shown(row)}; name "
                "more columns"
            )
    place = np.full(several, -1, np.int64)
    place[sides["new"]] = np.arange(new.rows)
    there = place[sides["old"]]
    in_both = there >= 0
    place[sides["old"]] = -1  # what is left is only in the new table
    added = np.sort(place[place >= 0])
    return _Rows(*map(_array, (np.flatnonzero(in_both), there[in_both], added, np.flatnonzero(~in_both))))


def _codes(old: Table, new: Table, types: Mapping[str, pa.DataType], key: Sequence[str]) -> tuple[Any, int]:
    """Return a number for each row of both tables, the same for the same key, and how many numbers there may be."""
    codes, count = None, 1
    for name in key:
        chunks = [chunk for table in (old, new) for chunk in _column(table, name, types[name]).chunks]
        numbers, several = _encoded(pa.chunked_array(chunks, types[name]))
        if codes is None:
            codes, count = numbers, several
            continue
        if count * several >= _MOST_CODES:
            codes, count = _encoded(codes)
        codes = pc.add(pc.multiply(codes, _scalar(several)), numbers)
        count *= several
    assert codes is not None  # noqa: S101 - there is a key
    if count > _SPARSE * len(codes) + 1000:
        codes, count = _encoded(codes)
    return _as_numpy(codes), count


def _encoded(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """Return a number for each value, nulls too, and how many numbers there may be."""
    dense = _dense(column)
    if dense is not None:
        return dense
    encoded = column.dictionary_encode().unify_dictionaries()
    several = max((len(chunk.dictionary) for chunk in encoded.chunks), default=0)
    numbers = [pc.fill_null(chunk.indices.cast(pa.int64()), _scalar(several)) for chunk in encoded.chunks]
    return pa.chunked_array(numbers, pa.int64()), several + 1


def _dense(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int] | None:
    """Return integers and dates as they are, from 0 on, if they lie close together; a hash table takes longer."""
    kind = column.type
    if not (pa.types.is_signed_integer(kind) or pa.types.is_date32(kind)) or column.null_count or not len(column):
        return None
    numbers = column.cast(pa.int32()) if pa.types.is_date32(kind) else column
    numbers = numbers.cast(pa.int64())
    ends = pc.min_max(numbers)
    several = ends["max"].as_py() - ends["min"].as_py() + 1
    return (pc.subtract(numbers, ends["min"]), several) if several <= _SPARSE * len(column) + 1000 else None


def _numbers(start: int, stop: int) -> pa.Array:
    return _array(np.arange(start, stop))


def _array(numbers: Any) -> pa.Array:
    """Return numbers as an array; ``pa.array`` would import pandas first, which takes longer than the comparison."""
    made = np.ascontiguousarray(numbers, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(made), [None, pa.py_buffer(made)])


def _scalar(number: int) -> pa.Scalar:
    return _array([number])[0]


def _as_numpy(numbers: pa.ChunkedArray) -> Any:
    """Return whole numbers without nulls as numpy has them; ``to_numpy`` would import pandas, too."""
    chunks = [np.frombuffer(c.buffers()[1], np.int64, len(c), c.offset * 8) for c in numbers.chunks if len(c)]
    return np.concatenate(chunks) if chunks else np.empty(0, np.int64)


def _column(table: Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    return table.to_arrow([name]).column(name).cast(kind)


class _Cells:
    """Looks at one column after the other, and keeps the largest changes."""

    def __init__(self, old: Table, new: Table, rows: _Rows, how: Comparison) -> None:
        self.old, self.new, self.rows, self.how = old, new, rows, how
        self.columns: dict[str, int] = {}
        self._any: Any = None
        self._found: list[tuple[float, int, str, Any, Any, float | None]] = []

    def look_at(self, name: str, kind: pa.DataType) -> None:
        """Compare one column."""
        before = _column(self.old, name, kind).take(self.rows.old)
        after = _column(self.new, name, kind).take(self.rows.new)
        differs = differing(before, after, kind, self.how)
        count = pc.sum(differs).as_py() or 0
        if not count:
            return
        self.columns[name] = count
        self._any = differs if self._any is None else pc.or_(self._any, differs)
        at = pc.indices_nonzero(differs)
        before, after = before.take(at), after.take(at)
        deltas = _deltas(before, after, kind)
        if deltas is not None and count > self.how.most:
            sizes = pa.table({"size": pc.fill_null(pc.abs(deltas), 0.0)})
            best = pc.select_k_unstable(sizes, self.how.most, [("size", "descending")])
        else:
            best = _numbers(0, min(count, self.how.most))
        picked = pa.table({"old": before.take(best), "new": after.take(best)})
        values = [row for batch in picked.to_batches() for row in rows_of(batch)]
        shown = deltas.take(best).to_pylist() if deltas is not None else [None] * len(values)
        for place, value, delta in zip(at.take(best).to_pylist(), values, shown, strict=True):
            size = abs(delta) if delta is not None and delta == delta else -1.0
            self._found.append((size, place, name, value["old"], value["new"], delta))
        self._found = heapq.nsmallest(self.how.most, self._found, key=lambda one: (-one[0], one[1]))

    @property
    def changed_rows(self) -> int:
        """How many rows have another value somewhere."""
        return 0 if self._any is None else int(pc.sum(self._any).as_py())

    def largest(self) -> Iterator[CellChange]:
        """Yield the largest changes first, each with its row."""
        places = _array([place for _, place, *_ in self._found])
        keys = _keys_at(self.old, self.rows.old.take(places), self.how.key)
        for row, (_, _, name, old, new, delta) in zip(keys, self._found, strict=True):
            yield CellChange(row=row, column=name, old=old, new=new, delta=delta)


def differing(before: Any, after: Any, kind: pa.DataType, how: Comparison) -> pa.ChunkedArray:
    """Return for each row whether two values differ: NaN is equal to NaN, and null to null."""
    if pa.types.is_nested(kind):
        return _nested_differ(before, after)
    if pa.types.is_null(kind):
        return pa.chunked_array([pa.repeat(pa.scalar(value=False), len(before))])
    other = pc.not_equal(before, after)
    if pa.types.is_floating(kind):
        other = pc.and_not(other, pc.and_(pc.is_nan(before), pc.is_nan(after)))
    if (how.atol or how.rtol) and _is_number(kind):
        old, new = before.cast(pa.float64(), safe=False), after.cast(pa.float64(), safe=False)
        allowed = pc.add(pc.multiply(pc.abs(new), how.rtol), how.atol)
        near = pc.and_(pc.less_equal(pc.abs(pc.subtract(new, old)), allowed), pc.is_finite(allowed))
        other = pc.and_not(other, near)
    if not before.null_count and not after.null_count:
        return other
    one_is_null = pc.xor(pc.is_null(before), pc.is_null(after))
    return pc.or_(pc.and_kleene(other, pc.is_valid(other)), one_is_null)


def _nested_differ(before: Any, after: Any) -> pa.ChunkedArray:
    found = []
    for start in range(0, len(before), _NESTED_AT_ONCE):
        some = [side.slice(start, _NESTED_AT_ONCE).to_pylist() for side in (before, after)]
        found.append(pa.array([repr(old) != repr(new) for old, new in zip(*some, strict=True)], pa.bool_()))
    return pa.chunked_array(found, pa.bool_())


def _deltas(before: Any, after: Any, kind: pa.DataType) -> Any:
    if not _is_number(kind):
        return None
    return pc.subtract(after.cast(pa.float64(), safe=False), before.cast(pa.float64(), safe=False))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _keys_at(table: Table, places: Any, key: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what some rows are known by."""
    if not key:
        yield from ({ROW: place} for place in places.to_pylist())
    elif len(places):
        for batch in table.to_arrow(list(key)).take(places).to_batches():
            yield from rows_of(batch)


def _shown(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in row.items())
