"""The JSON form of plain data, which loses nothing and is the same everywhere.

Built-ins stay as they are. Everything else is an object
with a single key that starts with ``$``; a user's own key that starts with ``$`` gets a second one.

==============  =============================================================================
tag             value
==============  =============================================================================
``$date``       ISO 8601 ``2026-01-10``; ``$datetime`` and ``$time`` likewise, with offset
``$timedelta``  ISO 8601 duration in days and seconds, ``P1DT3600.000005S``
``$decimal``    the digits, ``1.10``
``$uuid``       hexadecimal with dashes
``$bytes``      base64
``$float``      ``nan``, ``inf`` or ``-inf``, which JSON has no word for
``$int``        hexadecimal, for integers that need more than 64 bits
``$str``        ASCII with JSON escapes, for text with NUL or lone surrogates (PostgreSQL refuses both)
``$artifact``   a reference to a large output (:class:`ArtifactRef`)
==============  =============================================================================

No pickle, no class names: reading a payload builds these types and nothing else.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from flowctx.core.errors import PayloadError
from flowctx.core.hashing import sha256
from flowctx.core.plain import (
    NAN,
    ArtifactRef,
    ValuePath,
    encodable,
    plain_datetime,
    plain_decimal,
    shown,
)
from flowctx.core.readonly import FrozenDict, FrozenList


def to_json(value: Any) -> Any:
    """Return frozen data as JSON-ready built-ins: ``json.dumps`` never fails on the result.

    Example:
        >>> from flowctx.core.plain import freeze
        >>> to_json(freeze({"price": Decimal("1.10"), "$": 1}))
        {'price': {'$decimal': '1.10'}, '$$': 1}
    """
    kind = type(value)
    if kind is str:
        return value if value.isprintable() or ("\0" not in value and encodable(value)) else {"$str": _escaped(value)}
    if kind is int:
        return value if -(2**63) <= value < 2**63 else {"$int": hex(value)}
    if kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, dict):
        # Only keys from the start of the ASCII table can begin with "$".
        if value and min(value) < "%":
            return {f"${key}" if key[:1] == "$" else key: to_json(item) for key, item in value.items()}
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    tag, encode = _ENCODERS[kind]
    return {tag: encode(value)}


def from_json(data: Any, path: str = "value") -> Any:
    """Rebuild the read-only data that :func:`to_json` wrote.

    Args:
        data: Built-ins, as ``json.loads`` returns them.
        path: How to name ``data`` in an error.

    Raises:
        PayloadError: An unknown tag, a tag whose value is damaged, or nesting without end.
    """
    try:
        return _from_json(data, path)
    except RecursionError:
        raise PayloadError(f"{path} is nested too deep; the payload is damaged or written by another program") from None


_BUILT_INS = frozenset({str, int, bool, float, type(None)})


def _from_json(data: Any, path: ValuePath) -> Any:
    kind = type(data)
    if kind in _BUILT_INS:
        return data
    if isinstance(data, dict):
        # Only keys from the start of the ASCII table can begin with "$".
        if len(data) == 1 or (data and min(data) < "%"):
            return _untagged(data, path)
        return FrozenDict(
            {key: item if type(item) in _BUILT_INS else _from_json(item, (path, key)) for key, item in data.items()}
        )
    if isinstance(data, list):
        return FrozenList(
            [item if type(item) in _BUILT_INS else _from_json(item, (path, i)) for i, item in enumerate(data)]
        )
    raise PayloadError(
        f"{shown(path)} is a {kind.__name__}, which no JSON holds; was the payload read with json.loads?"
    )


def _untagged(data: dict[str, Any], path: ValuePath) -> Any:
    """Rebuild a dict with keys that start with ``$``: a tagged value, or a user's own keys, escaped."""
    if len(data) == 1:
        ((tag, text),) = data.items()
        if tag[:1] == "$" and tag[:2] != "$$":
            return _untag(tag, text, path)
    return FrozenDict({_unescape(key, path): _from_json(item, (path, key)) for key, item in data.items()})


def _unescape(key: str, path: ValuePath) -> str:
    if key[:1] != "$":
        return key
    if key[:2] != "$$":
        raise PayloadError(
            f"{shown(path)} has the unescaped key {key!r}; the payload is damaged or written by another program"
        )
    return key[1:]


def _untag(tag: str, text: Any, path: ValuePath) -> Any:
    decode = _DECODERS.get(tag)
    if decode is None:
        raise PayloadError(
            f"{shown(path)} has the unknown tag {tag!r}; it was written by a newer flowctx or another program"
        )
    try:
        return decode(text)
    except (ValueError, TypeError, KeyError, ArithmeticError) as exc:
        raise PayloadError(f"{shown(path)} has a damaged {tag}: {text!r} ({exc})") from exc


def _escaped(text: str) -> str:
    import json

    return json.dumps(text)[1:-1]


def _unescaped(text: str) -> str:
    import json

    return str(json.loads(f'"{text}"'))


def _timedelta_text(value: timedelta) -> str:
    return f"P{value.days}DT{value.seconds}.{value.microseconds:06d}S"


_DURATION = re.compile(r"P(-?\d+)DT(\d+)\.(\d{6})S")


def _read_timedelta(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("not of the form P1DT2.000003S")
    days, seconds, microseconds = map(int, match.groups())
    return timedelta(days, seconds, microseconds)


def _read_artifact(data: dict[str, Any]) -> ArtifactRef:
    return ArtifactRef(uri=str(data["uri"]), digest=str(data["digest"]), size=int(data["size"]))


def _read_datetime(text: str) -> datetime:
    return plain_datetime(datetime.fromisoformat(text), "it")


def _read_float(text: str) -> float:
    return {"nan": NAN, "inf": math.inf, "-inf": -math.inf}[text]


def _read_decimal(text: str) -> Decimal:
    return plain_decimal(Decimal(text), "it")


_ENCODERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    datetime: ("$datetime", datetime.isoformat),
    date: ("$date", date.isoformat),
    time: ("$time", time.isoformat),
    timedelta: ("$timedelta", _timedelta_text),
    Decimal: ("$decimal", str),
    UUID: ("$uuid", str),
    bytes: ("$bytes", lambda value: base64.b64encode(value).decode("ascii")),
    ArtifactRef: ("$artifact", lambda ref: {"uri": ref.uri, "digest": ref.digest, "size": ref.size}),
}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$datetime": _read_datetime,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": _read_timedelta,
    "$decimal": _read_decimal,
    "$uuid": UUID,
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$artifact": _read_artifact,
    "$float": _read_float,
    "$int": lambda text: int(text, 16),
    "$str": _unescaped,
}


def digest(value: Any) -> str:
    """Return the SHA-256 (hexadecimal) of frozen data in its JSON form: equal data, equal digest, on every engine."""
    return sha256(encode(value))


def encode(value: Any) -> bytes:
    """Return frozen data as compact UTF-8 JSON; the same data always gives the same bytes (keys are sorted)."""
    from msgspec import json

    return json.encode(to_json(value), order="sorted")


def decode(data: bytes | str) -> Any:
    """Rebuild frozen data from :func:`encode`'s bytes.

    Raises:
        PayloadError: The bytes are no JSON, or hold a damaged tag.
    """
    from msgspec import DecodeError, json

    try:
        loaded = json.decode(data)
    except (DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise PayloadError(f"the payload is not JSON: {exc}") from exc
    return from_json(loaded)
