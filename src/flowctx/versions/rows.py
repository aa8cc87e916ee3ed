"""Plain outputs of many partitions as rows: the dimensions, and then what the step returned."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, time
from typing import Any

from flowctx.core.data.encoding import BUILT_INS
from flowctx.core.data.files import File
from flowctx.core.data.plain import ArtifactRef
from flowctx.core.data.tables import Table
from flowctx.core.dates.parsing import iso_instant
from flowctx.core.errors import PlainDataError
from flowctx.core.workflow.outputs import Outputs

#: How many outputs are in memory at a time.
_PAGE = 500


def rows(found: Outputs) -> Iterator[dict[str, Any]]:
    """Yield a row for each partition: its dimensions, and the values of its output; tables and files are left out.

    Nested values get a column each, such as ``limits.low``; a list is one value, and so is an empty dict.

    Raises:
        PlainDataError: An output has a value of a dimension's name, and it is another one; or two values would have
            one column, such as ``{"limits.low": 1, "limits": {"low": 2}}``.

    Example:
        >>> from flowctx import Outputs, PartitionKey
        >>> list(rows(Outputs({PartitionKey(tier="T1"): {"rate": 0.01, "limits": {"low": 1}}})))
        [{'tier': 'T1', 'rate': 0.01, 'limits.low': 1}]
    """
    for page in found.pages(_PAGE):
        for key, output in page.items():
            row: dict[str, Any] = key.to_dict()
            own, seen = key.to_dict(), set[str]()
            for name, value in _flat(output, ""):
                if name in seen:
                    raise PlainDataError(
                        f"the output of {key} has two values that would both be the column {name!r}, one of which is "
                        "nested; rename one"
                    )
                seen.add(name)
                if name not in own:
                    row[name] = value
                elif not _is_own(value, own[name]):
                    raise PlainDataError(
                        f"the output of {key} has a value {name!r} that is not the partition's own {name}; rename it"
                    )
            yield row


def _is_own(value: object, own: str) -> bool:
    """Whether a value is that of a dimension, as text, or as the time of a day or an hour."""
    if not isinstance(value, datetime):
        return str(value) == own
    if (hour := iso_instant(own)) is None:
        return value.time() == time() and value.date().isoformat() == own
    return value == hour


def _flat(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        where = f"{path}{name}"
        if type(item) in BUILT_INS:
            yield where, item
        elif isinstance(item, Mapping) and item:
            yield from _flat(item, f"{where}.")
        elif not isinstance(item, (Table, File, ArtifactRef)):
            yield where, item


def cell(value: object) -> Any:
    """Return a value as JSON has it, for people and tools that know nothing of our own form.

    Example:
        >>> import datetime
        >>> cell(datetime.date(2026, 1, 9)), cell([1, float("nan")])
        ('2026-01-09', [1, 'NaN'])
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, Mapping):
        return {str(name): cell(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [cell(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def text(value: object) -> str:
    """Return a value as a cell of CSV has it; nothing is empty."""
    if type(value) is str:
        return value
    plain = cell(value)
    if plain is None:
        return ""
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, (bool, list, dict)) else str(plain)
