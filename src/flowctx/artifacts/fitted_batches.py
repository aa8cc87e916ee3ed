"""Batches in the schema of the first one, as pandas chooses types by values; what does not fit is refused."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from flowctx.artifacts.form import cast_exactly, other_categories, with_children
from flowctx.artifacts.types import T, canonical, children, inner_types
from flowctx.core.errors import PlainDataError

#: How the names begin under which polars says what the values of an Enum are; no type of Arrow's has them.
_ENUM = b"_PL_ENUM_VALUES"


def with_room(schema: pa.Schema, frame: Any) -> pa.Schema:
    """Return the schema of a pandas frame with room for more categories, and for more digits of decimals."""
    dtypes = {str(name): str(dtype) for name, dtype in zip(frame.columns, frame.dtypes, strict=True)}
    for i, field in enumerate(schema):
        if dtypes.get(field.name) == "object":
            schema = schema.set(i, field.with_type(_of_any_digits(field.type)))
        elif T.is_dictionary(field.type) and dtypes.get(field.name, "category") == "category":
            kind = pa.dictionary(pa.int32(), field.type.value_type, field.type.ordered)
            schema = schema.set(i, field.with_type(kind))
    return schema


def _of_any_digits(kind: pa.DataType) -> pa.DataType:
    if T.is_decimal(kind):
        return canonical(kind)
    return with_children(kind, lambda field: field.with_type(_of_any_digits(field.type)))


def check_names(schema: pa.Schema, first: pa.Schema, number: int, path: str) -> None:
    """Refuse a batch with other columns than the first.

    Raises:
        PlainDataError: It has others, or in another order.
    """
    if schema.names != first.names:
        columns, others = (", ".join(one.names) for one in (schema, first))
        raise PlainDataError(
            f"{path}: batch {number} has the columns {columns}, the first {others}; give all batches one schema"
        )


def fitted(batch: pa.RecordBatch, schema: pa.Schema, number: int, path: str) -> pa.RecordBatch:
    """Return a batch in the schema of the first one.

    Args:
        batch: The batch, of the same columns; without rows, it may have any types.
        schema: That of the first one.
        number: Of which batch of a generator it is, from 1 on.
        path: The way to the table, for messages.

    Raises:
        PlainDataError: A column does not fit.
    """
    if not batch.num_rows:
        return pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in schema.types], schema=schema)
    columns = []
    for field, first, column in zip(batch.schema, schema, batch.columns, strict=True):
        if first.nullable and field.type != first.type and column.null_count == len(column):
            columns.append(pa.nulls(len(column), first.type))
            continue
        if _enum(field) != _enum(first):
            raise other_categories(path, field.name, number)
        if not _fits(field.type, first.type):
            raise _does_not_fit(field, first, number, path)
        if not first.nullable and column.null_count:
            raise PlainDataError(
                f"{path}: column {field.name!r} has nulls in batch {number}, and the first allows none; give all "
                "batches one schema"
            )
        try:
            columns.append(_as(column, first.type))
        except pa.ArrowInvalid as exc:
            raise _does_not_fit(field, first, number, path) from exc
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _enum(field: pa.Field) -> dict[bytes, bytes]:
    return {key: value for key, value in (field.metadata or {}).items() if key.startswith(_ENUM)}


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if T.is_dictionary(kind) and column.type != kind:
        indices = column.indices.cast(kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, column.dictionary, ordered=kind.ordered)
    return cast_exactly(column, kind)


def _fits(kind: pa.DataType, first: pa.DataType) -> bool:
    """Whether values of a type may be some of another: nulls, decimals of another scale, and other categories."""
    if kind == first or T.is_null(kind) or (T.is_decimal(kind) and T.is_decimal(first)):
        return True
    if T.is_dictionary(kind) and T.is_dictionary(first):
        return bool(kind.value_type == first.value_type and kind.ordered == first.ordered)
    if kind.id != first.id or not (T.is_list(kind) or T.is_large_list(kind) or T.is_struct(kind)):
        return False
    names = [[field.name for field in children(one)] for one in (kind, first)]
    pairs = zip(children(kind), children(first), strict=False)
    return names[0] == names[1] and all(_fits(one.type, other.type) for one, other in pairs)


def _does_not_fit(field: pa.Field, first: pa.Field, number: int, path: str) -> PlainDataError:
    remedy = "give all batches one schema"
    decimals = [[one for one in inner_types(kind) if T.is_decimal(one)] for kind in (field.type, first.type)]
    if T.is_null(first.type):
        remedy = "the first has no value there: give it the type of the others, such as frame.astype(...)"
    elif _fits(field.type, first.type) and all(decimals):
        if max(one.scale for one in decimals[0]) > max(one.scale for one in decimals[1]):
            remedy = "give all its decimals the largest scale, such as value.quantize(Decimal('0.01'))"
        else:
            remedy = "one has too many digits for the first: give all batches a type that has room for them"
    return PlainDataError(
        f"{path}: column {field.name!r} is {field.type} in batch {number} and {first.type} in the first; {remedy}"
    )
