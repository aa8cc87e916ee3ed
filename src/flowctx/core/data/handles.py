"""Find the tables, files and large outputs that plain data refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from flowctx.core.data.files import File
from flowctx.core.data.plain import JSON_TYPES, ArtifactRef, FrozenDict, FrozenList
from flowctx.core.data.references import Handle
from flowctx.core.data.tables import Table

#: Types of values that hold no others: most values are of one of them.
LEAVES = frozenset({type(None), bool, int, float, str, bytes, date, datetime, Decimal}) | JSON_TYPES


def may_hold_handles(value: Any) -> bool:
    """Whether a walk through plain data may find a table or file: most outputs hold nothing but plain values."""
    kind = type(value)
    if not Handle.met or kind in LEAVES:
        return False
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return True
    return not LEAVES.issuperset(map(type, value))


def artifacts_in(value: Any) -> Iterator[ArtifactRef | Table | File]:
    """Yield every artifact, table and file in plain data."""
    if isinstance(value, (ArtifactRef, Table, File)):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            if type(item) not in LEAVES:
                yield from artifacts_in(item)


def paths_in(value: Any) -> Iterator[str]:
    """Yield where everything is that plain data refers to, relative to its store."""
    for found in artifacts_in(value):
        if isinstance(found, ArtifactRef):
            yield found.uri
            yield from found.holds
        elif found.reference.path is not None:
            yield found.reference.path


def bind(value: Any, store: object | None) -> None:
    """Say in which store the tables and files in plain data are; those that know it already stay there."""
    if not may_hold_handles(value):
        return
    for found in artifacts_in(value):
        if not isinstance(found, ArtifactRef):
            found.bind(store)


def replaced(value: Any, change: Callable[[Table | File], Any]) -> Any:
    """Return plain data with other tables and files; what has none is returned as it is."""
    if isinstance(value, (Table, File)):
        return change(value)
    if isinstance(value, dict):
        items = {}
        for key, item in value.items():
            kind = type(item)
            if kind in LEAVES:
                continue
            new = change(item) if kind is Table else replaced(item, change)
            if new is not item:
                items[key] = new
        return FrozenDict({**value, **items}) if items else value
    if isinstance(value, list):
        if LEAVES.issuperset(map(type, value)):
            return value
        found = [replaced(item, change) for item in value]
        return FrozenList(found) if any(new is not old for new, old in zip(found, value, strict=True)) else value
    return value
