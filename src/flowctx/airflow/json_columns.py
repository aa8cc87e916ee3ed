"""What the JSON columns of databases do not keep: the order of keys, and of some numbers that they are floats.

Airflow's XComs are ``jsonb`` in PostgreSQL, and ``JSON`` in MySQL. Both sort the keys of an object by their length, and
PostgreSQL writes ``1e+22`` as an integer and ``-0.0`` as zero. A step that writes a header from the keys of an output
would write another one there than in any other place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

from flowctx.core.errors import PayloadError

#: The parts of an envelope that hold data of steps.
_PARTS = ("output", "quality", "updates")
#: What stands for something that is elsewhere: the order in it means nothing.
_REFERENCES = frozenset({("$artifact",), ("$table",), ("$file",)})


def for_column(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload that comes back from any JSON column; beside it stands the order of its keys.

    Example:
        >>> for_column({"step": "load", "output": {"symbol": "IBM", "close": 1e22}})["order"]
        {'keys': [['symbol', 'close']]}
    """
    parts = {name: _with_floats(payload[name]) for name in _PARTS if name in payload}
    orders: dict[tuple[str, ...], int] = {}
    places = [orders.setdefault(keys, len(orders)) for keys in _key_orders(parts)]
    if all(list(keys) == sorted(keys, key=lambda key: (len(key.encode()), key)) for keys in orders):
        return {**payload, **parts}
    order: dict[str, Any] = {"keys": [list(keys) for keys in orders]}
    if len(set(map(frozenset, orders))) < len(orders):  # the same keys in two orders: say which one stands where
        order["places"] = places
    return {**payload, **parts, "order": order}


def from_column(payload: Any) -> Any:
    """Return a payload with its keys in the order in which they were written.

    Raises:
        PayloadError: What says so is damaged.
    """
    order = payload.get("order") if isinstance(payload, Mapping) else None
    if order is None:
        return payload
    try:
        keys = [tuple(found) for found in order["keys"]]
        by_set = {frozenset(found): found for found in keys}
        places = (keys[place] for place in order["places"]) if "places" in order else repeat(None)
        parts = {name: payload[name] for name in _PARTS if name in payload}
        return {**payload, **_ordered(parts, by_set, iter(places))}
    except (KeyError, IndexError, TypeError, AttributeError, StopIteration) as exc:
        raise PayloadError(f"the order of keys that a step handed on is damaged: {exc!r}; run that step again") from exc


def _key_orders(value: Any) -> Iterator[tuple[str, ...]]:
    """Yield the keys of each object that has several, in their order; a reader goes the same way."""
    if isinstance(value, Mapping) and tuple(value) not in _REFERENCES:
        if len(value) > 1:
            yield tuple(value)
        for key in sorted(value):
            yield from _key_orders(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _key_orders(item)


def _ordered(value: Any, by_set: Mapping[frozenset[str], tuple[str, ...]], places: Iterator[Any]) -> Any:
    if isinstance(value, Mapping) and tuple(value) not in _REFERENCES:
        keys = tuple(value)
        if len(value) > 1:
            keys = next(places) or by_set[frozenset(value)]
        inner = {key: _ordered(value[key], by_set, places) for key in sorted(value)}
        if sorted(keys) != sorted(inner):
            raise KeyError(keys)
        return {key: inner[key] for key in keys}
    if isinstance(value, (list, tuple)):
        return [_ordered(item, by_set, places) for item in value]
    return value


def _with_floats(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and ("e" in repr(value) or repr(value) == "-0.0"):
        return {"$float": repr(value)}
    if isinstance(value, dict):
        return {key: _with_floats(item) for key, item in value.items()}
    return [_with_floats(item) for item in value] if isinstance(value, list) else value
