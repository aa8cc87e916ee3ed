"""What differs between two tables: rows found by their keys, one pair of parts in memory at a time."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flowctx.artifacts.changed_cells import Cell, ChangedCells, Comparison, MatchedParts, keys_at
from flowctx.artifacts.row_keys import Matches, Repeats, as_array, as_numpy, match_keys, match_positions
from flowctx.artifacts.table_parts import (
    PLACE,
    UNSORTED_PARTS,
    Part,
    compared_type,
    pairs_by_key,
    pairs_by_position,
    part_of,
    sample_of,
    temporary_folder,
)
from flowctx.artifacts.types import common_type, meanings, type_and_meaning, type_name
from flowctx.core.data.table_changes import TableChange
from flowctx.core.data.tables import Table
from flowctx.core.errors import PlainDataError
from flowctx.core.printable import amount

#: So many pairs of parts are compared at the same time: what takes long leaves Python to others.
_THREADS = 2


def compare_tables(old: Table, new: Table, how: Comparison) -> TableChange:
    """Return what differs between two tables; why they cannot be compared is a part of it.

    Raises:
        ArtifactError: One is gone or damaged.

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
        samples = sample_of(old), sample_of(new)
        types = _common_types(*samples)
        _check_key(types, how.key)
        sides = part_of(old, types, samples[0]), part_of(new, types, samples[1])
        needs_room = bool(how.key) and max(side.bytes for side in sides) > UNSORTED_PARTS * how.part_bytes
        with (
            temporary_folder() if needs_room else nullcontext(Path()) as folder,
            ThreadPoolExecutor(_THREADS) as threads,
        ):
            found = _Found(how, threads)
            for before, after in _pairs(*sides, how, folder, threads):
                found.look_at(before, after)
            found.finish()
    except PlainDataError as exc:
        return TableChange(rows_before=old.rows, rows_after=new.rows, key=how.key, problem=str(exc))
    return TableChange(
        rows_before=old.rows,
        rows_after=new.rows,
        key=how.key,
        added=found.added.count,
        removed=found.removed.count,
        changed_rows=found.changed_rows,
        columns={name: found.columns[name] for name in types if name in found.columns},
        largest=tuple(cell.change for cell in found.cells),
        added_rows=found.added.shown,
        removed_rows=found.removed.shown,
    )


def _pairs(
    old: Part, new: Part, how: Comparison, folder: Path, threads: ThreadPoolExecutor
) -> Iterator[tuple[Part, Part]]:
    if how.key:
        return pairs_by_key(old, new, how.key, folder, threads, part_bytes=how.part_bytes)
    return pairs_by_position(old, new, how.part_bytes)


def _common_types(old: Any, new: Any) -> dict[str, pa.DataType]:
    """Return the columns with their types, which have to be the same in both tables, if both have rows."""
    before, after = ({field.name: field for field in sample.schema} for sample in (old, new))
    odd = sorted(before.keys() ^ after.keys())
    if odd:
        where = "the old" if odd[0] in before else "the new"
        raise PlainDataError(f"only {where} table has the column {odd[0]!r}; compare tables of the same columns")
    types = {}
    for name in before:
        both = before[name], after[name]
        kind, other = compared_type(both[0].type, both[1].type), compared_type(both[1].type, both[0].type)
        types[name] = other if pa.types.is_null(kind) or not old.num_rows else kind
        if not old.num_rows or not new.num_rows:
            continue
        common = common_type(kind, other, wide=True)
        if common is None or _mean_two_things(*both):
            old_type, new_type = map(type_and_meaning, both)
            raise PlainDataError(
                f"column {name!r} is {old_type} in the old table and {new_type} in the new one; compare tables of the "
                "same types"
            )
        types[name] = common
    return types


def _mean_two_things(one: pa.Field, other: pa.Field) -> bool:
    """Whether values of two columns mean two things to pandas, such as months and days; plain numbers mean either."""
    meant = [list(meanings(field)) for field in (one, other)]
    return all(meant) and meant[0] != meant[1]


def _check_key(types: Mapping[str, pa.DataType], key: Sequence[str]) -> None:
    for name in key:
        if name not in types:
            raise PlainDataError(f"the tables have no column {name!r} to be a key; they have {', '.join(types)}")
        if pa.types.is_nested(types[name]):
            raise PlainDataError(f"column {name!r} is {type_name(types[name])}, which cannot be a key; choose another")


