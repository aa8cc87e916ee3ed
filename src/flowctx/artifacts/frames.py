"""Frames of any library as sources of Arrow batches; what Arrow would lose is refused here."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from flowctx.artifacts.fitted_batches import check_names, fitted, with_room
from flowctx.artifacts.from_pandas import arrow_of_pandas, counts_rows, index_freq
from flowctx.artifacts.parquet import surely_written, write_parquet
from flowctx.artifacts.types import TINY, bytes_of, rows_of
from flowctx.core.data.previews import ROWS
from flowctx.core.data.references import TableReference
from flowctx.core.data.tables import MAX_INLINE_BYTES
from flowctx.core.errors import PlainDataError

#: Rows of a batch that is cut from a frame.
_ROWS = 1 << 16
#: What a generator yields that is over.
_NOTHING = object()
#: Readers and generators that were handed on; they can be read once, and the second time they are empty.
_TAKEN: weakref.WeakSet[Any] = weakref.WeakSet()


class ArrowSource:
    """A frame that a step returned, as batches.

    Args:
        path: The way to it, for messages.
        open: Returns its schema and its batches.
        once: Whether it can be read only once.
        freq: The frequency of its pandas index.
        nbytes: About how many bytes it has in memory, if that is known.
        kept: Whether it is surely written, and a copy of its maker's memory.
    """

    def __init__(
        self,
        path: str,
        open: Callable[[], tuple[pa.Schema, Iterator[pa.RecordBatch]]],
        *,
        once: bool = False,
        freq: str | None = None,
        nbytes: int | None = None,
        kept: bool = False,
    ) -> None:
        self.path, self.once, self.freq, self.nbytes = path, once, freq, nbytes
        self.first: list[dict[str, Any]] = []
        self.form = ""
        self.kept = kept
        self._open = open
        self._read = False

    def batches(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return its schema and its batches.

        Raises:
            PlainDataError: It can be read only once, and was.
        """
        if self._read and self.once:
            raise _read_twice(self.path)
        self._read = True
        return self._open()

    def write(self, file: BinaryIO) -> TableReference:
        """Write it as Parquet in one pass, and return what stands for it, without a path in a store."""
        schema, made = self.batches()
        tiny = self.nbytes is not None and self.nbytes <= TINY  # it is read again as soon as its rows are noted
        batches = self._valid(made) if tiny else self._noted(made)
        how: dict[str, Any] = {"path": self.path, "freq": self.freq, "nbytes": self.nbytes}
        try:
            reference, self.form = write_parquet(schema, batches, file, **how)
        finally:
            if isinstance(made, pa.RecordBatchReader):  # one that was not read to its end holds what it reads from
                made.close()
        return reference

    def _valid(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches on; refuse what nobody could read."""
        for batch in batches:
            try:
                batch.validate(full=True)
            except pa.ArrowInvalid as exc:
                raise PlainDataError(
                    f"{self.path} has values that cannot be read: {exc}; check how it is made"
                ) from exc
            yield batch

    def _noted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches on, and note the first rows."""
        self.first = []
        for batch in batches:
            if len(self.first) < ROWS:
                self.first += rows_of(batch.slice(0, ROWS - len(self.first)))
            yield batch


def source_of(value: Any, path: str) -> ArrowSource | None:
    """Return a frame as a source, or ``None`` if it is none.

    Raises:
        PlainDataError: It is one, and something in it would be lost.
    """
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if kind.__name__ == "generator":
        return _of_generator(value, path)
    if kind.__name__ in ("Series", "Array", "ChunkedArray") and library in ("pandas", "polars", "pyarrow", "arro3"):
        raise PlainDataError(
            f"{path} is a {library} {kind.__name__}, one column without a frame; use .to_frame(), or .to_list() for "
            "a list of plain values"
        )
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return _of_pandas(value, path)
    if library == "polars":
        return _of_polars(value, path)
    if isinstance(value, pa.Table):
        return _of_table(value, path)
    if isinstance(value, pa.RecordBatchReader) or kind.__name__ in ("RecordBatchReader", "ArrayStream"):
        _take_once(value, path)
        return ArrowSource(path, lambda: _of_stream(value, path), once=True)
    return ArrowSource(path, lambda: _of_stream(value, path))


def _of_table(table: pa.Table, path: str, freq: str | None = None) -> ArrowSource:
    """Return a table as a source; a small one of plain columns is copied, as lists are: its maker may change it."""
    nbytes = bytes_of(table)
    kept = nbytes <= MAX_INLINE_BYTES and surely_written(table)
    return ArrowSource(path, _copied(table) if kept else lambda: _batches(table), freq=freq, nbytes=nbytes, kept=kept)


def _batches(table: pa.Table) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    return table.schema, iter(table.to_batches(max_chunksize=_ROWS))


def _copied(table: pa.Table) -> Callable[[], tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Copy a table, and return what returns its schema and its batches."""
    schema, batches = table.schema, table.to_batches(max_chunksize=_ROWS)
    if table.get_total_buffer_size() <= TINY:  # of a larger one, nothing is copied that was cut away
        copies = [batch.copy_to(pa.default_cpu_memory_manager()) for batch in batches]
        return lambda: (schema, iter(copies))
    messages = [batch.serialize() for batch in batches]
    return lambda: (schema, (pa.ipc.read_record_batch(message, schema) for message in messages))


def _of_stream(value: Any, path: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    try:
        reader = value if isinstance(value, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(value)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as exc:
        raise PlainDataError(f"{path} is a {type(value).__qualname__} that Arrow cannot read: {exc}") from exc
    return reader.schema, iter(reader)


def _take_once(value: Any, path: str) -> None:
    if value in _TAKEN:
        raise _read_twice(path)
    _TAKEN.add(value)


def _read_twice(path: str) -> PlainDataError:
    return PlainDataError(
        f"{path} can be read only once, and was handed on before: the second reader would find it empty; "
        "read it into a table first (read_all()), or hand it on once"
    )


# -- generators ---------------------------------------------------------------------------------------------------


def _of_generator(value: Any, path: str) -> ArrowSource | None:
    if value in _TAKEN:
        raise _read_twice(path)
    first: Any = next(value, _NOTHING)
    if first is _NOTHING:
        raise PlainDataError(
            f"{path} is a generator that yields nothing, so that nobody knows its columns; yield a batch without rows "
            "first, such as schema.empty_table(), or return list(...) of plain values"
        )
    if not (hasattr(first, "__arrow_c_stream__") or hasattr(first, "__arrow_c_array__")):
        return None
    _TAKEN.add(value)
    plain = not _is_pandas(first) or counts_rows(first.index, start=0)
    schema, head = _chunk(first, path, plain)
    if _is_pandas(first):
        schema = with_room(schema, first)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from (fitted(batch, schema, 1, path) for batch in head)
        for number, item in enumerate(value, 2):
            other, more = _chunk(item, path, plain)
            check_names(other, schema, number, path)
            yield from (fitted(batch, schema, number, path) for batch in more)

    return ArrowSource(path, lambda: (schema, batches()), once=True)


def _is_pandas(item: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(item, pandas.DataFrame)


def _chunk(item: Any, path: str, plain: bool) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return what a generator yields as batches.

    Args:
        item: What it yields.
        path: The way to it, for messages.
        plain: Whether an index that counts rows is left out, as that of the first frame: the order says as much.
    """
    if isinstance(item, pa.RecordBatch):
        return item.schema, iter([item])
    if _is_pandas(item) and counts_rows(item.index):
        item = item.reset_index(drop=True) if plain else item
        table = arrow_of_pandas(item, path, preserve_index=not plain)
        return table.schema, iter(table.to_batches())
    if hasattr(item, "__arrow_c_stream__"):
        source = source_of(item, path)
        assert source is not None  # noqa: S101  # it speaks Arrow
        return source.batches()
    batch = pa.record_batch(item)
    return batch.schema, iter([batch])


# -- polars -------------------------------------------------------------------------------------------------------


def _of_polars(value: Any, path: str) -> ArrowSource | None:
    lazy = type(value).__name__ == "LazyFrame"
    schema = value.collect_schema() if lazy else value.schema
    for name, kind in schema.items():
        if "Object" in str(kind):
            raise PlainDataError(
                f"{path} has Python objects in column {name!r}, of which Arrow would keep only the addresses; "
                f"convert them first, such as pl.Series([str(x) for x in frame[{name!r}]])"
            )
        if "Int128" in str(kind):
            raise PlainDataError(
                f"{path} has {kind} in column {name!r}, which Arrow cannot hold; cast it first, such as "
                f"pl.col({name!r}).cast(pl.Decimal(38, 0))"
            )
    if not lazy:
        return ArrowSource(path, lambda: _of_stream(value, path), nbytes=value.estimated_size())
    if not hasattr(value, "collect_batches"):
        raise PlainDataError(
            f"{path} is a LazyFrame, which is stored batch by batch with polars 1.34 or later; "
            "update polars, or pass frame.collect()"
        )

    def batches() -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        empty, _ = _of_stream(schema.to_frame(), path)
        return empty, _lazy_batches(value, empty, path)

    return ArrowSource(path, batches)


def _lazy_batches(value: Any, schema: pa.Schema, path: str) -> Iterator[pa.RecordBatch]:
    for frame in value.collect_batches(maintain_order=True, lazy=True):
        _, batches = _of_stream(frame, path)
        yield from (batch.cast(schema) if batch.schema != schema else batch for batch in batches)


# -- pandas -------------------------------------------------------------------------------------------------------


def _of_pandas(value: Any, path: str) -> ArrowSource:
    return _of_table(arrow_of_pandas(value, path), path, index_freq(value.index, path))
