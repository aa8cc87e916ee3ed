"""Tables and rows as files for other tools: CSV, JSON and Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from flowctx.artifacts.types import canonical, type_name
from flowctx.core.data.tables import Table, take_table
from flowctx.core.errors import PlainDataError
from flowctx.core.masking import mask_text, secret_values
from flowctx.core.printable import brief

#: What stands for an empty dict, for which Parquet has no form; others are columns.
_EMPTY = "{}"


def write_parquet(table: Table, file: BinaryIO) -> None:
    """Write a table as Parquet, batch by batch."""
    schema, batches = _schema_and_batches(table)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def write_csv(table: Table, file: BinaryIO) -> None:
    """Write a table as CSV, batch by batch.

    Raises:
        PlainDataError: A column holds what CSV has no form for, such as lists.
    """
    schema, batches = _schema_and_batches(table)
    nested = next((field for field in schema if pa.types.is_nested(field.type)), None)
    if nested is not None:
        kind = type_name(canonical(nested.type))
        raise PlainDataError(f"column {nested.name!r} is {kind}, for which CSV has no form; write Parquet or JSON")
    with pc.CSVWriter(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _schema_and_batches(table: Table) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return the schema that the batches of a table have, and the batches."""
    batches = iter(table.batches())
    first = next(batches, None)
    return (table.to_arrow().schema, batches) if first is None else (first.schema, chain([first], batches))


def table_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    """Return rows as a table; an empty dict is text there.

    Raises:
        PlainDataError: A column has values of two types, or such that no table holds.
    """
    arrays = {}
    for name in columns:
        values = [_EMPTY if isinstance(value := row.get(name), Mapping) else value for row in rows]
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as exc:
            raise PlainDataError(
                f"the values {name!r} are not of one type in all partitions ({_shown(exc, name, values)}); write JSON, "
                "or select fewer"
            ) from exc
        except (OverflowError, UnicodeEncodeError) as exc:
            raise PlainDataError(
                f"the values {name!r} fit in no table ({_shown(exc, name, values)}); write JSON"
            ) from exc
    made = take_table(pa.table(arrays), "the outputs")
    assert made is not None  # noqa: S101 - it is a frame
    return made


def _shown(exc: Exception, name: str, values: list[Any]) -> str:
    """Return what an error says, which may quote a value."""
    return brief(mask_text(str(exc), secret_values({name: values})))
