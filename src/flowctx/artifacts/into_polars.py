"""Arrow tables as polars frames; what polars has no place for is named, with the column and the remedy."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from flowctx.artifacts.extra_libraries import need_library
from flowctx.artifacts.form import cast, stored_type
from flowctx.artifacts.types import T, inner_types, is_list, is_view
from flowctx.core.errors import PlainDataError


def polars_frame(table: pa.Table, shown: str) -> Any:
    """Return an Arrow table as a polars DataFrame.

    Args:
        table: The table.
        shown: How it is called in messages.

    Raises:
        PlainDataError: A column has what polars cannot hold.
        MissingExtra: polars is not installed.
    """
    polars = need_library("polars")
    for i, field in enumerate(table.schema):
        why = _why_not(field.type, polars)
        if why is not None:
            raise _cannot_hold(field, why, shown)
        if any(is_list(kind) and is_view(kind) for kind in inner_types(field.type)):  # polars has plain lists
            table = table.set_column(i, field.name, cast(table.column(i), stored_type(field.type)))
    return polars.from_arrow(table)


def as_polars(column: Any, kind: Any) -> Any:
    """Return a column of a LazyFrame as a type of polars.

    polars casts numbers and text to extension types, but no structs, such as those of intervals, and no lists.
    """
    if hasattr(kind, "ext_storage"):
        return column.cast(kind.ext_storage()).ext.to(kind)
    return column.cast(kind)


def _why_not(kind: pa.DataType, polars: Any) -> str | None:
    """Return why polars cannot hold a type; asked first, since polars 2.1 panics over some of what it cannot hold."""
    for inner in inner_types(kind):
        if T.is_decimal256(inner):
            return "its decimals have at most 38 digits"
        if T.is_timestamp(inner) and inner.tz:
            try:
                polars.from_arrow(pa.table({"time": pa.nulls(1, inner)}))
            except polars.exceptions.PolarsError as exc:
                return str(exc).partition("\n")[0]
    return None


def _cannot_hold(field: pa.Field, why: str, shown: str) -> PlainDataError:
    return PlainDataError(
        f"{shown} has {field.type} in column {field.name!r}, which polars cannot hold ({why}); leave the column out: "
        "to_polars(columns=[...]), or take it from to_arrow() and cast it there first"
    )
