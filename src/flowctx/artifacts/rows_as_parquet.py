"""Rows of many partitions as Parquet: of which type a column is is known when the last row has come."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow as pa

from flowctx.artifacts.export import write_parquet
from flowctx.artifacts.waiting_streams import put_stream, streams, temporary_file
from flowctx.core.data.tables import take_table
from flowctx.core.errors import PlainDataError
from flowctx.core.masking import mask_text, secret_values
from flowctx.core.printable import brief

#: So many rows are in memory as Python's values at a time.
_BLOCK = 500
#: What stands for an empty dict, for which Parquet has no form; others are columns.
_EMPTY = "{}"
#: Values of several types of which a column may be; else it has one.
_TOGETHER = (frozenset({"int", "float"}), frozenset({"int", "Decimal"}))
#: Types of which a value says nothing more than its type, or only how large it is.
_SIMPLE = frozenset({type(None), bool, int, float, str, bytes, date, Decimal})
#: The way to what is in a value: the column, and a step for each list and name of a dict.
_Way = tuple[str, ...]


class _Column:
    """What is known of the values of a column so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: Of which types they are, and what is in lists and dicts of them, by the way to it.
        self.kinds: dict[_Way, set[str]] = {}
        #: The value with the largest whole number, by the way to it: of a few digits and of many, the type is the same.
        self.largest: dict[_Way, tuple[int, Any]] = {}
        #: Some values of each Arrow type that a block of them has had.
        self.seen: dict[pa.DataType, Sequence[Any]] = {}

    def array(self, values: list[Any]) -> pa.Array:
        """Return some values as Arrow, and note of which types they are.

        Raises:
            PlainDataError: They are of two types, or such that no table holds.
        """
        values = [_EMPTY if isinstance(value, Mapping) else value for value in values]
        for value in values:
            self._note(value, (self.name,), value)
        for way, kinds in self.kinds.items():
            if len(kinds) > 1 and not any(kinds <= some for some in _TOGETHER):
                raise _of_two_types("".join(way), " and ".join(sorted(kinds)))
        found = self._as_arrow(values)
        if found.type not in self.seen:
            self.seen[found.type] = values
        return found

    def type(self) -> pa.DataType:
        """Return the type that holds all values.

        Raises:
            PlainDataError: There is none.
        """
        some = [*itertools.chain.from_iterable(self.seen.values()), *(value for _, value in self.largest.values())]
        return next(iter(self.seen)) if len(self.seen) == 1 else self._as_arrow(some).type

    def cast(self, array: pa.Array, kind: pa.DataType) -> pa.Array:
        """Return some of its values in the type of all.

        Raises:
            PlainDataError: One is not exact there.
        """
        if array.type == kind:
            return array
        return self._as_arrow(array.to_pylist(), kind)

    def _note(self, item: Any, way: _Way, value: Any) -> None:
        """Note of which type an item is, and what is in it, of a value of the column."""
        if item is None:
            return
        if isinstance(item, time) and item.tzinfo is not None:
            raise _in_no_table("".join(way), "times with an offset")
        kind = _kind(item)
        self.kinds.setdefault(way, set()).add(kind)
        if kind == "int":
            self._note_size(abs(item), way, value)
        elif kind == "list":
            self._note_all(item, (*way, "[]"), value)
        elif kind == "dict":
            for name, inner in item.items():
                self._note(inner, (*way, f".{name}"), value)

    def _note_all(self, items: Sequence[Any], way: _Way, value: Any) -> None:
        """Note what is in a list: of simple types, without a look at each."""
        kinds = set(map(type, items))
        if not kinds <= _SIMPLE:
            for item in items:
                self._note(item, way, value)
            return
        self.kinds.setdefault(way, set()).update(kind.__name__ for kind in kinds if kind is not type(None))
        if int in kinds:
            self._note_size(max(abs(item) for item in items if type(item) is int), way, value)

    def _note_size(self, size: int, way: _Way, value: Any) -> None:
        if size >= self.largest.get(way, (0, None))[0]:
            self.largest[way] = size, value

    def _as_arrow(self, values: list[Any], kind: pa.DataType | None = None) -> pa.Array:
        try:
            return pa.array(self._alike(values), type=kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as exc:
            if any(len(kinds) > 1 for kinds in self.kinds.values()):
                raise _of_two_types(self.name, self._shown(exc, values)) from exc
            kinds = " and ".join(sorted(set().union(*self.kinds.values())))
            raise _in_no_table(self.name, f"{kinds}: {self._shown(exc, values)}") from exc
        except (OverflowError, UnicodeEncodeError) as exc:
            raise _in_no_table(self.name, self._shown(exc, values)) from exc

    def _alike(self, values: list[Any]) -> list[Any]:
        """Return integers beside decimals as such: Arrow takes them only where they have as many digits."""
        if not any("Decimal" in kinds for kinds in self.kinds.values()):
            return values
        return [self._as_decimal(value, (self.name,)) for value in values]

    def _as_decimal(self, item: Any, way: _Way) -> Any:
        if isinstance(item, Mapping):
            return {name: self._as_decimal(inner, (*way, f".{name}")) for name, inner in item.items()}
        if _is_list(item):
            return [self._as_decimal(inner, (*way, "[]")) for inner in item]
        return Decimal(item) if isinstance(item, int) and "Decimal" in self.kinds.get(way, ()) else item

    def _shown(self, exc: Exception, values: list[Any]) -> str:
        """Return what an error says, which may quote a value."""
        return brief(mask_text(str(exc), secret_values({self.name: values})))


def _of_two_types(way: str, why: str) -> PlainDataError:
    return PlainDataError(
        f"the values {way!r} are not of one type in all partitions ({why}); write JSON, or select fewer"
    )


def _in_no_table(way: str, why: str) -> PlainDataError:
    return PlainDataError(f"the values {way!r} fit in no table ({why}); write JSON")


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _kind(value: object) -> str:
    """Return what a value is; Arrow takes a number beside dates for a date, and a time without a zone for UTC."""
    if isinstance(value, datetime):
        return "a time with a zone" if value.tzinfo is not None else "a time without a zone"
    if isinstance(value, Mapping):
        return "dict"
    if _is_list(value):
        return "list"
    return "Decimal" if isinstance(value, Decimal) else type(value).__name__


def write_rows(rows: Iterable[Mapping[str, Any]], file: BinaryIO) -> None:
    """Write rows as Parquet, with the columns in the order in which they first come; an empty dict is text there.

    Until the last row has come, the others wait in a temporary file, so that few are in memory.

    Args:
        rows: The rows.
        file: Takes the bytes.

    Raises:
        PlainDataError: A column has values of two types, or such that no table holds.
        FlowctxError: The temporary file cannot be written.
    """
    columns: dict[str, _Column] = {}
    rest = iter(rows)
    with temporary_file() as waiting:
        while block := list(itertools.islice(rest, _BLOCK)):
            arrays = {name: _column(columns, name).array([row.get(name) for row in block]) for name in _names(block)}
            batch = pa.record_batch(arrays)
            put_stream(batch.schema, [batch], waiting)  # of each block on its own: another has other types
        schema = _schema(columns)
        write_parquet(schema, (_cast(batch, columns, schema) for stream in streams(waiting) for batch in stream), file)


def _column(columns: dict[str, _Column], name: str) -> _Column:
    return columns.setdefault(name, _Column(name))


def _names(block: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(itertools.chain.from_iterable(block)))


def _schema(columns: Mapping[str, _Column]) -> pa.Schema:
    schema = pa.schema([pa.field(name, column.type()) for name, column in columns.items()])
    table = take_table(schema.empty_table(), "the outputs")
    assert table is not None  # noqa: S101 - it is a frame
    return table.to_arrow().schema


def _cast(batch: pa.RecordBatch, columns: Mapping[str, _Column], schema: pa.Schema) -> pa.RecordBatch:
    there = set(batch.schema.names)
    arrays = [
        columns[field.name].cast(batch.column(field.name), field.type)
        if field.name in there
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(arrays, schema=schema)
