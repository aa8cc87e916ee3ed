"""How times and numbers are kept: one NaN, offsets for zones, nothing rounded."""

from __future__ import annotations

import math
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TypeAlias

from flowctx.core.errors import PlainDataError

#: The way to a value, from the outside in; written out only when there is an error to tell.
ValuePath: TypeAlias = "str | tuple[ValuePath, object]"

#: One NaN of each kind: containers compare by identity first, so a NaN that is read back equals the one written.
NAN = math.nan
DECIMAL_NAN = Decimal("NaN")


def shown(path: ValuePath) -> str:
    """Write out the way to a value: ``output['rows'][3]``."""
    return path if isinstance(path, str) else f"{shown(path[0])}[{path[1]!r}]"


def plain_float(value: float, path: ValuePath) -> float:
    """Return a float as it is kept: there is one NaN."""
    value = float(value)
    return NAN if value != value else value


def plain_decimal(value: Decimal, path: ValuePath) -> Decimal:
    """Return a decimal as it is kept: exact, and there is one NaN."""
    if value.is_snan():
        raise PlainDataError(f"{shown(path)} is a signalling NaN, which cannot be compared; use Decimal('NaN') or None")
    if value.is_nan():
        return DECIMAL_NAN
    return value if type(value) is Decimal else Decimal(value)


def plain_datetime(value: datetime, path: ValuePath) -> datetime:
    """Return a datetime as it is kept: with its offset, and without its zone."""
    if value != value:  # pandas.NaT is an instance of datetime
        raise PlainDataError(f"{shown(path)} is not a time (NaT); use None")
    offset = value.utcoffset()
    if offset is None:
        raise PlainDataError(
            f"{shown(path)} is {value!r}, a datetime without a time zone; add tzinfo=timezone.utc or its own"
        )
    if getattr(value, "nanosecond", 0):
        raise PlainDataError(f"{shown(path)} has nanoseconds, which a datetime cannot keep; use an int or round it")
    zone = UTC if not offset else timezone(offset)
    if type(value) is datetime and value.tzinfo == zone and isinstance(value.tzinfo, timezone) and not value.fold:
        return value
    return datetime.combine(value.date(), value.time(), zone).replace(fold=0)


def plain_time(value: time, path: ValuePath) -> time:
    """Return a time of day as it is kept: with its offset, and without its zone."""
    offset = value.utcoffset()
    if value.tzinfo is not None and offset is None:
        raise PlainDataError(f"{shown(path)} is a time in a zone whose offset depends on the day; use a datetime")
    zone = None if offset is None else timezone(offset)
    return time(value.hour, value.minute, value.second, value.microsecond, zone)


def plain_memory(value: memoryview, path: ValuePath) -> bytes:
    """Return the bytes of a memoryview."""
    if value.ndim != 1 or value.format not in ("B", "c"):
        raise PlainDataError(f"{shown(path)} is a memoryview of {value.format!r} values; use value.tolist()")
    return bytes(value)


def plain_timedelta(value: timedelta, path: ValuePath) -> timedelta:
    """Return a duration as it is kept: to the microsecond."""
    if value != value:  # pandas.NaT
        raise PlainDataError(f"{shown(path)} is not a duration (NaT); use None")
    if getattr(value, "nanoseconds", 0):
        raise PlainDataError(f"{shown(path)} has nanoseconds, which a timedelta cannot keep; use an int or round it")
    return timedelta(value.days, value.seconds, value.microseconds)
