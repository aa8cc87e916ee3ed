"""The partitions of a batch as rows and columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from flowctx.core.batches.records import PartitionState, Standing
from flowctx.core.errors import PartitionError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection

#: What a cell holds: a letter for each state, ``m`` for missing, and a space where there is no partition.
LETTERS = {
    PartitionState.OK: "o",
    PartitionState.SKIPPED: "s",
    PartitionState.PRUNED: "x",
    PartitionState.FAILED: "f",
    PartitionState.RUNNING: "r",
    PartitionState.LAUNCHED: "l",
    PartitionState.CANCELED: "c",
    PartitionState.PARTIAL: "p",
    PartitionState.WAITING: "w",
}
MISSING, NONE = "m", " "
_CODES = {state: ord(letter) for state, letter in LETTERS.items()}


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
                grid._fill(rows[place[0]] * width + columns[place[1]], run)
        return grid

    @classmethod
    def of_occasions(cls, runs: Iterable[Standing]) -> Grid:
        """Make the grid of runs without partitions: a row for each as-of date, or for what else tells them apart."""
        by_row = {run.occasion: run for run in runs}
        grid = cls("run", (), dated=False, rows=sorted(by_row), columns=[""])
        for row in grid.rows:
            run = by_row[row]
            grid.cells.append(_CODES[run.state])
            grid.seconds.append(-1.0 if run.seconds is None else run.seconds)
        return grid

    @classmethod
    def of_runs(cls, runs: Iterable[Standing]) -> Grid | None:
        """Make the grid of what became of partitions whose scheme is not asked, in the order of their texts.

        What is missing is not in it.
        """
        some = {run.partition: run for run in runs if run.partition}
        values = _values(list(some))
        if values is None:  # somebody else wrote some of them
            some = {text: run for partition, run in some.items() if (text := _canonical(partition)) is not None}
            values = _values(list(some))
        if values is None:
            return None
        dated = next((name for name, labels in values.items() if all(map(_is_date, set(labels)))), None)
        row = dated or next(iter(values))
        rest = tuple(name for name in values if name != row)
        grid = cls(row, rest, dated=dated is not None)
        columns = list(map("|".join, zip(*(values[name] for name in rest), strict=True))) if rest else [""] * len(some)
        places = list(zip(values[row], columns, strict=True))
        grid._lay_out(places, [_index(sorted(set(values[name]))) for name in rest])
        at_row, at_column = _index(grid.rows), _index(grid.columns)
        width = len(grid.columns)
        for (label, column), run in zip(places, some.values(), strict=True):
            grid._fill(at_row[label] * width + at_column[column], run)
        return grid

    def _fill(self, at: int, run: Standing) -> None:
        """Say in a cell how a partition stands."""
        self.cells[at] = _CODES[run.state]
        if (seconds := run.seconds) is not None:
            self.seconds[at] = seconds

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


def _values(texts: list[str]) -> dict[str, list[str]] | None:
    """Return the value that each key has in each dimension, sorted by name; ``None`` if the texts are not all alike.

    A few thousand parts make a hundred thousand keys: each part is read once.
    """
    split = [text.split("|") for text in texts]
    found: dict[str, list[str]] = {}
    if len({len(parts) for parts in split}) != 1:
        return None
    for column in zip(*split, strict=True):
        read = {part: _part(part) for part in set(column)}
        names = {name for name, _ in read.values()}
        if len(names) != 1 or len(set(read.values())) < len(read):
            return None
        found[names.pop()] = [read[part][1] for part in column]
    return found if "" not in found and list(found) == sorted(found) and len(found) == len(split[0]) else None


def _part(text: str) -> tuple[str, str]:
    """Return the name and the value of one part of a key's text; no name, if it is none."""
    try:
        ((name, value),) = PartitionKey.parse(text).items()
    except (PartitionError, ValueError):
        return "", text
    return name, value


def _canonical(text: str) -> str | None:
    """Return the text of a key as we write it; ``None`` if it is none."""
    try:
        return str(PartitionKey.parse(text))
    except PartitionError:
        return None


def _is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False
