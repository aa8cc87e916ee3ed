"""Rows of many partitions as CSV: the names of all columns stand first, and are known when the last row has come."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from tempfile import SpooledTemporaryFile
from typing import Any

from flowctx.core.errors import FlowctxError
from flowctx.core.printable import well_formed
from flowctx.versions.rows import text

#: So many rows are in memory at a time.
_BLOCK = 500
#: So many bytes of rows that wait are, before they go to a file.
_IN_MEMORY = 1 << 20


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
    columns: dict[str, None] = {}
    rows = iter(found)
    waiting = SpooledTemporaryFile(max_size=_IN_MEMORY, mode="w+", encoding="ascii")  # noqa: SIM115 - closed below
    try:
        while block := list(itertools.islice(rows, _BLOCK)):
            columns.update(dict.fromkeys(itertools.chain.from_iterable(block)))
            cells = [[text(row.get(name)) for name in columns] for row in block]
            with _having_room():
                waiting.write(json.dumps(cells) + "\n")
        with _having_room():
            waiting.seek(0)  # what was not written yet is written now
        yield _csv([list(columns)])
        for line in waiting:
            yield _csv([row + [""] * (len(columns) - len(row)) for row in json.loads(line)])
    finally:
        with suppress(OSError):  # where it has no room, it says so once more
            waiting.close()


@contextmanager
def _having_room() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise FlowctxError(
            f"rows wait in a temporary file, which cannot be written ({exc.strerror}); set TMPDIR to a folder that has "
            "room"
        ) from exc


def _csv(rows: Iterable[Sequence[str]]) -> str:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows(rows)
    return well_formed(made.getvalue())
