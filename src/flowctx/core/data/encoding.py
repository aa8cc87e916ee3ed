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

from collections.abc import Callable
from functools import cache
from typing import Any

from flowctx.core.data.conversions import ValuePath, shown
from flowctx.core.data.handles import may_hold_handles, replaced
from flowctx.core.data.lazy import LazyDict, UnreadDict
from flowctx.core.data.no_outputs import NoOutputs
from flowctx.core.data.plain import FrozenDict, FrozenList, JsonDict, JsonList, is_reserved, may_hold_reserved
from flowctx.core.data.tags import MSGSPEC_TAG_WRITERS, TAG_ERRORS, TAG_READERS, TAG_WRITERS
from flowctx.core.errors import PayloadError
from flowctx.core.hashing import sha256
from flowctx.core.printable import brief
from flowctx.core.suggestions import a_kind


def to_json(value: Any) -> Any:
    """Return frozen data as JSON-ready built-ins: ``json.dumps`` never fails on the result.

    Example:
        >>> from decimal import Decimal
        >>> from flowctx.core.data.plain import freeze
        >>> to_json(freeze({"price": Decimal("1.10"), "$": 1, "__id__": 2}))
        {'price': {'$decimal': '1.10'}, '$$': 1, '$__id__': 2}
    """
    return _WRITERS[type(value)](value)


def to_wire(value: Any) -> Any:
    """Return frozen data in its JSON form for msgspec to encode: what it writes as we do is left as it is.

    Example:
        >>> from datetime import date
        >>> from flowctx.core.data.plain import freeze
        >>> data = freeze({"n": {"a": 1}, "day": date(2026, 1, 10)})
        >>> to_wire(data), to_wire(data)["n"] is data["n"]
        ({'n': {'a': 1}, 'day': {'$date': datetime.date(2026, 1, 10)}}, True)
    """
    return _WIRE_WRITERS[type(value)](value)


def _dict_writer(writers: dict[type, Callable[[Any], Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    unchanged = {kind for kind, writer in writers.items() if writer is _as_it_is}

    def write(value: dict[str, Any]) -> dict[str, Any]:
        data = dict(value)
        for key, item in value.items():
            kind = type(item)
            if kind is str:  # most values are short text and small numbers: no call for these
                if item.isascii() and "\0" not in item:
                    continue
            elif kind is int:
                if -(2**63) <= item < 2**63:
                    continue
            elif kind in unchanged or (kind is float and item - item == 0.0):
                continue
            data[key] = writers[kind](item)
        return {escape_key(key): item for key, item in data.items()} if may_hold_reserved(data) else data

    return write


def _write_tagged(value: FrozenDict) -> dict[str, Any]:
    """Write a read-only dict of which it is known which values need a look, or each of them."""
    tagged = getattr(value, "_tagged", None)
    if tagged is None:
        return _write_dict(value)
    data = dict(value)
    for name in tagged:
        item = data[name]
        data[name] = _WIRE_WRITERS[type(item)](item)
    return data


def _list_writer(writers: dict[type, Callable[[Any], Any]]) -> Callable[[list[Any]], list[Any]]:
    return lambda value: [writers[type(item)](item) for item in value]


def _copy_dict(value: JsonDict) -> dict[str, Any]:
    data = dict(value)
    for key, item in value.items():
        if type(item) in _COPIES:
            data[key] = _COPIES[type(item)](item)
    return data


def _copy_list(value: JsonList) -> list[Any]:
    return [_COPIES[type(item)](item) if type(item) in _COPIES else item for item in value]


def _as_it_is(value: Any) -> Any:
    return value


def escape_key(key: str) -> str:
    """Return a user's own key as it is written: ``$`` begins our tags, and ``__`` Airflow's reserved keys."""
    return f"${key}" if is_reserved(key) else key


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
        if tag in TAG_READERS:
            return _untag(tag, text, path)
    if "$" in "".join(data):
        data = _own_keys(data, path)
    read = FrozenDict(data)
    for key, item in data.items():
        if type(item) not in BUILT_INS:
            dict.__setitem__(read, key, _READERS.get(type(item), _read_other)(item, (path, key)))
    return read


def _read_list(data: list[Any], path: ValuePath) -> FrozenList:
    read = FrozenList(data)
    if not BUILT_INS.issuperset(map(type, data)):
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
        return TAG_READERS[tag](text)
    except TAG_ERRORS as exc:
        raise PayloadError(f"{shown(path)} has a damaged {tag}: {brief(repr(text))} ({brief(str(exc))})") from exc


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


#: A function for each exact type that frozen data is made of.
_WRITERS: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys((type(None), bool), _as_it_is),
    **TAG_WRITERS,
    JsonDict: _copy_dict,
    JsonList: _copy_list,
}
_COPIES: dict[type, Callable[[Any], Any]] = {JsonDict: _copy_dict, JsonList: _copy_list}
_WIRE_WRITERS: dict[type, Callable[[Any], Any]] = {
    **_WRITERS,
    **MSGSPEC_TAG_WRITERS,
    JsonDict: _as_it_is,
    JsonList: _as_it_is,
}
_write_dict = _dict_writer(_WIRE_WRITERS)
for _writers in (_WRITERS, _WIRE_WRITERS):
    _writers.update(dict.fromkeys((dict, FrozenDict, LazyDict, UnreadDict, NoOutputs), _dict_writer(_writers)))
    _writers.update(dict.fromkeys((list, FrozenList), _list_writer(_writers)))
_WIRE_WRITERS[FrozenDict] = _write_tagged
#: Types of values that JSON has, and that hold no others.
BUILT_INS: frozenset[type] = frozenset({str, int, bool, float, type(None)})
_READERS: dict[type, Callable[[Any, ValuePath], Any]] = {
    **dict.fromkeys(BUILT_INS, _read_built_in),
    dict: _read_dict,
    list: _read_list,
}
#: How a key begins that :func:`escape_key` changed; no tag does.
_ESCAPED = ("$$", "$__")


def digest(value: Any) -> str:
    """Return the SHA-256 (hexadecimal) of frozen data in its JSON form: equal data, equal digest, on every engine.

    The order of keys does not count, and of a table or file only its content does.
    """
    return sha256(_codec()[1](to_wire(by_content(value))))


def by_content(value: Any) -> Any:
    """Return frozen data with the digest of each table and file in its place: what it holds, not where it is."""
    if not may_hold_handles(value):
        return value
    return replaced(value, lambda handle: FrozenDict({f"${type(handle).__name__}": handle.digest}))


def encode(value: Any) -> bytes:
    """Return frozen data as compact UTF-8 JSON, with its keys in their order."""
    return _codec()[0](to_wire(value))


def decode(data: bytes | str, path: str = "value") -> Any:
    """Rebuild frozen data from :func:`encode`'s bytes.

    Args:
        data: The bytes.
        path: How to name the data in an error.

    Raises:
        PayloadError: The bytes are no JSON, or hold a damaged tag.
    """
    try:
        loaded = _codec()[2](data)
    except (ValueError, RecursionError) as exc:  # msgspec's own is a ValueError
        raise PayloadError(f"the payload is not JSON: {exc}") from exc
    return from_json(loaded, path)


@cache
def _codec() -> tuple[Callable[[Any], bytes], Callable[[Any], bytes], Callable[[bytes | str], Any]]:
    """Return what encodes JSON, what does so with sorted keys, and what decodes it; msgspec is loaded for that."""
    from msgspec.json import Decoder, Encoder

    return Encoder().encode, Encoder(order="sorted").encode, Decoder().decode
