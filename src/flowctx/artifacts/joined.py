"""The tables of several partitions as one, with the dimensions as columns; nothing is widened that is not exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flowctx.artifacts.conditions import Condition, wanted_columns
from flowctx.artifacts.content import flat_column
from flowctx.artifacts.form import cast_exactly
from flowctx.artifacts.into_pandas import pandas_frame
from flowctx.artifacts.into_polars import polars_frame
from flowctx.artifacts.types import canonical, common_type, rows_of, type_and_meaning, type_name
from flowctx.core.data.tables import Table
from flowctx.core.dates.parsing import iso_instant
from flowctx.core.errors import ArtifactError, PlainDataError

#: The dimensions of a partition, and its table.
Part = tuple[Mapping[str, str], Table]


class JoinedTable:
    """Reads several tables as one; they are read when the first row or column is asked for.

    Args:
        parts: For each partition its dimensions and its table.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    @cached_property
    def arrow(self) -> pa.Table:
        """All rows.

        Raises:
            PlainDataError: The columns of two tables do not fit together.
            ArtifactError: One is gone or damaged.
        """
        read = [(dims, _read(dims, table)) for dims, table in self._parts]
        seen = [(dims, table.schema, table.num_rows) for dims, table in read]
        fields, wide = unified(seen), unified(seen, wide=True)
        try:
            return pa.concat_tables([as_one_of(dims, table, fields) for dims, table in read])
        except PlainDataError:
            if wide == fields:
                raise
        return pa.concat_tables([as_one_of(dims, table, wide) for dims, table in read])

    @property
    def columns(self) -> Mapping[str, str]:
        """The names of its columns and their types."""
        return {field.name: type_name(canonical(field.type)) for field in self.arrow.schema}

    def to_arrow(self, columns: Sequence[str] | None, where: Any) -> Any:
        """Return it as a ``pyarrow.Table``."""
        found = self.arrow
        if where is not None:
            stored = _stored(found)
            found = Condition(where, stored.schema, "the joined table").rows_of(stored).cast(found.schema)
        return found.select(wanted_columns(columns, found.column_names, "the joined table"))

    def to_pandas(self, columns: Sequence[str] | None, where: Any) -> Any:
        """Return it as a pandas DataFrame."""
        return pandas_frame(self.to_arrow(columns, where))

    def to_polars(self, columns: Sequence[str] | None, where: Any) -> Any:
        """Return it as a polars DataFrame."""
        return polars_frame(self.to_arrow(columns, where), "the joined table")

    def batches(self, columns: Sequence[str] | None, where: Any, rows: int) -> Iterator[Any]:
        """Yield it batch by batch."""
        yield from self.to_arrow(columns, where).to_batches(max_chunksize=rows)

    def head(self, rows: int) -> list[dict[str, Any]]:
        """Return the first rows as dicts."""
        found: list[dict[str, Any]] = []
        for batch in self.arrow.slice(0, rows).to_batches():
            found += rows_of(batch)
        return found

    def scan_polars(self) -> Any:
        """Return it as a polars LazyFrame."""
        return self.to_polars(None, None).lazy()

    def dataset(self) -> Any:
        """Return it as a ``pyarrow.dataset.Dataset`` of the columns as they are stored."""
        from pyarrow import dataset

        return dataset.dataset(_stored(self.arrow))

    def opened(self) -> AbstractContextManager[JoinedTable]:
        """Return it as it is: it is in memory."""
        return nullcontext(self)

    def source(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return its schema and its batches, for whoever stores it."""
        return self.arrow.schema, iter(self.arrow.to_batches())

    def stream(self, requested_schema: object | None) -> object:
        """Return it as an Arrow C stream."""
        return self.arrow.__arrow_c_stream__(requested_schema)


def _read(dims: Mapping[str, str], table: Table) -> pa.Table:
    with of_partition(dims):
        return plain(table.to_arrow())


@contextmanager
def of_partition(dims: Mapping[str, str]) -> Iterator[None]:
    """Say of which partition a table is that is gone or damaged."""
    try:
        yield
    except ArtifactError as exc:
        raise type(exc)(f"the table of {_shown(dims)}: {exc}") from exc


def plain(table: pa.Table) -> pa.Table:
    """Return a table in canonical types, without what its writer knew of it but periods and intervals."""
    return pa.table([_plain(column) for column in table.columns], names=table.column_names)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    found = flat_column(column)
    return found.cast(kind.storage_type).cast(kind) if _is_of_pandas(kind) else found


def _stored(table: pa.Table) -> pa.Table:
    """Return a table with its periods and intervals as they are stored, which filters know."""
    return table.cast(pa.schema([(field.name, canonical(field.type)) for field in table.schema]))


def _is_of_pandas(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name.startswith("pandas.")


def _name(kind: pa.DataType) -> str:
    return type_and_meaning(pa.field("", kind))


def unified(read: Sequence[tuple[Mapping[str, str], pa.Schema, int]], *, wide: bool = False) -> dict[str, pa.DataType]:
    """Return the columns of all tables together, with the types that hold the values of each.

    A table without rows has nothing to lose: where its types are others, it takes those of the tables with rows.

    Args:
        read: For each table the dimensions of its partition, its schema and how many rows it has.
        wide: Whether decimals of two scales have room for 76 digits, not for 38.

    Raises:
        PlainDataError: The columns of two tables do not fit together.
    """
    (first, schema, _), *others = sorted(read, key=lambda one: not one[2])  # those without rows at the end
    fields: dict[str, tuple[pa.DataType, Mapping[str, str]]] = {f.name: (f.type, first) for f in schema}
    for dims, other, rows in others:
        if set(other.names) != set(fields):
            odd = sorted(set(other.names) ^ set(fields))[0]
            raise PlainDataError(
                f"the tables of {_shown(first)} and of {_shown(dims)} do not fit together: only one of them has the "
                f"column {odd!r}; read them one by one"
            )
        for field in other:
            kind, where = fields[field.name]
            common = _common(kind, field.type, wide) if rows or pa.types.is_null(kind) else kind
            if common is None:
                raise PlainDataError(
                    f"the tables of {_shown(where)} and of {_shown(dims)} do not fit together: column {field.name!r} "
                    f"is {_name(kind)} in one and {_name(field.type)} in the other; read them one by one"
                )
            fields[field.name] = (common, dims if common != kind else where)
    return {name: fields[name][0] for name in read[0][1].names}


def _common(one: pa.DataType, other: pa.DataType, wide: bool) -> pa.DataType | None:
    if _is_of_pandas(one) != _is_of_pandas(other) and not any(map(pa.types.is_null, (one, other))):
        return _common(canonical(one), canonical(other), wide)  # tables that were joined before have numbers
    if (common := common_type(one, other, wide=wide)) is not None:
        return common
    kinds = [kind for kind in (one, other) if kind != pa.float64()]
    return pa.float64() if len(kinds) == 1 and pa.types.is_integer(kinds[0]) else None


def as_one_of(dims: Mapping[str, str], table: pa.Table, fields: Mapping[str, pa.DataType]) -> pa.Table:
    """Return one table with the types of all, and the dimensions before its columns."""
    arrays, names = [], []
    for name, value in dims.items():
        if name in fields:
            _check_dimension(dims, name, table.column(name))
        else:
            arrays.append(pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
            names.append(name)
    for name, kind in fields.items():
        try:
            arrays.append(cast_exactly(table.column(name), kind) if table.num_rows else pa.chunked_array([], kind))
        except pa.ArrowInvalid as exc:
            raise PlainDataError(
                f"column {name!r} of {_shown(dims)} does not become {_name(kind)} exactly ({exc}); read them one by one"
            ) from exc
        names.append(name)
    return pa.table(arrays, names=names)


def _check_dimension(dims: Mapping[str, str], name: str, column: pa.ChunkedArray) -> None:
    """Refuse a column that is called as a dimension and says something else."""
    try:
        is_own = not column.null_count and _are_all(column, dims[name])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        is_own = False
    if len(column) and not is_own:
        raise PlainDataError(
            f"the table of {_shown(dims)} has a column {name!r} that is not the partition's own {name}; rename it"
        )


def _are_all(column: pa.ChunkedArray, value: str) -> bool:
    """Whether all values are that of a dimension, as text, or as the time of a day or an hour."""
    if pa.types.is_timestamp(column.type):
        if (hour := iso_instant(value)) is not None:
            own = hour if column.type.tz else hour.replace(tzinfo=None)
            return pc.all(pc.equal(column, pa.scalar(own, column.type))).as_py() is not False
        local = pc.local_timestamp(column) if column.type.tz else column
        column = local.cast(pa.date32(), safe=True)
    return pc.all(pc.equal(column.cast(pa.string()), value)).as_py() is not False


def _shown(dims: Mapping[str, str]) -> str:
    return "|".join(f"{name}={value}" for name, value in dims.items())
