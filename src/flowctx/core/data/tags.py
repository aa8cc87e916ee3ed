"""The tags of the JSON form: what writes each kind of value that JSON has no word for, and what reads it again."""

from __future__ import annotations

import math
import re
from binascii import a2b_base64, b2a_base64  # base64 would import struct too
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from flowctx.core.data.conversions import NAN, plain_datetime, plain_decimal
from flowctx.core.data.files import File
from flowctx.core.data.plain import ArtifactRef, encodable
from flowctx.core.data.references import FileReference, TableReference, check_path
from flowctx.core.data.tables import Table

#: So many sound tags are kept, none of them longer than this.
_MOST_KEPT, _LONGEST_KEPT = 1000, 100


def _write_str(value: str) -> Any:
    return value if "\0" not in value and encodable(value) else {"$str": _escaped(value)}


def _write_int(value: int) -> Any:
    return value if -(2**63) <= value < 2**63 else {"$int": hex(value)}


def _write_float(value: float) -> Any:
    return value if math.isfinite(value) else {"$float": str(value)}


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


#: A function for each exact type that is written with a tag, always or where JSON would lose something.
TAG_WRITERS: dict[type, Callable[[Any], Any]] = {
    str: _write_str,
    int: _write_int,
    float: _write_float,
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
#: The same where msgspec encodes the result and writes the value itself as we do: these are most tags.
MSGSPEC_TAG_WRITERS: dict[type, Callable[[Any], Any]] = {
    date: lambda value: {"$date": value},
    Decimal: lambda value: {"$decimal": value},
    UUID: lambda value: {"$uuid": value},
    bytes: lambda value: {"$bytes": value},
}
#: What reads the value of each tag; it raises one of :data:`TAG_ERRORS` if the value is damaged.
TAG_READERS: dict[str, Callable[[Any], Any]] = {
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
TAG_ERRORS = (AttributeError, ValueError, TypeError, KeyError, ArithmeticError)


def tags_are_sound(data: bytes) -> bool:
    """Whether nothing in the JSON form of some data keeps it from being read: no tag is unknown, damaged or hidden.

    It is also ``False`` where that is not easily seen, such as of escapes that may hide a ``$``, of keys of the user's
    own that begin with one, and of tables and files.

    Args:
        data: JSON; whether it is well-formed is not looked at.

    Example:
        >>> tags_are_sound(b'{"day":{"$date":"2026-01-10"}}'), tags_are_sound(b'{"day":{"$date":"2026-02-30"}}')
        (True, False)
    """
    if data.find(b"\\") >= 0 and b"\\u" in data:  # of one byte, `find` is faster than `in`, and than a pattern
        return False
    first = data.find(b"$")
    if first < 0 or _NOT_PLAIN.search(data, first) is None:
        return True
    dollars = data.count(b"$")
    # In JSON, a quote and a dollar stand beside each other where a text begins, or after a backslash within one.
    found = _TAGS.findall(data)
    if len(found) != dollars and len(found) != data.count(b'"$'):
        return False
    return _SOUND.issuperset(found) or all(map(_is_sound, found))


#: A dollar that does not begin the tag of a date up to the 28th or of a decimal in digits: most tags are of those.
_NOT_PLAIN = re.compile(
    rb'\$(?!(?<=\{"\$)(?:date":"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"\}'
    rb'|decimal":"-?[0-9]{1,30}(?:\.[0-9]{1,30})?"\}))'
)
#: What begins as an object with a tag, up to the next closing brace.
_TAGS = re.compile(rb'\{"\$([^}]*)\}')
#: Such an object with one key, and a text without escapes as its value.
_TAG = re.compile(rb'([a-z]+)":"([^"\\]*)"')
#: Tags with their values that were found sound: many outputs have the same date.
_SOUND: set[bytes] = set()


def _is_sound(tag: bytes) -> bool:
    parts = _TAG.fullmatch(tag)
    if parts is None:
        return False
    name, text = parts.groups()
    try:
        TAG_READERS[f"${name.decode()}"](text.decode())
    except TAG_ERRORS:
        return False
    if len(tag) <= _LONGEST_KEPT:
        if len(_SOUND) >= _MOST_KEPT:
            _SOUND.clear()
        _SOUND.add(tag)
    return True
