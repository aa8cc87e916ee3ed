"""Batches of rows as files for other tools: CSV and Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from flowctx.artifacts.types import bytes_of, canonical, is_binary, is_period, period_texts, type_name
from flowctx.core.errors import PlainDataError

#: So many rows are a row group, or those that take so many bytes.
_GROUP_ROWS = 65_536
_GROUP_BYTES = 1 << 25


def write_parquet(schema: pa.Schema, batches: Iterable[pa.RecordBatch], file: Any) -> None:
    """Write batches as Parquet, row group by row group.

    Args:
        schema: Their columns.
        batches: The batches.
        file: Takes the bytes.
    """
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(batches):
            writer.write_table(group, row_group_size=_GROUP_ROWS)


def write_csv(schema: pa.Schema, batches: Iterable[pa.RecordBatch], file: Any) -> None:
    """Write batches as CSV.

    Args:
        schema: Their columns.
        batches: The batches.
        file: Takes the bytes.

    Raises:
        PlainDataError: A column holds what CSV has no form for, such as lists, or bytes that are no UTF-8.
    """
    for field in schema:
        kind = canonical(field.type)
        if pa.types.is_nested(kind):
            raise PlainDataError(
                f"column {field.name!r} is {type_name(kind)}, for which CSV has no form; write Parquet or JSON"
            )
    periods = [i for i, field in enumerate(schema) if is_period(field.type)]
    for i in periods:
        schema = schema.set(i, pa.field(schema.names[i], pa.string()))
    with pc.CSVWriter(file, schema) as writer:
        for group in _groups(batches):
            for i in periods:
                group = group.set_column(i, group.column_names[i], period_texts(group.column(i)))
            _check_bytes(group)
            writer.write_table(group)


def _check_bytes(group: pa.Table) -> None:
    for field, column in zip(group.schema, group.columns, strict=True):
        if is_binary(field.type) or pa.types.is_fixed_size_binary(field.type):
            try:
                column.cast(pa.large_binary()).cast(pa.large_string())
            except pa.ArrowInvalid as exc:
                raise PlainDataError(
                    f"column {field.name!r} has bytes that are no UTF-8, for which CSV has no form; "
                    "write Parquet or JSON"
                ) from exc


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield batches together, so many rows or bytes at a time."""
    some: list[pa.RecordBatch] = []
    rows = held = 0
    for batch in batches:
        if some and (rows + batch.num_rows > _GROUP_ROWS or held > _GROUP_BYTES):
            yield pa.Table.from_batches(some)
            some, rows, held = [], 0, 0
        some.append(batch)
        rows, held = rows + batch.num_rows, held + bytes_of(batch)
    if some:
        yield pa.Table.from_batches(some)
