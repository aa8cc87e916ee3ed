"""The JSON form of plain data, which loses nothing and is the same everywhere.

Built-ins stay as they are. Everything else is an object
with a single key that starts with ``$``. A user's own key that starts with ``$``, or with ``__`` as the keys do that
Airflow's serialiser keeps for itself (``__classname__``, ``__type``), gets a ``$`` in front.

==============  =============================================================================
tag             value
==============  =============================================================================
``$date``       ISO 8601 ``2026-01-10``; ``$datetime`` and ``$time`` likewise, with offset
``$timedelta``  ISO 8601 duration in days and seconds, ``P1DT3600.000005S``
``$decimal``    the digits, ``1.10``
``$uuid``       hexadecimal with dashes
``$bytes``      base64
``$float``      ``nan``, ``inf`` or ``-inf``, which JSON has no word for; others where JSON loses them
``$int``        hexadecimal, for integers that need more than 64 bits
``$str``        ASCII with JSON escapes, for text with NUL or lone surrogates (PostgreSQL refuses both)
``$artifact``   a reference to a large output (:class:`ArtifactRef`)
``$table``      a reference to a table (:class:`Table`), or a small table itself
``$file``       a reference to a file (:class:`File`), or a small file itself
==============  =============================================================================

No pickle, no class names: reading a payload builds these types and nothing else.
"""

from __future__ import annotations

import math
import re
from binascii import a2b_base64, b2a_base64  # base64 would import struct too
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from flowctx.core.data.files import File
from flowctx.core.data.handles import replaced
from flowctx.core.data.lazy import LazyDict
from flowctx.core.data.plain import (
    NAN,
    ArtifactRef,
    FrozenDict,
    FrozenList,
    ValuePath,
    encodable,
    plain_datetime,
    plain_decimal,
    shown,
)
from flowctx.core.data.references import FileReference, TableReference, check_path
from flowctx.core.data.tables import Table
from flowctx.core.errors import PayloadError
from flowctx.core.hashing import sha256
from flowctx.core.printable import brief
from flowctx.core.suggestions import a_kind


def to_json(value: Any) -> Any:
    """Return frozen data as JSON-ready built-ins: ``json.dumps`` never fails on the result.

    Example:
        >>> from flowctx.core.data.plain import freeze
        >>> to_json(freeze({"price": Decimal("1.10"), "$": 1, "__id__": 2}))
        {'price': {'$decimal': '1.10'}, '$$': 1, '$__id__': 2}
    """
    return _WRITERS[type(value)](value)


def _write_dict(value: dict[str, Any]) -> dict[str, Any]:
    data = dict(value)
    for key, item in value.items():
        kind = type(item)
        if kind is str:  # most values are short text and small numbers: no call for these
            if item.isascii() and "\0" not in item:
                continue
        elif kind is int and -(2**63) <= item < 2**63:
            continue
        data[key] = _WRITERS[kind](item)
    names = "".join(data)  # one look at all keys: hardly any dict has one to escape
    return {escape_key(key): item for key, item in data.items()} if "$" in names or "__" in names else data


def _write_list(value: list[Any]) -> list[Any]:
    return [_WRITERS[type(item)](item) for item in value]


def _write_str(value: str) -> Any:
    return value if "\0" not in value and encodable(value) else {"$str": _escaped(value)}


def _write_int(value: int) -> Any:
    return value if -(2**63) <= value < 2**63 else {"$int": hex(value)}


def _write_float(value: float) -> Any:
    return value if math.isfinite(value) else {"$float": str(value)}


def _as_it_is(value: Any) -> Any:
    return value


def escape_key(key: str) -> str:
    """Return a user's own key as it is written: ``$`` begins our tags, and ``__`` Airflow's reserved keys."""
    return f"${key}" if key.startswith(("$", "__")) else key


def unescape_key(key: str) -> str:
    """Invert :func:`escape_key`; a key that was never escaped is returned as it is."""
    return key[1:] if key.startswith(_ESCAPED) else key


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


def _from_json(data: Any, path: ValuePath) -> Any:
    return _READERS.get(type(data), _read_other)(data, path)


# Most items are built-ins: it is faster to copy all at once and to replace the others than to look at one by one.


def _read_dict(data: dict[str, Any], path: ValuePath) -> Any:
    if len(data) == 1:
        ((tag, text),) = data.items()
        if tag in _DECODERS:
            return _untag(tag, text, path)
    if "$" in "".join(data):
        data = _own_keys(data, path)
    read = FrozenDict(data)
    for key, item in data.items():
        if type(item) not in _BUILT_INS:
            dict.__setitem__(read, key, _READERS.get(type(item), _read_other)(item, (path, key)))
    return read


def _read_list(data: list[Any], path: ValuePath) -> FrozenList:
    read = FrozenList(data)
    if not _BUILT_INS.issuperset(map(type, data)):
        for i, item in enumerate(data):
            list.__setitem__(read, i, _from_json(item, (path, i)))
    return read


