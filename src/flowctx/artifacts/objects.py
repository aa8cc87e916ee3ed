"""Look at the object columns of a pandas frame before Arrow does, which changes some values without a word.

``pa.Table.from_pandas`` rounds a ``Timestamp`` in an object column to microseconds, cuts the time off a datetime that
follows a date, makes bytes of text that stands beside bytes, null of ``Decimal("NaN")``, doubles of integers. So every
value's exact type has to be on a list, and the only one of its column.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from flowctx.core.errors import PlainDataError

#: What an object column may be made of; what a library brings is added when it is there.
_ALONE: frozenset[type] = frozenset({bool, int, float, str, bytes, date, datetime, time, timedelta, Decimal})
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_REMEDY = "convert the column to one type first, such as frame[{name!r}].astype('str')"


def check_objects(values: Iterable[Any], name: object, path: str) -> None:
    """Refuse a column of Python objects in which Arrow would lose something.

    Args:
        values: The column, an index level, or the elements of such.
        name: What it is called.
        path: The way to the frame.

    Raises:
        PlainDataError: Naming the column, what is in it and the remedy.
    """
    values = list(values)
    kinds = {kind for kind in set(map(type, values)) if kind is not type(None)}
    present = [kind for kind in kinds if not _is_missing(kind)]
    if float in kinds and len(present) > 1:
        # pandas writes a missing text as NaN; beside numbers NaN is a number.
        if not {str, bytes, bool, date} & kinds or any(value == value for value in values if type(value) is float):
            _refuse(name, path, kinds)
        present.remove(float)
        values = [value for value in values if type(value) is not float]
    if len(present) > 1:
        _refuse(name, path, kinds)
    for kind in present:
        _check_kind(kind, [value for value in values if type(value) is kind], name, path)


def _check_kind(kind: type, values: list[Any], name: object, path: str) -> None:
    if kind.__name__ == "ndarray" and (odd := next((value for value in values if value.ndim != 1), None)) is not None:
        raise PlainDataError(
            f"{path} has arrays of {odd.ndim} dimensions in column {name!r}, which Arrow cannot hold; make lists of "
            f"them first, such as frame[{name!r}].map(lambda array: array.tolist())"
        )
    if kind is list or kind.__name__ == "ndarray":
        check_objects((item for value in values for item in value), name, path)
    elif kind is dict:
        _check_dicts(values, name, path)
    elif kind is int:
        if not all(_INT64_MIN <= value <= _INT64_MAX for value in values):
            raise PlainDataError(
                f"{path} has integers of more than 64 bits in column {name!r}, which Arrow cannot hold; convert "
                f"them to decimals or text first, such as frame[{name!r}].map(decimal.Decimal)"
            )
    elif kind is Decimal:
        if not all(value.is_finite() for value in values):
            _refuse(name, path, "Decimal('NaN') or an infinity", "use None for what is missing")
    elif kind is time:
        if any(value.tzinfo is not None for value in values):
            _refuse(name, path, "times with a zone", "use datetimes")
    elif issubclass(kind, datetime):
        _check_times(values, name, path)
    elif kind not in _ALONE and not _is_number(kind):
        _refuse(name, path, {kind})


def _check_dicts(values: list[dict[Any, Any]], name: object, path: str) -> None:
    keys = set(map(tuple, values))
    if len({frozenset(key) for key in keys}) > 1:
        _refuse(name, path, "dicts with different keys", "give every dict the same keys")
    for key in values[0] if values else ():
        if type(key) is not str:
            _refuse(name, path, f"dicts with the key {key!r}", "use text")
        check_objects((value[key] for value in values), f"{name}.{key}", path)


def _check_times(values: list[Any], name: object, path: str) -> None:
    if any(getattr(value, "nanosecond", 0) for value in values):
        _refuse(name, path, "times with nanoseconds", f"use pandas.to_datetime(frame[{name!r}])")
    zones = {value.tzinfo if value.tzinfo is None else str(value.tzinfo) for value in values}
    if len(zones) > 1 or not zones <= {None, "UTC"}:
        _refuse(name, path, "times in zones", f"use pandas.to_datetime(frame[{name!r}], utc=True)")


def _is_missing(kind: type) -> bool:
    return kind.__name__ in ("NAType", "NaTType") and kind.__module__.startswith("pandas")


def _is_number(kind: type) -> bool:
    """Whether a type is a NumPy number that Arrow keeps as it is."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not issubclass(kind, numpy.generic):
        return False
    return kind in {numpy.bool_, numpy.float32, numpy.float64, *_integers(numpy)}


def _integers(numpy: Any) -> Iterator[type]:
    for bits in (8, 16, 32, 64):
        yield getattr(numpy, f"int{bits}")
        yield getattr(numpy, f"uint{bits}")


def _refuse(name: object, path: str, what: object, remedy: str | None = None) -> None:
    if isinstance(what, set):
        what = "values of " + " and ".join(sorted(kind.__qualname__ for kind in what))
    remedy = remedy or _REMEDY.format(name=name)
    raise PlainDataError(f"{path} has {what} in column {name!r}, which Arrow would change without a word; {remedy}")
