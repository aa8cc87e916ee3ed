"""What a step made of many partitions, written partition by partition: for people, or for other tools."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from flowctx.cli.output import in_blocks, json_list, new_file, print_table
from flowctx.cli.standard_output import write_data, write_json
from flowctx.core.data.tables import Table
from flowctx.core.extras import needs
from flowctx.core.masking import data_masker, secret_values
from flowctx.core.printable import amount
from flowctx.core.workflow.outputs import Outputs
from flowctx.versions.rows import cell, rows, text
from flowctx.versions.waiting_rows import WaitingRows, csv_blocks

#: How many outputs are read at a time.
_PAGE = 500


class WrittenOutputs:
    """Writes outputs, of which few are in memory at a time.

    Args:
        pages: The outputs, so many partitions at a time.
        table: Of which table the rows are; ``None``: a row for each partition, of its values.
        none: What to say where no partition has any.
    """

    def __init__(self, pages: Iterator[Outputs], table: str | None, none: str) -> None:
        self._pages, self._table, self._none = pages, table, none
        self._written = 0

    @property
    def amount(self) -> str:
        """How many partitions have been written, in words."""
        return amount(self._written, "partition")

    def show(self) -> None:
        """Print a table for people, without secrets."""
        with self._rows("a table") as (columns, found), WaitingRows(found, cell, columns) as waiting:
            names = waiting.columns
            secrets: set[str] = set()
            for block in waiting.blocks():
                secrets |= secret_values([dict(zip(names, row, strict=True)) for row in block])
            mask = data_masker(secrets)
            shown = (mask(dict(zip(names, row, strict=True))) for block in waiting.blocks() for row in block)
            print_table(self.amount, names, ([text(value) for value in row.values()] for row in shown))

    def print(self, form: str) -> None:
        """Print data for other tools, as ``csv`` or ``json``."""
        if form == "csv" and self._table is not None:
            self._write_batches(form, _Printed())
            return
        for block in self._blocks(form):
            write_data(block) if form == "csv" else write_json(block, nl=False)

    def write(self, form: str, file: Path) -> None:
        """Write data for other tools to a file, all or nothing, as ``csv``, ``json`` or ``parquet``."""
        with new_file(file) as place:
            if self._table is not None and form != "json":
                self._write_batches(form, place)
            elif form == "parquet":
                with needs("writing parquet", "tables"):
                    from flowctx.artifacts.rows_as_parquet import write_rows
                write_rows(self._values(), place)
            else:
                place.writelines(block.encode() for block in self._blocks(form))

    def _blocks(self, form: str) -> Iterator[str]:
        with self._rows(f"writing {form}") as (_, found):
            yield from csv_blocks(found) if form == "csv" else in_blocks(json_list(map(cell, found)))

    def _write_batches(self, form: str, file: Any) -> None:
        with self._batches(f"writing {form}") as (schema, batches):
            from flowctx.artifacts.export import write_csv, write_parquet

            (write_csv if form == "csv" else write_parquet)(schema, batches, file)

    @contextmanager
    def _rows(self, what: str) -> Iterator[tuple[list[str], Iterator[Mapping[str, Any]]]]:
        """Yield the columns, as far as they are known before the rows, and the rows."""
        if self._table is None:
            yield [], self._values()
            return
        with self._batches(what) as (schema, batches):
            from flowctx.artifacts.types import rows_of

            yield list(schema.names), (row for batch in batches for row in rows_of(batch))

    def _values(self) -> Iterator[dict[str, Any]]:
        for page in self._counted():
            yield from rows(page)

    @contextmanager
    def _batches(self, what: str) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Yield the columns of the tables together, and their rows."""
        with needs(what, "tables"):
            from flowctx.artifacts.joined_batches import joined_batches
        with joined_batches(self._tables(str(self._table))) as found:
            yield found

    def _tables(self, name: str) -> Iterator[tuple[Mapping[str, str], Table]]:
        for page in self._counted():
            for some in page.pages(_PAGE):
                yield from some.tables(name)

    def _counted(self) -> Iterator[Outputs]:
        for page in self._pages:
            yield page
            self._written += len(page)
        if not self._written:
            raise click.ClickException(self._none)


class _Printed:
    """Takes the bytes of data that is printed."""

    closed = False

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def write(self, data: bytes) -> int:
        write_data(self._decoder.decode(data))
        return len(data)

    def flush(self) -> None:
        """Leave nothing behind: each piece is printed as it comes."""

    def close(self) -> None:
        """Leave standard output open."""
