"""Frames of pandas, polars and pyarrow that assets take and return, and how their outputs look in Dagster's UI."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import dagster as dg

from flowctx.core.data.files import File
from flowctx.core.data.plain import thaw
from flowctx.core.data.previews import handles_of, markdown, previews_of
from flowctx.core.data.tables import Table
from flowctx.core.errors import ContextError

#: How a table becomes what an annotation asks for, by the full name of the class.
_READERS: dict[tuple[str, str], Callable[[Table], Any]] = {
    ("pandas", "DataFrame"): Table.to_pandas,
    ("polars", "DataFrame"): Table.to_polars,
    ("polars", "LazyFrame"): Table.scan_polars,
    ("pyarrow", "Table"): Table.to_arrow,
    ("pyarrow", "Dataset"): Table.dataset,
    ("flowctx", "Table"): lambda table: table,
}


def reader_of(kind: object) -> Callable[[Table], Any] | None:
    """Return what turns a table into what an annotation asks for, or ``None`` if that is no frame."""
    if not isinstance(kind, type):
        return None
    return _READERS.get((kind.__module__.partition(".")[0], kind.__name__))


def as_annotated(output: Mapping[str, Any], kind: object, name: str) -> Any:
    """Return an output as an argument's annotation asks for it: a frame of its only table, or all of it.

    Args:
        output: The output.
        kind: The annotation.
        name: The asset, for messages.

    Raises:
        ContextError: A frame is asked for, and the output has no table, or several.
    """
    read = reader_of(kind)
    if read is None:
        return thaw(output)
    tables = [handle for _, handle in handles_of(output) if isinstance(handle, Table)]
    if len(tables) != 1:
        names = ", ".join(name for name, handle in handles_of(output) if isinstance(handle, Table)) or "none"
        raise ContextError(
            f"the output of {name} has {len(tables)} tables ({names}), and one is needed for a frame; "
            "annotate the argument as dict and take the one that is meant: prices['rows'].to_pandas()"
        )
    return read(tables[0])


def table_metadata(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the tables and files of an output look in Dagster: rows, columns, size, and the first rows."""
    found: dict[str, Any] = {}
    handles = list(handles_of(output))
    tables = [handle for _, handle in handles if isinstance(handle, Table)]
    if len(tables) == 1:
        columns = [dg.TableColumn(name, kind) for name, kind in tables[0].columns.items()]
        found["dagster/row_count"] = tables[0].rows
        found["dagster/column_schema"] = dg.TableSchema(columns=columns)
    for name, handle in handles:
        found[f"{name}/bytes"] = handle.bytes
        if isinstance(handle, File):
            found[f"{name}/name"] = handle.name
            continue
        found[f"{name}/rows"] = handle.rows
        found[f"{name}/digest"] = handle.digest
    return found | {f"{name}/preview": dg.MetadataValue.md(markdown(small)) for name, small in previews_of(output)}


def number_metadata(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return every number of an output, as Dagster takes it."""
    return {name: number for name, value in output.items() if (number := _number(value)) is not None}


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    return number if math.isfinite(number := float(Decimal(value))) else None  # float(10**400) is an error
