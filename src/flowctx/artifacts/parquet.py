"""Write a table as Parquet in one pass, with its digest and what else its writer has to find again: its form.

Parquet through Arrow does not keep everything: categories that no row has and their order, ``timestamp[s]``, views. So
the schema that was written is compared with the one that would be read, and where they differ the original is kept in
the file's own metadata.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache, partial
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from flowctx.artifacts.content import ContentDigest
from flowctx.artifacts.encodings import SAMPLE, encodings
from flowctx.artifacts.form import Form, stored, stored_type
from flowctx.artifacts.types import TINY, bytes_of, canonical, schema_bytes, type_name
from flowctx.core.data.references import TableReference
from flowctx.core.errors import PlainDataError
from flowctx.core.hashing import sha256

#: Batches that are written at once.
_Group = list[pa.RecordBatch]

#: A row group ends at so many bytes in memory, or rows.
_GROUP_BYTES = 32 * 1024 * 1024
_GROUP_ROWS = 1 << 20
#: So many bytes are hashed before a thread has begun.
_SMALL = 4 * 1024 * 1024
#: More columns than this are left out of a reference; they are in the file.
_MOST_COLUMNS = 64
#: How so few bytes are written: what makes large files small and quick to search takes longer here than all else.
_TINY: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
#: Under which names metadata of files that we write stands.
FORM_KEY = b"flowctx.form"


def write_parquet(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    file: BinaryIO,
    *,
    path: str = "the table",
    freq: str | None = None,
    nbytes: int | None = None,
) -> tuple[TableReference, str]:
    """Write batches as Parquet, in one pass and flat memory.

    Args:
        schema: Their schema.
        batches: Rows.
        file: Where to; it is not closed.
        path: The way to the table, for messages.
        freq: The frequency of its pandas index.
        nbytes: About how many bytes they have in memory, if that is known.

    Returns:
        What stands for the table, but for where it is, and a digest of its form: all that a reader finds beside the
        content.

    Raises:
        PlainDataError: It has a type that cannot be stored, or rows without columns.
    """
    try:
        plan = _planned(schema_bytes(schema))
    except TypeError as exc:
        raise PlainDataError(f"{path} has {exc}") from exc
    form = Form(schema, freq=freq) if freq is not None or not plan.is_found_again else None
    digest, sink = ContentDigest(schema), _Hashing(file)
    tiny = nbytes is not None and nbytes <= TINY
    buffer = pa.BufferOutputStream() if tiny else None
    groups = _groups(batches)
    begun = list(islice(groups, 1))
    with _explaining(path):
        how = _TINY if tiny else {"compression": "zstd", **plan.encodings(begun)}
    options = {"write_page_checksum": True, **how}
    with pq.ParquetWriter(sink if buffer is None else buffer, plan.stored, **options) as writer:
        with nullcontext(partial(_feed, digest)) if tiny else _digesting(digest) as feed:
            for group in _not_kept(begun, groups):
                feed(group)
                if form is not None:
                    form.see(group, path)
                with _explaining(path):
                    writer.write_table(plan.as_stored(group), row_group_size=_GROUP_ROWS)
        if not len(schema) and digest.rows:
            raise PlainDataError(f"{path} has {digest.rows:,} rows and no columns, and Parquet keeps no such rows")
        text = None if form is None else form.text(plan.as_read)
        if text is not None:
            writer.add_key_value_metadata({FORM_KEY: text})
    if buffer is not None:
        sink.write(buffer.getvalue())
    reference = _reference(plan, digest, sink)
    return reference, plan.usual_form if text is None else sha256(plan.as_read.serialize().to_pybytes() + text)


def _reference(plan: _Plan, digest: ContentDigest, sink: _Hashing) -> TableReference:
    return TableReference(
        rows=digest.rows,
        columns=plan.columns if len(plan.columns) <= _MOST_COLUMNS else None,
        size=sink.size,
        digest=digest.hexdigest(),
        checksum=sink.digest.hexdigest(),
    )


#: Types of which Parquet keeps every value, as it is.
_PLAIN = frozenset(
    {pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.date32()}
)


def surely_written(table: pa.Table) -> bool:
    """Whether nothing in a table can keep it from being written."""
    plain = _plain(schema_bytes(table.schema))
    if plain is _Plain.BUT_FOR_TEXT:
        try:
            table.validate(full=True)
        except pa.ArrowInvalid:
            return False
    return plain is not _Plain.NOT


class _Plain(Enum):
    """Whether every table of a schema can be written."""

    NOT = auto()
    #: Those with text that is not UTF-8 cannot.
    BUT_FOR_TEXT = auto()
    ALL = auto()


@lru_cache(maxsize=256)
def _plain(serialized: bytes) -> _Plain:
    schema = pa.ipc.read_schema(pa.py_buffer(serialized))
    try:
        if not len(schema) or not _PLAIN.issuperset(schema.types) or not all(field.nullable for field in schema):
            return _Plain.NOT
        _planned(serialized)
    except TypeError:  # a type that cannot be written, or has no hash
        return _Plain.NOT
    return _Plain.BUT_FOR_TEXT if pa.string() in schema.types else _Plain.ALL


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How tables of one schema are written."""

    #: The columns and their types, as we name them.
    columns: tuple[tuple[str, str], ...]
    #: The schema of what is stored.
    stored: pa.Schema
    #: The schema that a reader finds.
    as_read: pa.Schema
    #: The path and the physical type of each column in the file.
    leaves: tuple[tuple[str, str], ...]

    #: How they are encoded where nothing is known of what they hold.
    usual: dict[str, Any]
    #: Whether they are stored as they are.
    unchanged: bool
    #: Whether a reader finds the whole of the schema again.
    is_found_again: bool
    #: The digest of their form where nothing is kept of it.
    usual_form: str

    def as_stored(self, group: _Group) -> pa.Table:
        """Return batches as the table that is stored."""
        schema = self.stored
        if self.unchanged:
            return pa.Table.from_batches(group, schema)
        columns = [[_stored(batch.column(i), field.name) for batch in group] for i, field in enumerate(schema)]
        return pa.table([pa.chunked_array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)

    def encodings(self, groups: list[_Group]) -> dict[str, Any]:
        """Return how the columns of a table are encoded that begins with these rows."""
        batch = groups[0][0] if groups else None
        if batch is None or batch.num_rows < SAMPLE:
            return self.usual
        samples = {
            name: _stored(column.slice(0, SAMPLE), name)
            for name, column in zip(self.stored.names, batch.columns, strict=True)
        }
        return encodings(self.leaves, samples, batch.num_rows)


@lru_cache(maxsize=256)
def _planned(serialized: bytes) -> _Plan:
    """Return how tables of a schema are written.

    Raises:
        TypeError: They cannot be; says what they have.
    """
    schema = pa.ipc.read_schema(pa.py_buffer(serialized))
    columns = tuple((field.name, _checked_type(field)) for field in schema)
    names = schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TypeError(f"the column {twice!r} more than once; rename one of them")
    kept = pa.schema([field.with_type(stored_type(field.type)) for field in schema], metadata=schema.metadata)
    file = io.BytesIO()
    with pq.ParquetWriter(file, kept):  # without rows, to see how the schema comes back
        pass
    view = pq.ParquetFile(file)
    leaves = tuple((column.path, column.physical_type) for column in map(view.schema.column, range(len(view.schema))))
    as_read, unchanged = view.schema_arrow, _PLAIN.issuperset(schema.types)
    return _Plan(
        columns=columns,
        stored=kept,
        as_read=as_read,
        leaves=leaves,
        usual=encodings(leaves, {}, 0),
        unchanged=unchanged,
        is_found_again=unchanged and as_read.equals(schema, check_metadata=True),
        usual_form=sha256(as_read.serialize().to_pybytes()),
    )


def _checked_type(field: pa.Field) -> str:
    if "\0" in field.name:
        raise TypeError(f"the column {field.name!r} with a NUL; names are ordinary text")
    if type(field.type).__hash__ is None:
        raise TypeError(
            f"{field.type} in column {field.name!r}, an extension type of your own without a hash; give its class "
            "__hash__, or store array.storage"
        )
    try:
        stored_type(field.type)
        return type_name(canonical(field.type))
    except TypeError as exc:
        raise TypeError(
            f"{field.type} in column {field.name!r}, which Parquet does not keep ({exc}); cast it first"
        ) from exc


class _NoRoom(Exception):
    """A value is out of the range of the type as which Parquet keeps it."""


def _stored(column: pa.Array, name: str) -> pa.Array:
    try:
        return stored(column)
    except pa.ArrowInvalid as exc:
        raise _NoRoom(f"a value in column {name!r} that Parquet does not keep ({exc})") from exc


@contextmanager
def _explaining(path: str) -> Iterator[None]:
    """Say of what pyarrow cannot write what it is."""
    try:
        yield
    except _NoRoom as exc:
        raise PlainDataError(f"{path} has {exc}; convert it first") from exc.__cause__
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError, pa.ArrowInvalid) as exc:
        why = " ".join(str(exc).split())
        raise PlainDataError(
            f"{path} has what pyarrow {pa.__version__} cannot write as Parquet: {why}; install a newer one, or cast it"
        ) from exc


