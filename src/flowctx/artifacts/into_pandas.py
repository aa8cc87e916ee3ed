"""Arrow tables as pandas frames; whole numbers beside nulls, and times, stay what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowctx.artifacts.content import flat_column
from flowctx.artifacts.extra_libraries import need_library
from flowctx.artifacts.types import T, canonical, children, inner_types, is_list, type_name
from flowctx.core.errors import PlainDataError

#: Up to here, each whole number is a float.
_EXACT_FLOATS = 1 << 53
#: Of these, not each value is a float.
_LONG = (pa.int64(), pa.uint64())


def pandas_frame(table: pa.Table, index: Sequence[str] = (), *, self_destruct: bool = False) -> Any:
    """Return an Arrow table as a pandas DataFrame.

    pandas has floats for whole numbers beside nulls. Where a float would be another number, it has its own ``Int64``
    instead, and in lists and structs Python's numbers. Times of categories and in lists keep their zone, and in structs
    they are times, not nanoseconds.

    Args:
        table: The table.
        index: The columns that become the levels of its index.
        self_destruct: Whether the table is not used any more, so that memory is freed on the way.

    Raises:
        PlainDataError: Lists or structs have times that Python does not have.
        MissingExtra: pandas is not installed.
    """
    pandas = need_library("pandas")
    lost = [i for i, column in enumerate(table.columns) if _loses_times(column.type) or _has_inexact(column)]
    kept = {i: pa.chunked_array(table.column(i).chunks, table.column(i).type) for i in lost}
    names = table.column_names
    frame = table.to_pandas(self_destruct=self_destruct)
    if kept:
        places = [i for i, name in enumerate(names) if name not in index]
        for place, i in enumerate(places):
            if i in kept and _is_plain(frame.dtypes.iloc[place]):
                frame.isetitem(place, _exact(kept[i], frame.iloc[:, place], pandas))
        levels = {index.index(names[i]): column for i, column in kept.items() if names[i] in index}
        if levels:
            frame.index = _exact_index(frame.index, levels, pandas)
    return frame


def _loses_times(kind: pa.DataType, *, is_inner: bool = False, is_in_struct: bool = False) -> bool:
    """Whether pyarrow makes times without a zone of categories and in lists, or numbers of times in structs."""
    if T.is_dictionary(kind):
        return _loses_times(kind.value_type, is_inner=True)
    if T.is_timestamp(kind) or T.is_duration(kind):
        return kind.unit == "ns" if is_in_struct else is_inner and T.is_timestamp(kind) and kind.tz is not None
    is_in_struct = is_in_struct or T.is_struct(kind) or T.is_map(kind)
    return any(_loses_times(field.type, is_inner=True, is_in_struct=is_in_struct) for field in children(kind))


def _has_inexact(column: pa.ChunkedArray) -> bool:
    """Whether some whole numbers, which are beside nulls, are no floats."""
    kind = column.type
    if T.is_dictionary(kind) or not any(inner in _LONG for inner in inner_types(kind)):
        return False
    return any(numbers.null_count and _is_inexact(numbers) for numbers in _whole_numbers(flat_column(column)))


def _whole_numbers(column: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    """Yield the whole numbers in a column of a canonical type, however deep."""
    kind = column.type
    if kind in _LONG:
        yield column
    elif T.is_struct(kind):
        for inner in column.flatten():
            yield from _whole_numbers(inner)
    elif T.is_nested(kind):
        yield from _whole_numbers(pa.chunked_array([chunk.flatten() for chunk in column.chunks], kind.value_type))


def _is_inexact(numbers: pa.ChunkedArray) -> bool:
    ends = [end for end in pc.min_max(numbers).as_py().values() if end is not None]
    if all(abs(end) <= _EXACT_FLOATS for end in ends):
        return False
    if any(float(end) != end for end in ends):
        return True
    floats = numbers.cast(pa.float64(), safe=False)
    return not floats.cast(numbers.type, safe=False).equals(numbers)


def _is_plain(dtype: Any) -> bool:
    """Whether a type, or that of categories, is one of NumPy's; others have missing values and zones of their own."""
    plain = getattr(getattr(dtype, "categories", None), "dtype", dtype)
    return isinstance(plain, np.dtype) and plain.kind in "fOM"


def _exact(column: pa.ChunkedArray, values: Any, pandas: Any) -> Any:
    """Return a column as it is in Arrow.

    Args:
        column: The column.
        values: What pyarrow makes of it.
        pandas: The library.
    """
    kind = column.type.storage_type if isinstance(column.type, pa.BaseExtensionType) else column.type
    if T.is_dictionary(kind):
        zone = pa.nulls(0, kind.value_type).to_pandas().dt.tz
        return values.array.rename_categories(values.array.categories.tz_localize("UTC").tz_convert(zone))
    if _loses_times(kind):
        return _with_times(column, str(values.name))
    if kind not in _LONG:
        return column.to_pandas(integer_object_nulls=True).to_numpy()
    dtype = pandas.Int64Dtype() if kind == pa.int64() else pandas.UInt64Dtype()
    return dtype.__from_arrow__(column.cast(kind))


def _with_times(column: pa.ChunkedArray, name: str) -> Any:
    try:
        return np.concatenate([np.empty(0, object), *map(_objects, column.chunks)])
    except (ValueError, OverflowError) as exc:
        raise PlainDataError(
            f"column {name!r} has times in {type_name(canonical(column.type))} that Python does not have ({exc}); "
            "leave the column out, or take it from to_arrow()"
        ) from exc


def _objects(values: pa.Array) -> Any:
    """Return values as Python's, with arrays for lists, as pyarrow makes them."""
    kind = values.type
    if T.is_timestamp(kind):
        return _times(values)
    if not (is_list(kind) or T.is_fixed_size_list(kind)):
        return _array(values.to_pylist(), kind)
    inner, lengths = _objects(values.flatten()), pc.list_value_length(values)
    ends = np.cumsum(lengths.fill_null(0).to_numpy()).tolist()
    cuts = zip([0, *ends], ends, lengths.is_valid().to_pylist(), strict=False)
    return np.fromiter((inner[start:end] if valid else None for start, end, valid in cuts), object, len(values))


def _times(values: pa.Array) -> Any:
    times = values.to_pandas().array
    found = np.array(times.astype(object) if values.type.unit == "ns" else times.to_pydatetime(), object)
    found[values.is_null().to_numpy(zero_copy_only=False)] = None
    return found


def _array(values: Sequence[Any], kind: pa.DataType) -> Any:
    return np.fromiter((_as_in_pandas(value, kind) for value in values), object, len(values))


def _as_in_pandas(value: Any, kind: pa.DataType) -> Any:
    """Return a value with arrays for lists, as pyarrow makes them."""
    if value is not None and T.is_struct(kind):
        return {field.name: _as_in_pandas(value[field.name], field.type) for field in children(kind)}
    if value is not None and (is_list(kind) or T.is_fixed_size_list(kind)):
        return _array(value, kind.value_type)
    return value


def _exact_index(index: Any, levels: Mapping[int, pa.ChunkedArray], pandas: Any) -> Any:
    found = [index.get_level_values(level) for level in range(index.nlevels)]
    for level, column in levels.items():
        if _is_plain(found[level].dtype):
            found[level] = pandas.Index(_exact(column, found[level], pandas))
    if index.nlevels == 1:
        return found[0].rename(index.name)
    return pandas.MultiIndex.from_arrays(found, names=index.names)
