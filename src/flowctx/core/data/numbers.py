"""NumPy's scalars and arrays of one dimension as plain values: exactly, or not at all."""

from __future__ import annotations

from datetime import date
from typing import Any

from flowctx.core.errors import PlainDataError

#: Kinds of dtype whose every value has an equal plain one: bool, integers, text, bytes, Python objects.
_EXACT = frozenset("biuUSO")


def plain_numpy(value: Any, path: str) -> object:
    """Return a NumPy scalar, or an array of one dimension, as Python's own values, to be frozen in turn.

    Args:
        value: The scalar or array.
        path: How to name it in an error.

    Raises:
        PlainDataError: It has another shape, or a type with values that no plain value equals.
    """
    if value.ndim > 1:
        raise PlainDataError(
            f"{path} is a NumPy array of {value.ndim} dimensions, which cannot be passed on; return a table of its "
            "columns, or array.tolist()"
        )
    kind, width = value.dtype.kind, value.dtype.itemsize
    if kind in _EXACT or (kind == "f" and width <= 8):
        return value.tolist()
    if kind == "M" and str(value.dtype) in ("datetime64[D]", "datetime64[M]", "datetime64[Y]"):
        days = value.astype("datetime64[D]").tolist()
        # Python has no word for years past 9999: NumPy then counts days from 1970, as ints.
        if any(type(day) is not date for day in (days if isinstance(days, list) else [days])):
            raise PlainDataError(f"{path} is not a date (NaT), or one that Python has no word for; use None")
        return days
    remedy = {
        "M": "it has no time zone; use pandas.Timestamp(..., tz='UTC'), or a table",
        "m": "use datetime.timedelta, or a table",
        "c": "use [z.real, z.imag]",
        "f": "it has more digits than a float; use float(...) or Decimal(...)",
    }.get(kind, "turn it into text, numbers, dates, lists and dicts")
    raise PlainDataError(f"{path} is a NumPy {value.dtype}, which cannot be passed on; {remedy}")
