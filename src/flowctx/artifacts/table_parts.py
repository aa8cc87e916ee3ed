"""Two tables in pairs of parts, of which each fits into memory, whatever the size of the tables.

Rows with the same key come in the same pair. Large tables are written to temporary files, sorted into parts by a hash
of the key; a part that is still too large is sorted again.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
import pyarrow as pa

from flowctx.artifacts.content import flat_column
from flowctx.artifacts.form import cast_exactly
from flowctx.artifacts.row_keys import as_array, hash_rows, numbers
from flowctx.artifacts.types import bytes_of, canonical, is_period, is_text, period_texts, type_name
from flowctx.core.data.tables import Table
from flowctx.core.errors import ArtifactError, PlainDataError
from flowctx.core.temporary_files import having_room

#: The column of a part that says which row of its table each row is; a stored table has no such name.
PLACE: Final = "\0place"
#: A part of one table has about so many bytes in memory.
PART_BYTES: Final = 4 * 1024 * 1024
#: A table of no more parts is compared as it is, in memory: to sort it would take longer.
UNSORTED_PARTS: Final = 4
#: Rows are sorted into at most so many parts at once.
_MOST_PARTS: Final = 128
#: What is too large after being sorted so many times has many rows of one key, or rows larger than a part.
_MOST_LEVELS: Final = 2
_SAMPLE_ROWS: Final = 1000
_PLACE_BYTES: Final = 8
_BATCH_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a table, each with its place there."""

    #: How many rows.
    rows: int
    #: About how many bytes they have in memory.
    bytes: int
    #: Yields them, of some columns.
    batches: Callable[[Sequence[str]], Iterator[pa.RecordBatch]]
    #: What it has, apart from the place, and as which types it is compared.
    types: Mapping[str, pa.DataType]

    def read(self, names: Sequence[str]) -> pa.Table:
        """Return some columns, each in one piece, and the place."""
        schema = pa.schema([*((name, self.types[name]) for name in names), (PLACE, pa.int64())])
        return pa.Table.from_batches(self.batches(names), schema).combine_chunks()


def sample_of(table: Table) -> pa.RecordBatch | pa.Table:
    """Return the first rows of a table, for its types and the size of a row."""
    return next(iter(table.batches(rows=_SAMPLE_ROWS)), None) or table.to_arrow()


