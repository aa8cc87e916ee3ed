"""Which cells of matched rows differ, one pair of columns in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowctx.artifacts.row_keys import Matches, as_array, as_numpy, floats
from flowctx.artifacts.table_parts import PART_BYTES, PLACE
from flowctx.artifacts.types import rows_of
from flowctx.core.data.number_changes import are_near, is_number, number_change
from flowctx.core.data.table_changes import CellChange

#: The name of a row's number, where rows are compared by position.
ROW: Final = "row"
#: So many nested values are compared at a time.
_NESTED_AT_ONCE: Final = 10_000
#: Floats round off less than this part of a number: what is nearer to the tolerance is compared exactly.
_ROUNDED_OFF: Final = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How tables are compared.

    Args:
        key: The columns that say which rows are one and the same; none: rows are compared by position.
        atol: Numbers that differ by no more are equal.
        rtol: Numbers that differ by no more than this part of the new one are equal.
        most: So many changed cells, added rows and removed rows are returned.
        part_bytes: A part of a table has about so many bytes in memory; larger tables are sorted in temporary files.
    """

    key: tuple[str, ...] = ()
    atol: float = 0.0
    rtol: float = 0.0
    most: int = 1000
    part_bytes: int = PART_BYTES


class Cell(NamedTuple):
    """A cell that differs."""

    #: How large the change is; -1 of what was or is no number.
    size: float
    #: The place of its row in the old table.
    place: int
    #: What changed.
    change: CellChange

    @property
    def rank(self) -> tuple[float, int]:
        """What the largest changes are sorted by."""
        return -self.size, self.place


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedCells:
    """Which cells of a pair of parts differ."""

    #: In how many rows.
    rows: int = 0
    #: In how many rows each column has another value.
    columns: Mapping[str, int] = field(default_factory=dict)
    #: The largest changes of each column.
    largest: Sequence[Cell] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchedParts:
    """The values of a pair of parts whose rows are matched."""

    #: The key columns of the old part, and the places of its rows.
    keys: pa.Table
    #: Which rows are one and the same.
    rows: Matches
    #: The other columns of the old part.
    old: pa.Table
    #: Those of the new part.
    new: pa.Table

    def changed_cells(self, how: Comparison, floor: Cell | None) -> ChangedCells:
        """Compare all columns.

        Args:
            how: How.
            floor: Smaller changes than this one need not be returned.
        """
        columns: dict[str, int] = {}
        largest: list[Cell] = []
        any_differs = None
        for name in self.old.schema.names:
            if name == PLACE:
                continue
            before, after = self.old.column(name).take(self.rows.old), self.new.column(name).take(self.rows.new)
            differs = differing(before, after, before.type, how)
            count = pc.sum(differs).as_py() or 0
            if count:
                columns[name] = count
                any_differs = differs if any_differs is None else pc.or_(any_differs, differs)
                at = pc.indices_nonzero(differs)
                largest += self._largest(name, before.take(at), after.take(at), self.rows.old.take(at), how.most, floor)
        rows = 0 if any_differs is None else int(pc.sum(any_differs).as_py())
        return ChangedCells(rows=rows, columns=columns, largest=largest)

    def _largest(
        self, name: str, before: Any, after: Any, at: pa.Array, most: int, floor: Cell | None
    ) -> Iterator[Cell]:
        """Yield the largest changes of a column."""
        deltas = _deltas(before, after) if _is_number(before.type) else None
        sizes = np.full(len(at), -1.0) if deltas is None else _sizes(deltas)
        places = as_numpy(self.keys.column(PLACE).take(at))
        found = np.arange(len(sizes))
        if floor is not None:
            found = found[(sizes > floor.size) | ((sizes == floor.size) & (places < floor.place))]
        found = found[np.lexsort((places[found], -sizes[found]))[:most]]
        best = as_array(found)
        picked = pa.table({"old": before.take(best), "new": after.take(best)})
        values = [row for batch in picked.to_batches() for row in rows_of(batch)]
        shown = deltas.take(best).to_pylist() if deltas is not None else [None] * len(values)
        rows = keys_at(self.keys, at.take(best))
        for number, row, value, delta in zip(found.tolist(), rows, values, shown, strict=True):
            change = CellChange(row=row, column=name, old=value["old"], new=value["new"], delta=delta)
            yield Cell(float(sizes[number]), int(places[number]), change)


def _sizes(deltas: Any) -> Any:
    """Return how large changes of numbers are; what was or is no number comes after all others."""
    found = np.abs(floats(deltas))
    return np.where(np.isnan(found), -1.0, found)


