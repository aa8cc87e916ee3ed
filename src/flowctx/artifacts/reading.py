"""Read stored tables: all of one, some columns, some rows, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from flowctx.artifacts.conditions import Condition, wanted_columns
from flowctx.artifacts.extra_libraries import need_library
from flowctx.artifacts.form import Form
from flowctx.artifacts.into_pandas import pandas_frame
from flowctx.artifacts.into_polars import as_polars, polars_frame
from flowctx.artifacts.parquet import FORM_KEY
from flowctx.artifacts.types import canonical, rows_of, type_name
from flowctx.core.data.references import TableReference
from flowctx.core.errors import ArtifactError, PlainDataError

#: Rows that a reader takes at once.
_ROWS = 1 << 16
#: A file of no more bytes is read in one piece: its columns, one by one, take longer.
_READ_AT_ONCE = 1 << 21


class ParquetTable:
    """Reads one table from its file.

    Args:
        reference: What stands for it.
        open: Opens its bytes, after their number was checked.
        shown: How it is called in messages.
        dataset: Returns it as a dataset, where its store has a better way than all in memory.
    """

    def __init__(
        self,
        reference: TableReference,
        open: Callable[[], BinaryIO],
        shown: str,
        dataset: Callable[[], Any] | None = None,
        local_path: Callable[[], str] | None = None,
    ) -> None:
        self.reference, self.shown = reference, shown
        self._open, self._dataset, self._local_path = open, dataset, local_path
        self._known: tuple[Form, pa.Schema] | None = None
        self._shared: pq.ParquetFile | None = None

    @property
    def columns(self) -> Mapping[str, str]:
        """The names of its columns and their types."""
        with self._file():
            form, _ = self._form
        return {field.name: type_name(canonical(field.type)) for field in form.schema}

    def to_arrow(self, columns: Sequence[str] | None, where: Any) -> Any:
        """Return it as a ``pyarrow.Table``."""
        with self._file() as file:
            return self._read(file, columns, where)

    def to_pandas(self, columns: Sequence[str] | None, where: Any) -> Any:
        """Return it as a pandas DataFrame."""
        pandas = need_library("pandas")
        with self._file() as file:
            if columns is not None:
                columns = [*columns, *(name for name in self._index_columns() if name not in columns)]
            table, freq = self._read(file, columns, where), self._form[0].freq
        frame = pandas_frame(table, self._index_columns(), self_destruct=True)
        # That of periods is their type; versions before kept it all the same, and names that do not say all of it.
        if freq is not None and where is None and not isinstance(frame.index, pandas.PeriodIndex):
            with suppress(ValueError):
                frame.index.freq = freq
        return frame

    def to_polars(self, columns: Sequence[str] | None, where: Any) -> Any:
        """Return it as a polars DataFrame."""
        return polars_frame(self.to_arrow(columns, where), self.shown)

    def batches(self, columns: Sequence[str] | None, where: Any, rows: int) -> Iterator[Any]:
        """Yield it batch by batch, in flat memory."""
        with self._file() as file:
            names = self._names(columns)
            found = _batches(file, rows, names) if where is None else self._filtered(file, names, where, rows)
            for batch in found:
                yield self._form[0].restore(batch.select(names))

    def head(self, rows: int) -> list[dict[str, Any]]:
        """Return the first rows as dicts."""
        found: list[dict[str, Any]] = []
        for batch in islice(self.batches(None, None, max(rows, 1)), 1):
            found = rows_of(batch.slice(0, rows))
        return found

    def scan_polars(self) -> Any:
        """Return it as a polars LazyFrame."""
        polars = need_library("polars")
        with self._file():
            form, stored = self._form
        wanted = polars_frame(form.restore(stored.empty_table()), self.shown).schema
        if self._local_path is not None:
            frame = polars.scan_parquet(self._local_path(), glob=False)
        else:
            frame = polars.scan_pyarrow_dataset(self.dataset())
        found = frame.collect_schema()
        return frame.with_columns(as_polars(polars.col(n), kind) for n, kind in wanted.items() if found[n] != kind)

    def dataset(self) -> Any:
        """Return it as a ``pyarrow.dataset.Dataset`` of the columns as they are stored."""
        if self._dataset is not None:
            return self._dataset()
        from pyarrow import dataset

        with self._file() as file:
            return dataset.dataset(file.read())

    def stream(self, requested_schema: object | None) -> object:
        """Return it as an Arrow C stream."""
        with self._file():
            schema = self._form[0].schema
        reader = pa.RecordBatchReader.from_batches(schema, self.batches(None, None, _ROWS))
        return reader.__arrow_c_stream__(requested_schema)

    @contextmanager
    def opened(self) -> Iterator[ParquetTable]:
        """Open the file once for all that is read in the block; other readers of the table have files of their own."""
        same = copy(self)
        with self._open() as raw:
            with self._clear_errors():
                same._shared = same._parquet(raw)
            yield same

    # -- how -------------------------------------------------------------------------------------------------------

    def _read(self, file: pq.ParquetFile, columns: Sequence[str] | None, where: Any) -> pa.Table:
        names = self._names(columns)
        if where is not None:
            table = pa.Table.from_batches(self._filtered(file, names, where, _ROWS), self._stored(names))
        elif not file.num_row_groups:
            table = self._stored(names).empty_table()
        else:
            table = file.read(names)
        return self._form[0].restore(table.select(names))

    @contextmanager
    def _file(self) -> Iterator[pq.ParquetFile]:
        """Open the file, unless it is open already."""
        if self._shared is not None:
            with self._clear_errors():
                yield self._shared
        else:
            with self._open() as raw, self._clear_errors():
                yield self._parquet(raw)

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Say so clearly if the file is not what was written."""
        try:
            yield
        except (pa.ArrowInvalid, pa.ArrowIOError, pa.ArrowKeyError, ValueError) as exc:
            if isinstance(exc, (ArtifactError, PlainDataError)):
                raise
            raise ArtifactError(
                f"{self.shown} is damaged, or cannot be read so: {exc}; run the step that made it again"
            ) from exc

    def _parquet(self, raw: BinaryIO) -> pq.ParquetFile:
        source = pa.BufferReader(raw.read()) if self.reference.size <= _READ_AT_ONCE else raw
        file = pq.ParquetFile(source, page_checksum_verification=True)
        self._check(file)
        return file

    def _check(self, file: pq.ParquetFile) -> None:
        if file.metadata.num_rows != self.reference.rows:
            raise ArtifactError(
                f"{self.shown} has {file.metadata.num_rows} rows where {self.reference.rows} were written; "
                "run the step that made it again"
            )
        if self._known is None:
            stored = file.schema_arrow
            data = (file.metadata.metadata or {}).get(FORM_KEY)
            self._known = Form.read(data, _without_form(stored)), stored

    @property
    def _form(self) -> tuple[Form, pa.Schema]:
        assert self._known is not None  # noqa: S101  # _check() saw to it
        return self._known

    def _names(self, columns: Sequence[str] | None) -> list[str]:
        return wanted_columns(columns, self._form[0].schema.names, self.shown)

    def _stored(self, names: list[str]) -> pa.Schema:
        stored = self._form[1]
        return pa.schema([stored.field(name) for name in names])

    def _filtered(self, file: pq.ParquetFile, names: list[str], where: Any, rows: int) -> Iterator[pa.RecordBatch]:
        condition = Condition(where, self._form[1], self.shown)
        schema = self._stored(names)
        for batch in _batches(file, rows, None):
            found = condition.rows_of(pa.Table.from_batches([batch])).select(names)
            yield from found.cast(schema).to_batches() if found.num_rows else ()

    def _index_columns(self) -> list[str]:
        import json

        described = (self._form[0].schema.metadata or {}).get(b"pandas")
        if described is None:
            return []
        return [name for name in json.loads(described)["index_columns"] if isinstance(name, str)]


def _batches(file: pq.ParquetFile, rows: int, names: list[str] | None) -> Iterator[pa.RecordBatch]:
    """Yield batches, one row group after the other: asked for all at once, pyarrow keeps what it has read."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(batch_size=rows, columns=names, row_groups=[group])


def _without_form(schema: pa.Schema) -> pa.Schema:
    kept = {key: value for key, value in (schema.metadata or {}).items() if key != FORM_KEY}
    return schema.with_metadata(kept or None)
