"""Write a table as Parquet in one pass, with its digest and what else its writer has to find again: its form.

Parquet through Arrow does not keep everything: categories that no row has and their order, ``timestamp[s]``, views. So
the schema that was written is compared with the one that would be read, and where they differ the original is kept in
the file's own metadata.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from flowctx.artifacts.content import ContentDigest
from flowctx.artifacts.form import Form, stored, stored_type
from flowctx.artifacts.types import canonical, type_name
from flowctx.core.data.references import TableReference
from flowctx.core.errors import PlainDataError

#: A row group ends at so many bytes in memory, or rows.
_GROUP_BYTES = 32 * 1024 * 1024
_GROUP_ROWS = 1 << 20
#: So many bytes are hashed before a thread has begun.
_SMALL = 4 * 1024 * 1024
#: More columns than this are left out of a reference; they are in the file.
_MOST_COLUMNS = 64
#: Under which names metadata of files that we write stands.
FORM_KEY = b"flowctx.form"


def write_parquet(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    file: BinaryIO,
    *,
    path: str = "the table",
    freq: str | None = None,
) -> TableReference:
    """Write batches as Parquet, in one pass and flat memory.

    Args:
        schema: Their schema.
        batches: Rows.
        file: Where to; it is not closed.
        path: The way to the table, for messages.
        freq: The frequency of its pandas index.

    Returns:
        What stands for the table, but for where it is.

    Raises:
        PlainDataError: It has a type that cannot be stored, or rows without columns.
    """
    columns = _checked_columns(schema, path)
    form = Form(schema, freq=freq)
    kept = pa.schema([field.with_type(stored_type(field.type)) for field in schema], metadata=schema.metadata)
    digest, sink = ContentDigest(schema), _Hashing(file)
    view = _as_read(kept)
    options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True, "use_dictionary": _not_floats(view)}
    with pq.ParquetWriter(sink, kept, **options) as writer, ThreadPoolExecutor(1) as digesting:
        fed: Future[None] | None = None
        for group in _groups(batches):
            if fed is not None:
                fed.result()
                fed = None
            if sum(batch.nbytes for batch in group) > _SMALL:
                fed = digesting.submit(_feed, digest, group)  # hashing and compressing leave Python to each other
            else:
                _feed(digest, group)
            form.see(group)
            arrays = [[stored(batch.column(i)) for batch in group] for i in range(len(schema))]
            table = pa.table([pa.chunked_array(c, f.type) for c, f in zip(arrays, kept, strict=True)], schema=kept)
            writer.write_table(table, row_group_size=_GROUP_ROWS)
        if fed is not None:
            fed.result()
        if not len(schema) and digest.rows:
            raise PlainDataError(f"{path} has {digest.rows:,} rows and no columns, and Parquet keeps no such rows")
        text = form.text(view.schema_arrow)
        if text is not None:
            writer.add_key_value_metadata({FORM_KEY: text})
    return TableReference(
        rows=digest.rows,
        columns=columns if len(columns) <= _MOST_COLUMNS else None,
        size=sink.size,
        digest=digest.hexdigest(),
        checksum=sink.digest.hexdigest(),
    )


def _checked_columns(schema: pa.Schema, path: str) -> tuple[tuple[str, str], ...]:
    names = schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise PlainDataError(f"{path} has the column {twice!r} more than once; rename one of them")
    columns = []
    for field in schema:
        if "\0" in field.name:
            raise PlainDataError(f"{path} has the column {field.name!r} with a NUL; names are ordinary text")
        try:
            stored_type(field.type)
            columns.append((field.name, type_name(canonical(field.type))))
        except TypeError as exc:
            raise PlainDataError(
                f"{path} has {field.type} in column {field.name!r}, which Parquet does not keep ({exc}); cast it first"
            ) from exc
    return tuple(columns)


def _feed(digest: ContentDigest, group: list[pa.RecordBatch]) -> None:
    for batch in group:
        digest.update(batch)


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Gather batches into row groups: many small ones would make a file large and slow."""
    group: list[pa.RecordBatch] = []
    size = rows = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        group.append(batch)
        size += batch.nbytes
        rows += batch.num_rows
        if size >= _GROUP_BYTES or rows >= _GROUP_ROWS:
            yield group
            group, size, rows = [], 0, 0
    if group:
        yield group


def _as_read(schema: pa.Schema) -> pq.ParquetFile:
    """Return a file without rows, to see how a schema comes back."""
    file = io.BytesIO()
    with pq.ParquetWriter(file, schema):
        pass
    return pq.ParquetFile(file)


def _not_floats(view: pq.ParquetFile) -> list[str] | bool:
    """Return the columns worth a dictionary: floats hardly repeat, and are smaller and faster without."""
    columns = [view.schema.column(i) for i in range(len(view.schema))]
    names = [column.path for column in columns if column.physical_type not in ("FLOAT", "DOUBLE")]
    return names or False


class _Hashing(io.RawIOBase):
    """Passes on what is written, and takes its SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self.digest = file, 0, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.file.write(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size