@contextmanager
def _digesting(digest: ContentDigest) -> Iterator[Callable[[list[pa.RecordBatch]], None]]:
    """Return what feeds a digest, in a thread: hashing and compressing leave Python to each other.

    One group of batches is fed while the next is made, so that memory stays flat; a small one costs no thread.
    """
    threads: list[ThreadPoolExecutor] = []
    fed: list[Future[None]] = []

    def feed(group: list[pa.RecordBatch]) -> None:
        while fed:
            fed.pop().result()
        if sum(map(bytes_of, group)) <= _SMALL:
            _feed(digest, group)
            return
        if not threads:
            threads.append(ThreadPoolExecutor(1))
        fed.append(threads[0].submit(_feed, digest, group))

    try:
        yield feed
        while fed:
            fed.pop().result()
    finally:
        for thread in threads:
            thread.shutdown()


def _feed(digest: ContentDigest, group: list[pa.RecordBatch]) -> None:
    for batch in group:
        digest.update(batch)


def _not_kept(begun: list[_Group], groups: Iterator[_Group]) -> Iterator[_Group]:
    """Yield the groups that were begun with, and the others, and keep none in memory."""
    while begun:
        yield begun.pop(0)
    yield from groups


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Gather batches into row groups: many small ones would make a file large and slow."""
    group: list[pa.RecordBatch] = []
    size = rows = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        group.append(batch)
        size += bytes_of(batch)
        rows += batch.num_rows
        if size >= _GROUP_BYTES or rows >= _GROUP_ROWS:
            yield group
            group, size, rows = [], 0, 0
    if group:
        yield group


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
