"""Rows of which the columns are known when the last one has come: until then, they wait in a temporary file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

from flowctx.core.temporary_files import WaitingItems

#: So many rows are in memory at a time.
_BLOCK = 500


class WaitingRows:
    """Cells of rows, in the order in which their columns first come.

    Args:
        rows: The rows.
        cell: Returns a value as it is kept, JSON-ready.
        columns: Columns that come first.

    Raises:
        FlowctxError: The temporary file cannot be written.

    Example:
        >>> with WaitingRows([{"tier": "T1"}, {"tier": "T2", "held": True}], str) as waiting:
        ...     waiting.columns, list(waiting.blocks())
        (['tier', 'held'], [[['T1', 'None'], ['T2', 'True']]])
    """

    def __init__(
        self, rows: Iterable[Mapping[str, Any]], cell: Callable[[Any], Any], columns: Iterable[str] = ()
    ) -> None:
        names = dict.fromkeys(columns)
        self._none = cell(None)
        self._waiting = WaitingItems()
        rest = iter(rows)
        try:
            while block := list(itertools.islice(rest, _BLOCK)):
                names.update(dict.fromkeys(itertools.chain.from_iterable(block)))
                self._waiting.put([[cell(row.get(name)) for name in names] for row in block])
        except BaseException:
            self._waiting.__exit__()
            raise
        #: The names of all columns.
        self.columns = list(names)

    def blocks(self) -> Iterator[list[list[Any]]]:
        """Yield the cells of so many rows at a time; a value that is not there is as ``None``."""
        most = len(self.columns)
        for block in self._waiting:
            yield [row + [self._none] * (most - len(row)) for row in block]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._waiting.__exit__()
