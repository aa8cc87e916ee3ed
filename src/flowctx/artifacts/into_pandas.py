"""Arrow tables as pandas frames; whole numbers beside nulls stay what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowctx.artifacts.content import flat_column
from flowctx.artifacts.extra_libraries import need_library
from flowctx.artifacts.types import T, inner_types

#: Up to here, each whole number is a float.
_EXACT_FLOATS = 1 << 53
#: Of these, not each value is a float.
_LONG = (pa.int64(), pa.uint64())


def pandas_frame(table: pa.Table, index: Sequence[str] = (), *, self_destruct: bool = False) -> Any:
    """Return an Arrow table as a pandas DataFrame.

    pandas has floats for whole numbers beside nulls. Where a float would be another number, it has its own ``Int64``
    instead, and in lists and structs Python's numbers.

    Args:
        table: The table.
        index: The columns that become the levels of its index.
        self_destruct: Whether the table is not used any more, so that memory is freed on the way.

    Raises:
        MissingExtra: pandas is not installed.
    """
    pandas = need_library("pandas")
    kept = {i: pa.chunked_array(column.chunks) for i, column in enumerate(table.columns) if _has_inexact(column)}
    names = table.column_names
    frame = table.to_pandas(self_destruct=self_destruct)
    if kept:
        places = [i for i, name in enumerate(names) if name not in index]
        for place, i in enumerate(places):
            if i in kept and _is_plain(frame.dtypes.iloc[place]):
                frame.isetitem(place, _exact(kept[i], pandas))
        levels = {index.index(names[i]): column for i, column in kept.items() if names[i] in index}
        if levels:
            frame.index = _exact_index(frame.index, levels, pandas)
    return frame


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
    """Whether a type is one of NumPy's; others have their own way to say that a value is missing."""
    return isinstance(dtype, np.dtype) and dtype.kind in "fO"


def _exact(column: pa.ChunkedArray, pandas: Any) -> Any:
    kind = column.type.storage_type if isinstance(column.type, pa.BaseExtensionType) else column.type
    if kind not in _LONG:
        return column.to_pandas(integer_object_nulls=True).to_numpy()
    dtype = pandas.Int64Dtype() if kind == pa.int64() else pandas.UInt64Dtype()
    return dtype.__from_arrow__(column.cast(kind))


def _exact_index(index: Any, levels: Mapping[int, pa.ChunkedArray], pandas: Any) -> Any:
    found = [index.get_level_values(level) for level in range(index.nlevels)]
    for level, column in levels.items():
        if _is_plain(found[level].dtype):
            found[level] = pandas.Index(_exact(column, pandas))
    if index.nlevels == 1:
        return found[0].rename(index.name)
    return pandas.MultiIndex.from_arrays(found, names=index.names)
