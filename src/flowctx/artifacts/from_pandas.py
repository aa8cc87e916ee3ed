"""Frames of pandas as Arrow tables; what would be lost on the way is refused."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pyarrow as pa

from flowctx.artifacts.objects import check_objects
from flowctx.core.errors import PlainDataError

logger = logging.getLogger("flowctx")

#: So many cells are converted before threads have begun.
_FEW_CELLS = 1 << 20
#: Names of columns that pandas finds again, by the type that it infers of them.
_NAMES = frozenset({"string", "integer", "empty"})
#: What pyarrow raises of values for which it has no place.
_CANNOT_HOLD = (pa.ArrowNotImplementedError, OverflowError, ValueError, TypeError)


def index_freq(index: Any, path: str) -> str | None:
    """Return the frequency of an index of times, if its name says all of it; that of periods is their type."""
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    freq = getattr(index, "freq", None)
    if freq is None or isinstance(index, pd.PeriodIndex):
        return None
    name = str(freq.freqstr)
    try:
        if to_offset(name) == freq:
            return name
    except ValueError:  # it has a name that only people can read
        pass
    logger.warning(
        "%s has an index of the frequency %r, which is not kept; set index.freq where it is read", path, freq
    )
    return None


def counts_rows(index: Any, start: int | None = None) -> bool:
    """Whether an index counts rows, from such a number; pandas has one of its kind for ids in even steps, too."""
    import pandas as pd

    counts = isinstance(index, pd.RangeIndex) and index.name is None and index.step == 1
    return counts and start in (None, index.start)


def arrow_of_pandas(frame: Any, path: str, preserve_index: bool | None = None) -> pa.Table:
    """Return a frame as an Arrow table.

    Raises:
        PlainDataError: Something in it would be lost.
    """
    import pandas as pd

    _check_names(frame, path)
    for i, (name, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        objects = frame.iloc[:, i] if str(dtype) == "object" else ()  # of other types, the type says it all
        _check_dtype(dtype, objects, name, path)
    index = frame.index
    for level in range(index.nlevels):
        values = index.get_level_values(level)
        _check_dtype(values.dtype, values, index.names[level] or "index", path)
    if not frame.shape[1] and len(frame):
        raise PlainDataError(
            f"{path} has {len(frame):,} rows and no columns, and Parquet keeps no such rows; use frame.reset_index()"
        )
    default = counts_rows(index, start=0)
    if not default and index.names == [None] and pd.api.types.is_integer_dtype(index.dtype):
        logger.warning(
            "%s has an index without a name, as a filter leaves it, and keeps it as the column __index_level_0__; use "
            "frame.reset_index(drop=True) if it means nothing",
            path,
        )
    try:
        if preserve_index is None and not default:
            preserve_index = True  # otherwise pyarrow keeps ids in even steps beside the columns
        threads = 1 if frame.size <= _FEW_CELLS else None
        return pa.Table.from_pandas(frame, preserve_index=preserve_index, nthreads=threads)
    except _CANNOT_HOLD as exc:
        raise _cannot_hold(frame, path, exc) from exc


def _cannot_hold(frame: Any, path: str, exc: Exception) -> PlainDataError:
    """Return the error of a frame that Arrow cannot hold, with the column that is the cause."""
    levels = [(frame.index.names[level] or "index", level) for level in range(frame.index.nlevels)]
    named = [
        *((name, frame.iloc[:, i]) for i, name in enumerate(frame.columns)),
        *((name, frame.index.get_level_values(level)) for name, level in levels),
    ]
    for name, values in named:
        try:
            pa.array(values, from_pandas=True)
        except _CANNOT_HOLD as of_column:
            why = str(of_column.args[0] if of_column.args else of_column)
            what, remedy = "values", "convert them first"
            if isinstance(of_column, UnicodeEncodeError):
                what, why = "text that is not UTF-8", f"lone surrogates, such as {of_column.object[of_column.start]!a}"
                remedy = f"mend it, such as frame[{name!r}].str.encode('utf-8', 'replace').str.decode('utf-8')"
            elif "precision" in why:
                what, remedy = "decimals", "round them first, or keep them as text"
            return PlainDataError(f"{path} has {what} in column {name!r} that Arrow cannot hold ({why}); {remedy}")
    return PlainDataError(f"{path} is a DataFrame that Arrow cannot hold: {exc}")


def _check_names(frame: Any, path: str) -> None:
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise PlainDataError(f"{path} has the column {twice!r} more than once; rename one of them")
    kinds = {type(name) for name in frame.columns}
    if len(kinds) > 1:
        shown = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise PlainDataError(
            f"{path} has columns named by {shown}, which would all become text; use frame.rename(columns=str)"
        )
    columns = frame.columns
    if columns.inferred_type not in _NAMES or not isinstance(columns.name, str | None):
        _check_found_again(columns, path)


def _check_found_again(columns: Any, path: str) -> None:
    """Refuse names of columns that pandas does not read as they were written."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pa.Table.from_pandas(pd.DataFrame(columns=columns)).to_pandas().columns
        same = list(found) == list(columns) and list(found.names) == list(columns.names)
    except (TypeError, ValueError):
        same = False
    if not same:
        kind = columns.inferred_type if columns.dtype == object else columns.dtype
        raise PlainDataError(
            f"{path} has columns named by values of {kind}, which pandas would not find again; use "
            "frame.set_axis(frame.columns.map(str), axis=1)"
        )


def _check_dtype(dtype: Any, values: Any, name: object, path: str) -> None:
    kind = str(dtype)
    if kind == "object":
        check_objects(values, name, path)
    elif kind == "category" and str(dtype.categories.dtype) == "object":
        check_objects(dtype.categories, name, path)
    elif kind == "category" and str(dtype.categories.dtype).startswith("interval"):
        raise PlainDataError(
            f"{path} has intervals as categories in column {name!r}, as pandas.cut makes them, which Parquet does not "
            "keep; give pandas.cut labels, or make text of them: .astype('str')"
        )
    elif kind == "category" and getattr(dtype.categories, "tz", None) is not None and _loses_zone(dtype):
        raise PlainDataError(
            f"{path} has times in a zone as categories in column {name!r}, of which pyarrow {pa.__version__} keeps no "
            "zone; install a newer one, or use no categories"
        )
    elif kind.startswith(("complex", "Sparse")):
        raise PlainDataError(f"{path} has {kind} in column {name!r}, which Arrow cannot hold; convert it first")


def _loses_zone(dtype: Any) -> bool:
    import pandas as pd

    return pa.array(pd.Categorical([], dtype=dtype)).type.value_type.tz is None
