"""The partitions of a batch as rows and columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

from flowctx.core.batches.records import PartitionState, Standing
from flowctx.core.errors import PartitionError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection

#: What a cell holds: a letter for each state, ``m`` for missing, and a space where there is no partition.
LETTERS = {
    PartitionState.OK: "o",
    PartitionState.SKIPPED: "s",
    PartitionState.FAILED: "f",
    PartitionState.RUNNING: "r",
    PartitionState.LAUNCHED: "l",
    PartitionState.CANCELED: "c",
    PartitionState.PARTIAL: "p",
    PartitionState.WAITING: "w",
}
MISSING, NONE = "m", " "


@dataclass
class Grid:
    """Rows and columns of partitions: one row for each value of one dimension, a column for each of the rest.

    The rows are as-of dates where the workflow has them, otherwise the values of the first dimension.
    """

    #: The dimension whose values are the rows.
    row_dimension: str
    #: The other dimensions, whose values joined by ``|`` are the columns.
    column_dimensions: tuple[str, ...]
    #: Whether the rows are dates.
    dated: bool
    #: The labels of the rows, in order.
    rows: list[str] = field(default_factory=list)
    #: The labels of the columns, in order; one without text if there are no other dimensions.
    columns: list[str] = field(default_factory=list)
    #: One letter for each cell (see :data:`LETTERS`), row by row.
    cells: bytearray = field(default_factory=bytearray)
    #: How many seconds each took; negative where that is not known.
    seconds: array[float] = field(default_factory=lambda: array("f"))

    @classmethod
    def of(cls, scheme: PartitionScheme, keys: Selection | Iterable[PartitionKey], runs: Iterable[Standing]) -> Grid:
        """Make the grid of some keys of a scheme and of what became of them."""
        row = scheme.cadence_dimension or scheme.dimensions[0]
        rest = tuple(name for name in scheme.dimensions if name != row)
        grid = cls(row, rest, dated=scheme.cadence is not None)
        places = {str(key): grid._place(key) for key in keys}
        grid._lay_out(list(places.values()), [_index(scheme.values(name)) for name in rest])
        rows, columns = _index(grid.rows), _index(grid.columns)
        width = len(grid.columns)
        for label, column in places.values():
            grid.cells[rows[label] * width + columns[column]] = ord(MISSING)
        for run in runs:
            place = places.get(run.partition) or grid._place_of(scheme, run.partition)
            if place is not None and place[0] in rows and place[1] in columns:
                at, seconds = rows[place[0]] * width + columns[place[1]], run.seconds
                grid.cells[at] = ord(LETTERS[run.state])
                grid.seconds[at] = -1.0 if seconds is None else seconds
        return grid

    @classmethod
    def of_occasions(cls, runs: Iterable[Standing]) -> Grid:
        """Make the grid of runs without partitions: a row for each as-of date, or for what else tells them apart."""
        by_row = {run.occasion: run for run in runs}
        grid = cls("run", (), dated=False, rows=sorted(by_row), columns=[""])
        for row in grid.rows:
            run = by_row[row]
            grid.cells.append(ord(LETTERS[run.state]))
            grid.seconds.append(-1.0 if run.seconds is None else run.seconds)
        return grid

    @classmethod
    def of_runs(cls, runs: Iterable[Standing]) -> Grid | None:
        """Make the grid of what became of partitions whose scheme is not at hand; what is missing is not in it."""
        known = {parts: run for run in runs if run.partition and (parts := _parts(run.partition)) is not None}
        names = {tuple([name for name, _ in parts]) for parts in known}
        if len(names) != 1:
            return None
        dimensions = next(iter(names))
        values = [{parts[at][1] for parts in known} for at in range(len(dimensions))]
        dated = next((name for name, some in zip(dimensions, values, strict=True) if all(map(_is_date, some))), None)
        row = dated or dimensions[0]
        grid = cls(row, tuple(name for name in dimensions if name != row), dated=dated is not None)
        at_row = dimensions.index(row)
        places = [
            (parts[at_row][1], "|".join([part[1] for place, part in enumerate(parts) if place != at_row]))
            for parts in known
        ]
        grid._lay_out(places, [])
        rows, columns = _index(grid.rows), _index(grid.columns)
        for (label, column), run in zip(places, known.values(), strict=True):
            at = rows[label] * len(grid.columns) + columns[column]
            grid.cells[at] = ord(LETTERS[run.state])
            grid.seconds[at] = -1.0 if run.seconds is None else run.seconds
        return grid

    def _place(self, key: PartitionKey) -> tuple[str, str]:
        return key[self.row_dimension], "|".join([key[name] for name in self.column_dimensions])

    def _place_of(self, scheme: PartitionScheme, partition: str) -> tuple[str, str] | None:
        """Return the place of a text that no key of the grid has as it stands, if it is one of the scheme's."""
        key = PartitionKey.parse(partition) if partition else None
        return self._place(key) if key is not None and key.keys() == set(scheme.dimensions) else None

    def _lay_out(self, places: list[tuple[str, str]], ranks: list[dict[str, int]]) -> None:
        rows = dict.fromkeys(row for row, _ in places)
        self.rows = sorted(rows) if self.dated else list(rows)
        columns = dict.fromkeys(column for _, column in places)
        self.columns = sorted(
            columns, key=lambda column: [rank.get(v, 0) for rank, v in zip(ranks, column.split("|"), strict=False)]
        )
        size = len(self.rows) * len(self.columns)
        self.cells = bytearray(NONE.encode() * size)
        self.seconds = array("f", [-1.0]) * size

    def row(self, index: int) -> bytes:
        """Return the letters of one row."""
        width = len(self.columns)
        return bytes(self.cells[index * width : (index + 1) * width])


def _index(labels: Iterable[str]) -> dict[str, int]:
    return {label: index for index, label in enumerate(labels)}


def _parts(text: str) -> tuple[tuple[str, str], ...] | None:
    """Return the names and values of a key's text, sorted; ``None`` if somebody else wrote it, and it is none."""
    found = [_part(part) for part in text.split("|")]
    parts = tuple(sorted([part for part in found if part is not None]))
    if len(parts) < len(found) or len(dict(parts)) < len(parts):
        try:
            return tuple(PartitionKey.parse(text).items())
        except PartitionError:
            return None
    return parts


@lru_cache(maxsize=100_000)  # a few thousand values make a hundred thousand keys
def _part(text: str) -> tuple[str, str] | None:
    try:
        ((name, value),) = PartitionKey.parse(text).items()
    except (PartitionError, ValueError):
        return None
    return name, value


def _is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False
