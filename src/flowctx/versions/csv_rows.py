"""Rows of many partitions as CSV: the names of all columns stand first, and are known when the last row has come."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flowctx.core.printable import well_formed
from flowctx.versions.rows import text
from flowctx.versions.waiting_rows import WaitingRows


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
