"""What core asks for when it meets a frame or a file, or looks into a stored one."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from flowctx.artifacts import default_store
from flowctx.artifacts.frames import ArrowSource, source_of
from flowctx.artifacts.joined import JoinedTable
from flowctx.artifacts.reading import ParquetTable
from flowctx.artifacts.store import open_table
from flowctx.core.data.references import TableReference
from flowctx.core.data.tables import Table, TableReader, TableSource


class ArrowTables:
    """Frames and tables through pyarrow."""

    def take(self, value: object, path: str) -> TableSource | None:
        """Return a frame as a source, or ``None`` if it is none."""
        return source_of(value, path)

    def settle(self, source: TableSource) -> TableReference:
        """Return a source as a table whose bytes are in memory."""
        file = io.BytesIO()
        reference = source.write(file)
        return replace(reference, data=file.getvalue())

    def open(self, reference: TableReference, store: object | None) -> TableReader:
        """Return what reads a stored table."""
        found: Any = store
        if reference.path is None:
            return ParquetTable(reference, lambda: open_table(reference, None), "the table")
        if found is None:
            found = default_store()
        local: str | None = found.local_path(reference)

        def local_path() -> str:
            found.open_table(reference).close()  # which checks that it leads nowhere else
            return str(local)

        return ParquetTable(
            reference,
            _opener(reference, found),
            f"the table {reference.path} in {found.shown}",
            dataset=lambda: found.dataset(reference),
            local_path=local_path if local is not None else None,
        )

    def join(self, parts: Sequence[tuple[Mapping[str, str], Table]]) -> tuple[TableReader, TableSource]:
        """Return the tables of several partitions as one: what reads it, and what stores it."""
        reader = JoinedTable(parts)
        return reader, ArrowSource("the tables together", reader.source)


def _opener(reference: TableReference, store: Any) -> Callable[[], BinaryIO]:
    return lambda: open_table(reference, store)
