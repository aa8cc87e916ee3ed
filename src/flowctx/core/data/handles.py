"""Find the tables, files and large outputs that plain data refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flowctx.core.data.files import File
from flowctx.core.data.plain import ArtifactRef, FrozenDict, FrozenList
from flowctx.core.data.references import Handle
from flowctx.core.data.tables import Table


def artifacts_in(value: Any) -> Iterator[ArtifactRef | Table | File]:
    """Yield every artifact, table and file in plain data."""
    if isinstance(value, (ArtifactRef, Table, File)):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from artifacts_in(item)
    elif isinstance(value, list):
        for item in value:
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
    for found in artifacts_in(value) if Handle.met else ():
        if not isinstance(found, ArtifactRef):
            found.bind(store)


def replaced(value: Any, change: Callable[[Table | File], Any]) -> Any:
    """Return plain data with other tables and files; what has none is returned as it is."""
    if not Handle.met:
        return value
    if isinstance(value, (Table, File)):
        return change(value)
    if isinstance(value, dict):
        items = {key: replaced(item, change) for key, item in value.items()}
        return FrozenDict(items) if any(items[key] is not value[key] for key in items) else value
    if isinstance(value, list):
        found = [replaced(item, change) for item in value]
        return FrozenList(found) if any(new is not old for new, old in zip(found, value, strict=True)) else value
    return value
