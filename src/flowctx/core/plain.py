"""Read-only plain data: what may flow through a context, and its JSON form.

Values are normalised once, on entry (:func:`freeze`): tuples become lists, enum members their values,
dataclasses and msgspec structs dicts, aware datetimes keep their offset. What is stored is what comes back.

The JSON form (:func:`to_json` / :func:`from_json`) leaves built-ins as they are. Everything else is an object
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

from flowctx.core.errors import PayloadError, PlainDataError
from flowctx.core.hashing import sha256
from flowctx.core.readonly import FrozenDict, FrozenList, thaw

__all__ = [
    "ArtifactRef",
    "artifacts_in",
    "decode",
    "digest",
    "encode",
    "freeze",
    "from_json",
    "thaw",
    "to_json",
]

#: The way to a value, from the outside in; written out only when there is an error to tell.
_Path: TypeAlias = "str | tuple[_Path, object]"

#: Nesting deeper than this is taken for a structure that contains itself.
MAX_DEPTH = 100

#: One NaN of each kind: containers compare by identity first, so a NaN that is read back equals the one written.
NAN = math.nan
DECIMAL_NAN = Decimal("NaN")

_REMEDIES = {
    "set": "use sorted(...)",
    "frozenset": "use sorted(...)",
    "complex": "use [z.real, z.imag]",
    "generator": "use list(...)",
    "function": "return its result instead",
    "method": "return its result instead",
    "DataFrame": "use frame.to_dict('records'), or save it as an artifact and return where it is",
    "Series": "use series.to_list()",
    "ndarray": "use array.tolist()",
    "ZoneInfo": "use its name",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactRef:
    """A large output kept outside the context, and what it takes to know it again."""

    #: Where it is: any URI that the artifact store understands.
    uri: str
    #: SHA-256 of its bytes, hexadecimal.
    digest: str
    #: Its length in bytes.
    size: int


def freeze(value: object, path: str = "value") -> Any:
    """Return ``value`` as read-only plain data, normalised; what is frozen already is returned as it is.

    Args:
        value: Any plain data.
        path: How to name ``value`` in an error, such as ``output``.

    Returns:
        ``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``, ``date``, ``datetime``, ``time``, ``timedelta``,
        ``Decimal``, ``UUID``, :class:`ArtifactRef`, or a read-only dict or list of such.

    Raises:
        PlainDataError: Something in it is no plain data; the message has the path to it and the remedy.

    Example:
        >>> freeze({"when": (1, 2)})
        {'when': [1, 2]}
    """
    return _freeze(value, path, 0)


def _freeze(value: Any, path: _Path, depth: int) -> Any:
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    exact = _EXACT.get(kind)
    if exact is not None:
        return exact(value, path)
    if depth > MAX_DEPTH:
        raise PlainDataError(
            f"{_shown(path)[:80]}... is nested more than {MAX_DEPTH} deep, or contains itself; flatten it"
        )
    if kind is dict:
        return _freeze_items(value.items(), path, depth)
    if kind is list or kind is tuple:
        return FrozenList([_freeze(item, (path, i), depth + 1) for i, item in enumerate(value)])
    return _freeze_other(value, path, depth)


def _freeze_items(items: Any, path: _Path, depth: int) -> FrozenDict:
    return FrozenDict({_key(k, path): _freeze(item, (path, k), depth + 1) for k, item in items})


def _freeze_other(value: Any, path: _Path, depth: int) -> Any:
    """Freeze what needs a look at its bases: enums, records, and subclasses of the plain types."""
    if isinstance(value, Enum):
        return _freeze(value.value, path, depth + 1)
    if is_dataclass(value) and not isinstance(value, type):
        return _freeze_items(((f.name, getattr(value, f.name)) for f in fields(value)), path, depth)
    if not isinstance(value, type) and hasattr(value, "__struct_fields__"):  # a msgspec struct
        return _freeze_items(((name, getattr(value, name)) for name in value.__struct_fields__), path, depth)
    if isinstance(value, Mapping):
        return _freeze_items(value.items(), path, depth)
    if isinstance(value, (list, tuple)):
        return _freeze(list(value), path, depth)
    for base, convert in _BASES:
        if isinstance(value, base):
            return convert(value, path)
    return _refuse(value, path)


def _shown(path: _Path) -> str:
    return path if isinstance(path, str) else f"{_shown(path[0])}[{path[1]!r}]"


def _refuse(value: object, path: _Path) -> NoReturn:
    kind = type(value)
    remedy = _REMEDIES.get(kind.__name__)
    if remedy is None and hasattr(value, "read") and hasattr(value, "close"):
        remedy = "return its path or what it holds, not the open file"
    if remedy is None and hasattr(value, "__fspath__"):
        remedy = "use str(...)"
    if remedy is None and hasattr(value, "item") and hasattr(value, "dtype"):
        remedy = "use .item()"
    if remedy is None and hasattr(value, "model_dump"):
        remedy = "use .model_dump()"
    remedy = remedy or "turn it into text, numbers, dates, lists and dicts"
    raise PlainDataError(
        f"{_shown(path)} is a {kind.__module__}.{kind.__qualname__}, which cannot be passed on; {remedy}"
    )


def _key(key: object, path: _Path) -> str:
    if type(key) is str and key.isprintable():
        return key
    if isinstance(key, Enum):
        key = key.value
    if not isinstance(key, str):
        raise PlainDataError(f"{_shown(path)} has the key {key!r}, a {type(key).__name__}; keys are text: use str(...)")
    if "\0" in key or not _encodable(key):
        raise PlainDataError(
            f"{_shown(path)} has the key {key!r} with a NUL or a lone surrogate; keys are ordinary text"
        )
    return key if type(key) is str else str.__str__(key)


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _float(value: float, path: _Path) -> float:
    value = float(value)
    return NAN if value != value else value


def _decimal(value: Decimal, path: _Path) -> Decimal:
    if value.is_snan():
        raise PlainDataError(
            f"{_shown(path)} is a signalling NaN, which cannot be compared; use Decimal('NaN') or None"
        )
    if value.is_nan():
        return DECIMAL_NAN
    return value if type(value) is Decimal else Decimal(value)


def _datetime(value: datetime, path: _Path) -> datetime:
    if value != value:  # pandas.NaT is an instance of datetime
        raise PlainDataError(f"{_shown(path)} is not a time (NaT); use None")
    offset = value.utcoffset()
    if offset is None:
        raise PlainDataError(
            f"{_shown(path)} is {value!r}, a datetime without a time zone; add tzinfo=timezone.utc or its own"
        )
    if getattr(value, "nanosecond", 0):
        raise PlainDataError(f"{_shown(path)} has nanoseconds, which a datetime cannot keep; use an int or round it")
    zone = UTC if not offset else timezone(offset)
    if type(value) is datetime and value.tzinfo == zone and isinstance(value.tzinfo, timezone) and not value.fold:
        return value
    return datetime.combine(value.date(), value.time(), zone).replace(fold=0)


def _time(value: time, path: _Path) -> time:
    offset = value.utcoffset()
    if value.tzinfo is not None and offset is None:
        raise PlainDataError(f"{_shown(path)} is a time in a zone whose offset depends on the day; use a datetime")
    zone = None if offset is None else timezone(offset)
    return time(value.hour, value.minute, value.second, value.microsecond, zone)


_AS_THEY_ARE = frozenset(
    {type(None), bool, int, str, bytes, date, timedelta, UUID, FrozenDict, FrozenList, ArtifactRef}
)
_EXACT: dict[type, Callable[[Any, _Path], Any]] = {float: _float, Decimal: _decimal, datetime: _datetime, time: _time}
# In this order: datetime is a date.
_BASES: tuple[tuple[type | tuple[type, ...], Callable[[Any, _Path], Any]], ...] = (
    (str, lambda value, path: str.__str__(value)),
    (int, lambda value, path: int(value)),
    (float, _float),
    ((bytes, bytearray, memoryview), lambda value, path: bytes(value)),
    (datetime, _datetime),
    (date, lambda value, path: date(value.year, value.month, value.day)),
    (time, _time),
    (timedelta, lambda value, path: timedelta(value.days, value.seconds, value.microseconds)),
    (Decimal, _decimal),
    (UUID, lambda value, path: UUID(int=value.int)),
)


# --- the JSON form -----------------------------------------------------------------------------------------------


def to_json(value: Any) -> Any:
    """Return frozen data as JSON-ready built-ins: ``json.dumps`` never fails on the result.

    Example:
        >>> to_json(freeze({"price": Decimal("1.10"), "$": 1}))
        {'price': {'$decimal': '1.10'}, '$$': 1}
    """
    kind = type(value)
    if kind is str:
        return value if value.isprintable() or ("\0" not in value and _encodable(value)) else {"$str": _escaped(value)}
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


def _from_json(data: Any, path: _Path) -> Any:
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
        f"{_shown(path)} is a {kind.__name__}, which no JSON holds; was the payload read with json.loads?"
    )


def _untagged(data: dict[str, Any], path: _Path) -> Any:
    """Rebuild a dict with keys that start with ``$``: a tagged value, or a user's own keys, escaped."""
    if len(data) == 1:
        ((tag, text),) = data.items()
        if tag[:1] == "$" and tag[:2] != "$$":
            return _untag(tag, text, path)
    return FrozenDict({_unescape(key, path): _from_json(item, (path, key)) for key, item in data.items()})


def _unescape(key: str, path: _Path) -> str:
    if key[:1] != "$":
        return key
    if key[:2] != "$$":
        raise PayloadError(
            f"{_shown(path)} has the unescaped key {key!r}; the payload is damaged or written by another program"
        )
    return key[1:]


def _untag(tag: str, text: Any, path: _Path) -> Any:
    decode = _DECODERS.get(tag)
    if decode is None:
        raise PayloadError(
            f"{_shown(path)} has the unknown tag {tag!r}; it was written by a newer flowctx or another program"
        )
    try:
        return decode(text)
    except (ValueError, TypeError, KeyError, ArithmeticError) as exc:
        raise PayloadError(f"{_shown(path)} has a damaged {tag}: {text!r} ({exc})") from exc


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
    return _datetime(datetime.fromisoformat(text), "it")


def _read_float(text: str) -> float:
    return {"nan": NAN, "inf": math.inf, "-inf": -math.inf}[text]


def _read_decimal(text: str) -> Decimal:
    return _decimal(Decimal(text), "it")


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


def artifacts_in(value: Any) -> Iterator[ArtifactRef]:
    """Yield every artifact reference in plain data."""
    if isinstance(value, ArtifactRef):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from artifacts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from artifacts_in(item)
