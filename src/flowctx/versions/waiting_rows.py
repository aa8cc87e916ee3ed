"""Rows of which the columns are known when the last one has come: until then, they wait in a temporary file."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from flowctx.core.printable import well_formed
from flowctx.core.temporary_files import WaitingItems
from flowctx.versions.rows import text

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


def csv_blocks(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield rows as CSV, below the names of their columns, in the order in which these first come.

    The last row may have a column that no other has. Until it has come, the others wait in a temporary file, so that
    few are in memory.

    Args:
        found: The rows.

    Raises:
        FlowctxError: The temporary file cannot be written.

    Example:
        >>> "".join(csv_blocks([{"tier": "T1", "rate": 0.5}, {"tier": "T2", "held": True}])).split()
        ['tier,rate,held', 'T1,0.5,', 'T2,,true']
    """
    with WaitingRows(found, text) as waiting:
        yield _csv([waiting.columns])
        yield from map(_csv, waiting.blocks())


def _csv(rows: Iterable[Sequence[str]]) -> str:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows(rows)
    return well_formed(made.getvalue())