class _Rows:
    """Rows of one table: how many, and the first ones by their keys."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0
        self._first: list[tuple[int, dict[str, Any]]] = []

    def add(self, keys: pa.Table, at: pa.Array) -> None:
        """Count rows of a part."""
        self.count += len(at)
        places, positions = as_numpy(keys.column(PLACE).take(at)), as_numpy(at)
        if self._first and len(self._first) == self.most:
            kept = places < self._first[-1][0]
            places, positions = places[kept], positions[kept]
        best = np.argsort(places)[: self.most]
        found = zip(places[best].tolist(), keys_at(keys, as_array(positions[best])), strict=True)
        self._first = sorted([*self._first, *found], key=lambda one: one[0])[: self.most]

    @property
    def shown(self) -> tuple[dict[str, Any], ...]:
        """The first rows."""
        return tuple(row for _, row in self._first)


@dataclass(frozen=True, slots=True)
class _PairFound:
    """What differs between a pair of parts."""

    #: The key columns of both, and the places of their rows.
    keys: tuple[pa.Table, pa.Table]
    #: Which rows are one and the same, or which keys are not unique.
    rows: Matches | tuple[Repeats, Repeats]
    #: Which cells differ.
    cells: ChangedCells

    @classmethod
    def of(cls, old: Part, new: Part, how: Comparison, floor: Cell | None) -> _PairFound:
        """Match the rows of a pair of parts, and compare their cells; smaller changes than a floor are only counted."""
        keys = old.read(how.key), new.read(how.key)
        rows = match_keys(*(side.select(how.key) for side in keys)) if how.key else match_positions(old.rows, new.rows)
        if not isinstance(rows, Matches):  # then the values, which may be many, are not read
            return cls(keys, rows, ChangedCells())
        names = [name for name in old.types if name not in how.key]
        parts = MatchedParts(keys=keys[0], rows=rows, old=old.read(names), new=new.read(names))
        return cls(keys, rows, parts.changed_cells(how, floor))


class _Found:
    """Looks at one pair of parts after the other, counts what differs, and keeps the largest changes."""

    def __init__(self, how: Comparison, threads: ThreadPoolExecutor) -> None:
        self.how, self._threads = how, threads
        self.columns: dict[str, int] = {}
        self.changed_rows = 0
        self.added, self.removed = _Rows(how.most), _Rows(how.most)
        #: The largest changes first.
        self.cells: list[Cell] = []
        self._repeats = {"old": _Rows(1), "new": _Rows(1)}
        self._pending: deque[Future[_PairFound]] = deque()

    def look_at(self, old: Part, new: Part) -> None:
        """Begin to compare a pair of parts."""
        floor = self.cells[-1] if self.cells and len(self.cells) == self.how.most else None
        self._pending.append(self._threads.submit(_PairFound.of, old, new, self.how, floor))
        self._take(_THREADS - 1)

    def _take(self, pending: int) -> None:
        """Take what has been compared, until no more than so many pairs are pending."""
        while len(self._pending) > pending:
            found = self._pending.popleft().result()
            if isinstance(found.rows, Matches):
                self._add(found.keys, found.rows, found.cells)
                continue
            for rows, side, repeats in zip(self._repeats.values(), found.keys, found.rows, strict=True):
                if repeats.count:
                    rows.add(side, as_array([repeats.first]))
                    rows.count += repeats.count - 1

    def _add(self, keys: tuple[pa.Table, pa.Table], rows: Matches, cells: ChangedCells) -> None:
        self.removed.add(keys[0], rows.removed)
        self.added.add(keys[1], rows.added)
        self.changed_rows += cells.rows
        for name, count in cells.columns.items():
            self.columns[name] = self.columns.get(name, 0) + count
        self.cells = heapq.nsmallest(self.how.most, [*self.cells, *cells.largest], key=lambda cell: cell.rank)

    def finish(self) -> None:
        """Take what is left.

        Raises:
            PlainDataError: A key was more than one row of a table.
        """
        self._take(0)
        for side, rows in self._repeats.items():
            if rows.count:
                row = ", ".join(f"{name}={value}" for name, value in rows.shown[0].items())
                raise PlainDataError(
                    f"{amount(rows.count, 'key')} not unique in the {side} table, such as {row}; name more columns"
                )