def _read_built_in(data: Any, path: ValuePath) -> Any:
    return data


def _read_other(data: Any, path: ValuePath) -> Any:
    if isinstance(data, dict):
        return _read_dict(data, path)
    if isinstance(data, list):
        return _read_list(data, path)
    raise PayloadError(f"{shown(path)} is {a_kind(data)}, which no JSON holds; was the payload read with json.loads?")


def _untag(tag: str, text: Any, path: ValuePath) -> Any:
    try:
        return _DECODERS[tag](text)
    except (AttributeError, ValueError, TypeError, KeyError, ArithmeticError) as exc:
        raise PayloadError(f"{shown(path)} has a damaged {tag}: {_brief(text)} ({brief(str(exc))})") from exc


def _brief(text: Any) -> str:
    found = repr(text)
    return found if len(found) <= 200 else f"{found[:197]}..."


def _own_keys(data: dict[str, Any], path: ValuePath) -> dict[str, Any]:
    """Return a dict with the user's own keys in place of the escaped ones."""
    for key in data:
        if key[:1] == "$" and not key.startswith(_ESCAPED):
            if len(data) == 1:
                raise PayloadError(
                    f"{shown(path)} has the unknown tag {key!r}; it was written by a newer flowctx or another program"
                )
            raise PayloadError(
                f"{shown(path)} has the unescaped key {key!r}; the payload is damaged or written by another program"
            )
    return {unescape_key(key): item for key, item in data.items()}


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
    holds = tuple(map(check_path, data.get("holds", ())))
    return ArtifactRef(uri=str(data["uri"]), digest=str(data["digest"]), size=int(data["size"]), holds=holds)


def _write_artifact(ref: ArtifactRef) -> dict[str, Any]:
    holds = {"holds": list(ref.holds)} if ref.holds else {}
    return {"$artifact": {"uri": ref.uri, "digest": ref.digest, "size": ref.size, **holds}}


def _read_datetime(text: str) -> datetime:
    return plain_datetime(datetime.fromisoformat(text), "it")


def _read_float(text: str) -> float:
    known = {"nan": NAN, "inf": math.inf, "-inf": -math.inf}
    return known[text] if text in known else float(text)


def _read_decimal(text: str) -> Decimal:
    return plain_decimal(Decimal(text), "it")


#: A function for each exact type that frozen data is made of.
_WRITERS: dict[type, Callable[[Any], Any]] = {
    type(None): _as_it_is,
    bool: _as_it_is,
    int: _write_int,
    float: _write_float,
    str: _write_str,
    **dict.fromkeys((dict, FrozenDict, LazyDict), _write_dict),
    **dict.fromkeys((list, FrozenList), _write_list),
    datetime: lambda value: {"$datetime": value.isoformat()},
    date: lambda value: {"$date": value.isoformat()},
    time: lambda value: {"$time": value.isoformat()},
    timedelta: lambda value: {"$timedelta": _timedelta_text(value)},
    Decimal: lambda value: {"$decimal": str(value)},
    UUID: lambda value: {"$uuid": str(value)},
    bytes: lambda value: {"$bytes": b2a_base64(value, newline=False).decode("ascii")},
    ArtifactRef: _write_artifact,
    Table: lambda table: {"$table": table.reference.to_json()},
    File: lambda file: {"$file": file.reference.to_json()},
}
_BUILT_INS: frozenset[type] = frozenset({str, int, bool, float, type(None)})
_READERS: dict[type, Callable[[Any, ValuePath], Any]] = {
    **dict.fromkeys(_BUILT_INS, _read_built_in),
    dict: _read_dict,
    list: _read_list,
}
#: How a key begins that :func:`escape_key` changed; no tag does.
_ESCAPED = ("$$", "$__")
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$datetime": _read_datetime,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": _read_timedelta,
    "$decimal": _read_decimal,
    "$uuid": UUID,
    "$bytes": lambda text: a2b_base64(text, strict_mode=True),
    "$artifact": _read_artifact,
    "$table": lambda data: Table(TableReference.from_json(data)),
    "$file": lambda data: File.of(FileReference.from_json(data)),
    "$float": _read_float,
    "$int": lambda text: int(text, 16),
    "$str": _unescaped,
}


def digest(value: Any) -> str:
    """Return the SHA-256 (hexadecimal) of frozen data in its JSON form: equal data, equal digest, on every engine.

    The order of keys does not count, and of a table or file only its content does.
    """
    from msgspec import json

    return sha256(json.encode(to_json(by_content(value)), order="sorted"))


def by_content(value: Any) -> Any:
    """Return frozen data with the digest of each table and file in its place: what it holds, not where it is."""
    return replaced(value, lambda handle: FrozenDict({f"${type(handle).__name__}": handle.digest}))


def encode(value: Any) -> bytes:
    """Return frozen data as compact UTF-8 JSON, with its keys in their order."""
    from msgspec import json

    return json.encode(to_json(value))


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
