"""The tables of any number of partitions as batches of one: their rows wait in a temporary file."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO

import pyarrow as pa

from flowctx.artifacts.joined import Part, as_one_of, of_partition, plain, unified
from flowctx.artifacts.types import schema_bytes
from flowctx.artifacts.waiting_streams import put_stream, streams, temporary_file
from flowctx.core.data.tables import Table
from flowctx.core.errors import PlainDataError

_DIMENSIONS = b"dimensions"


@contextmanager
def joined_batches(parts: Iterable[Part]) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Yield the columns of several tables as one, with the dimensions before them, and its rows.

    All are read before it is known which types hold the values of each, and few of their rows are in memory.

    Args:
        parts: For each partition its dimensions and its table; at least one.

    Raises:
        PlainDataError: The columns of two tables do not fit together.
        ArtifactError: One is gone or damaged.
        FlowctxError: The temporary file cannot be written.
    """
    seen: dict[tuple[bytes, bool], tuple[Mapping[str, str], pa.Schema, int]] = {}
    with temporary_file() as waiting:
        for dims, table in parts:
            with of_partition(dims):
                schema, batches = _plain_batches(table)
                seen.setdefault((schema_bytes(schema), table.rows > 0), (dims, schema, table.rows))
                put_stream(schema.with_metadata({_DIMENSIONS: json.dumps(dict(dims))}), batches, waiting)
        found = list(seen.values())
        fields, wide = unified(found), unified(found, wide=True)
        if wide != fields and not _have_room(waiting, fields):
            fields = wide
        names = [name for name in found[0][0] if name not in fields]
        schema = pa.schema([*((name, pa.string()) for name in names), *fields.items()])
        yield schema, _joined(streams(waiting), fields)


def _plain_batches(table: Table) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return the columns of a table in canonical types, and its batches."""
    batches = iter(table.batches())
    first = next(batches, None)
    if first is None:
        return plain(table.to_arrow()).schema, iter(())
    read = (plain(pa.Table.from_batches([batch])) for batch in itertools.chain([first], batches))
    start = next(read)
    return start.schema, itertools.chain.from_iterable(some.to_batches() for some in itertools.chain([start], read))


def _have_room(waiting: IO[bytes], fields: Mapping[str, pa.DataType]) -> bool:
    """Whether columns of such types hold all that waits."""
    try:
        for _ in _joined(streams(waiting), fields):
            pass
    except PlainDataError:
        return False
    finally:
        waiting.seek(0, io.SEEK_END)
    return True


def _joined(waiting: Iterator[pa.RecordBatchReader], fields: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Yield what waits, with the types of all and the dimensions before the columns."""
    for stream in waiting:
        dims = json.loads(stream.schema.metadata[_DIMENSIONS])
        for batch in stream:
            found = as_one_of(dims, pa.Table.from_batches([batch]), fields)
            yield from found.combine_chunks().to_batches()