def differing(before: Any, after: Any, kind: pa.DataType, how: Comparison) -> pa.ChunkedArray:
    """Return for each row whether two values differ: NaN is equal to NaN, and null to null."""
    if pa.types.is_nested(kind):
        return _nested_differ(before, after, how)
    if pa.types.is_null(kind):
        return pa.chunked_array([pa.repeat(pa.scalar(value=False), len(before))])
    if pa.types.is_float16(kind):  # which pyarrow does not compare
        before, after = before.cast(pa.float32()), after.cast(pa.float32())
    other = pc.not_equal(before, after)
    if pa.types.is_floating(kind):
        other = pc.and_not(other, pc.and_(pc.is_nan(before), pc.is_nan(after)))
    if (how.atol or how.rtol) and _is_number(kind):
        other = pc.and_not(other, _near(before, after, how))
    if not before.null_count and not after.null_count:
        return other
    one_is_null = pc.xor(pc.is_null(before), pc.is_null(after))
    return pc.or_(pc.and_kleene(other, pc.is_valid(other)), one_is_null)


def _near(before: Any, after: Any, how: Comparison) -> Any:
    """Return for each row whether two numbers count as equal, as :func:`are_near` says of a pair."""
    allowed = pc.add(pc.multiply(pc.abs(after.cast(pa.float64(), safe=False)), how.rtol), how.atol)
    sizes = pc.abs(_deltas(before, after))
    near = pc.and_(pc.less_equal(sizes, allowed), pc.is_finite(allowed))
    if pa.types.is_floating(before.type):
        return near
    close = pc.less_equal(pc.abs(pc.subtract(sizes, allowed)), pc.multiply(allowed, _ROUNDED_OFF))
    pairs = zip(before.filter(close).to_pylist(), after.filter(close).to_pylist(), strict=True)
    exact = pa.array([are_near(old, new, how.atol, how.rtol) for old, new in pairs], pa.bool_())
    return pc.replace_with_mask(near.combine_chunks(), close.combine_chunks(), exact)


def _nested_differ(before: Any, after: Any, how: Comparison) -> pa.ChunkedArray:
    found = []
    for start in range(0, len(before), _NESTED_AT_ONCE):
        some = [side.slice(start, _NESTED_AT_ONCE).to_pylist() for side in (before, after)]
        found.append(pa.array([not _alike(old, new, how) for old, new in zip(*some, strict=True)], pa.bool_()))
    return pa.chunked_array(found, pa.bool_())


def _alike(old: Any, new: Any, how: Comparison) -> bool:
    """Whether two nested values are equal but for numbers that are near."""
    if repr(old) == repr(new):
        return True
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        return len(old) == len(new) and all(_alike(one, other, how) for one, other in zip(old, new, strict=True))
    if isinstance(old, dict) and isinstance(new, dict):
        return all(_alike(old[name], new[name], how) for name in old)
    return is_number(old) and is_number(new) and are_near(old, new, how.atol, how.rtol)


def _deltas(before: Any, after: Any) -> pa.ChunkedArray:
    """Return by how much numbers changed: they are subtracted exactly, and only what comes of it is rounded."""
    for kind in _exact_types(before.type):
        try:
            deltas = pc.subtract(after.cast(kind), before.cast(kind))
        except pa.ArrowInvalid:  # a value has more digits
            continue
        # Arrow rounds a decimal twice, which makes 0.30000000000000004 of 0.3; a text it rounds once
        return deltas.cast(pa.string()).cast(pa.float64()) if pa.types.is_decimal(kind) else deltas
    pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
    found = [None if old is None or new is None else number_change(old, new) for old, new in pairs]
    return pa.chunked_array([pa.array(found, pa.float64())])


def _exact_types(kind: pa.DataType) -> list[pa.DataType]:
    """Return in which types numbers of another are subtracted exactly, or as floats are; the fastest first."""
    if not (pa.types.is_decimal(kind) or kind in (pa.int64(), pa.uint64())):
        return [pa.float64()]
    scale = kind.scale if pa.types.is_decimal(kind) else 0
    return [pa.decimal128(37, scale), pa.decimal256(75, scale)]  # what comes of it may have a digit more


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def keys_at(keys: pa.Table, at: pa.Array) -> Iterator[dict[str, Any]]:
    """Yield what some rows are known by: their keys, or their numbers."""
    names = [name for name in keys.schema.names if name != PLACE]
    if not names:
        yield from ({ROW: place} for place in as_numpy(keys.column(PLACE).take(at)).tolist())
    elif len(at):
        for batch in keys.select(names).take(at).to_batches():
            yield from rows_of(batch)
