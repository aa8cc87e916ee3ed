"""What the fields of a context may be, and how each is made one."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime

from flowctx.core.data.plain import FrozenDict, JsonDict, freeze, freeze_dict
from flowctx.core.errors import ContextError, PartitionError, PlainDataError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.suggestions import a_kind, nearest


def as_dict(value: object, path: str) -> FrozenDict:
    """Return a dict of plain data that nothing can change."""
    if type(value) is JsonDict:
        return value
    if type(value) is dict:
        return freeze_dict(value, path)
    frozen = freeze(value, path)
    if not isinstance(frozen, FrozenDict):
        raise PlainDataError(f"{path} is {a_kind(value)}; it must be a dict with text keys")
    return frozen


def warn_of_others(names: Iterable[str], known: Collection[str]) -> None:
    """Warn of fields of a payload without a version that a context does not have: they are left out."""
    for name in (name for name in names if name not in known):
        near = nearest(name, known)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        text = f"the context payload has {name!r}, which is no field of a context and is left out{hint}"
        warnings.warn(text, stacklevel=4)


def as_partition(value: object) -> PartitionKey:
    """Return a partition key."""
    if isinstance(value, PartitionKey):
        return value
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise PartitionError(f"partition={value!r} must be a dict of dimensions, such as {{'date': '2026-01-10'}}")
    return PartitionKey(**value)


def as_utc(value: object) -> datetime:
    """Return an aware datetime in UTC."""
    if not isinstance(value, datetime):
        raise ContextError(f"started_at={value!r} must be a datetime")
    if value.utcoffset() is None:
        raise ContextError(f"started_at={value!r} has no time zone; use datetime.now(timezone.utc)")
    moved = value.astimezone(UTC)
    return datetime.combine(moved.date(), moved.time(), UTC).replace(fold=0)


def as_date(value: object) -> date:
    """Return a date that is no datetime."""
    if isinstance(value, datetime):
        raise ContextError(f"as_of_date={value!r} is a datetime; say which day it is in which zone: value.date()")
    if not isinstance(value, date):
        raise ContextError(f"as_of_date={value!r} must be a date; use date.fromisoformat('2026-01-10')")
    return date(value.year, value.month, value.day)