def part_of(table: Table, types: Mapping[str, pa.DataType], sample: pa.RecordBatch | pa.Table) -> Part:
    """Return a whole table as a part.

    Args:
        table: The table.
        types: Its columns, and as which types they are compared.
        sample: Its first rows.
    """

    def batches(names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in table.batches(list(names), rows=_BATCH_ROWS):
            if batch.num_rows:  # one without rows may have other types
                yield _cast(batch, names, types, numbers(start, start + batch.num_rows))
            start += batch.num_rows

    rows = sample.num_rows
    size = sum(_compared(sample, name, kind).nbytes for name, kind in types.items()) / rows if rows else 0
    return Part(table.rows, int((size + _PLACE_BYTES) * table.rows), batches, types)


def _cast(batch: Any, names: Sequence[str], types: Mapping[str, pa.DataType], places: pa.Array) -> pa.RecordBatch:
    columns = [_one(pa.chunked_array([_compared(batch, name, types[name])])) for name in names]
    return pa.RecordBatch.from_arrays([*columns, places], names=[*names, PLACE])


def compared_type(kind: pa.DataType, beside: pa.DataType) -> pa.DataType:
    """Return the type as which a column is compared: its canonical one; of periods, text, but beside whole numbers."""
    return canonical(pa.string() if is_period(kind) and not pa.types.is_integer(beside) else kind)


def _plain(column: Any, kind: pa.DataType) -> Any:
    return period_texts(column) if is_period(column.type) and is_text(kind) else flat_column(column)


def _compared(rows: Any, name: str, kind: pa.DataType) -> Any:
    """Return a column as it is compared."""
    try:
        return cast_exactly(_plain(rows.column(name), kind), kind)
    except pa.ArrowInvalid as exc:  # decimals of more digits than there is room for
        raise PlainDataError(
            f"column {name!r} does not become {type_name(kind)} exactly ({exc}); compare tables of the same types"
        ) from exc


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def pairs_by_position(old: Part, new: Part, part_bytes: int) -> Iterator[tuple[Part, Part]]:
    """Yield pairs of parts of two tables whose rows are compared by position."""
    bytes_a_row = max(max(side.bytes / side.rows if side.rows else 0 for side in (old, new)), 1)
    rows = max(int(part_bytes / bytes_a_row), 1)
    empty = Part(0, 0, lambda names: iter(()), old.types)
    yield from itertools.zip_longest(_slices(old, rows), _slices(new, rows), fillvalue=empty)


def _slices(part: Part, rows: int) -> Iterator[Part]:
    """Yield a part in slices of so many rows."""
    kept: list[pa.RecordBatch] = []
    names = list(part.types)
    for batch in part.batches(names):
        rest = batch
        while sum(one.num_rows for one in kept) + rest.num_rows >= rows:
            taken = rows - sum(one.num_rows for one in kept)
            yield _held([*kept, rest.slice(0, taken)], part)
            kept, rest = [], rest.slice(taken)
        if rest.num_rows:
            kept.append(rest)
    if kept:
        yield _held(kept, part)


def _held(kept: list[pa.RecordBatch], part: Part) -> Part:
    """Return batches in memory as a part."""
    return Part(
        sum(batch.num_rows for batch in kept),
        sum(map(bytes_of, kept)),
        lambda names: (batch.select([*names, PLACE]) for batch in kept),
        part.types,
    )


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that is gone afterwards, for what does not fit into memory.

    Raises:
        ArtifactError: There is no place for one.
    """
    with _having_room():
        folder = tempfile.TemporaryDirectory(prefix="flowctx-diff-", ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)


def _having_room() -> AbstractContextManager[None]:
    return having_room(error=ArtifactError, what="large tables are sorted by a key to be compared")


def pairs_by_key(
    old: Part,
    new: Part,
    key: Sequence[str],
    folder: Path,
    threads: ThreadPoolExecutor,
    *,
    part_bytes: int,
    level: int = 0,
) -> Iterator[tuple[Part, Part]]:
    """Yield pairs of parts of two tables: all rows of a key are in one pair.

    Raises:
        ArtifactError: There is no room for the temporary files.
    """
    larger = max(old.bytes, new.bytes)
    if larger <= UNSORTED_PARTS * part_bytes or level == _MOST_LEVELS:
        yield old, new
        return
    count = min(-(-larger // part_bytes), _MOST_PARTS)
    jobs = [
        threads.submit(_sorted_into, folder / f"{uuid4().hex}.arrow", part, key, count, level) for part in (old, new)
    ]
    for one, other in zip(*(job.result() for job in jobs), strict=True):
        if one.rows or other.rows:
            yield from pairs_by_key(one, other, key, folder, threads, part_bytes=part_bytes, level=level + 1)


def _sorted_into(path: Path, part: Part, key: Sequence[str], count: int, seed: int) -> list[Part]:
    """Write rows to a file, sorted into parts by their keys, and return the parts."""
    names = list(part.types)
    pieces: list[list[int]] = [[] for _ in range(count)]
    rows, sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    schema = pa.schema([*part.types.items(), (PLACE, pa.int64())])
    written = 0
    with _having_room(), pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in part.batches(names):
            place = (hash_rows(batch, key, seed) >> np.uint64(32)) % np.uint64(count)
            place = place.astype(np.uint8)  # which numpy sorts in one pass
            together = batch.take(as_array(np.argsort(place, kind="stable")))
            ends = np.cumsum(np.bincount(place, minlength=count))
            start = 0
            for number, end in enumerate(ends.tolist()):
                if end > start:
                    piece = together.slice(start, end - start)
                    writer.write_batch(piece)
                    pieces[number].append(written)
                    written += 1
                    rows[number] += end - start
                    sizes[number] += bytes_of(piece)
                    start = end
    return [
        Part(int(rows[number]), int(sizes[number]), _reading(path, where), part.types)
        for number, where in enumerate(pieces)
    ]


def _reading(path: Path, pieces: list[int]) -> Callable[[Sequence[str]], Iterator[pa.RecordBatch]]:
    def batches(names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(path)) as file:
            wanted = [*names, PLACE]
            stored = pa.ipc.open_file(file).schema
            options = pa.ipc.IpcReadOptions(included_fields=[stored.get_field_index(name) for name in wanted])
            reader = pa.ipc.open_file(file, options=options)
            for number in pieces:
                yield reader.get_batch(number).select(wanted)

    return batches
