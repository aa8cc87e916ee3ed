"""What differs between two tables, as values that can be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class CellChange:
    """A cell that differs."""

    #: The row: the values of its key columns, or its number where rows are compared by position.
    row: Mapping[str, Any]
    #: The column.
    column: str
    #: What was there.
    old: Any
    #: What is there.
    new: Any
    #: By how much a number changed; ``None`` of what is no number, or was not one.
    delta: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TableChange:
    """What differs between two tables."""

    #: How many rows there were.
    rows_before: int = 0
    #: How many rows there are.
    rows_after: int = 0
    #: The columns that say which rows are one and the same; none: rows are compared by position.
    key: tuple[str, ...] = ()
    #: How many rows are only in the new table.
    added: int = 0
    #: How many rows are only in the old table.
    removed: int = 0
    #: How many rows are in both, with other values.
    changed_rows: int = 0
    #: In how many rows each column has another value; columns without a change are left out.
    columns: Mapping[str, int] = field(default_factory=dict)
    #: Cells that changed, the largest changes first; not more than were asked for.
    largest: tuple[CellChange, ...] = ()
    #: Rows that were added, by their keys; not more than were asked for.
    added_rows: tuple[Mapping[str, Any], ...] = ()
    #: Rows that were removed, by their keys; not more than were asked for.
    removed_rows: tuple[Mapping[str, Any], ...] = ()
    #: Why the tables cannot be compared, if they cannot.
    problem: str | None = None

    @property
    def cells(self) -> int:
        """How many cells changed."""
        return sum(self.columns.values())

    @property
    def differs(self) -> bool:
        """Whether anything differs, or cannot be compared."""
        return bool(self.problem or self.added or self.removed or self.columns)
