"""Read-only plain data: what may flow through a context.

Values are normalised once, on entry (:func:`freeze`): tuples become lists, enum members their values,
dataclasses and msgspec structs dicts, aware datetimes keep their offset. What is stored is what comes back.
Their JSON form is in :mod:`flowctx.core.data.encoding`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NoReturn
from uuid import UUID

from flowctx.core.data.conversions import (
    ValuePath,
    plain_datetime,
    plain_decimal,
    plain_float,
    plain_memory,
    plain_time,
    plain_timedelta,
    shown,
)
from flowctx.core.data.files import File
from flowctx.core.data.numbers import plain_numpy
from flowctx.core.data.tables import Table, speaks_arrow, take_table
from flowctx.core.errors import MissingKey, PlainDataError, ReadOnlyError
from flowctx.core.suggestions import a_kind, did_you_mean, with_article

#: Nesting deeper than this is taken for a structure that contains itself.
MAX_DEPTH = 100

_REMEDIES = {
    "set": "use sorted(...)",
    "frozenset": "use sorted(...)",
    "complex": "use [z.real, z.imag]",
    "generator": "use list(...)",
    "function": "return its result instead",
    "method": "return its result instead",
    "Series": "use series.to_list()",
    "ndarray": "return a table of its columns, or array.tolist()",
    "ZoneInfo": "use its name",
    "Fraction": "use [value.numerator, value.denominator], or float(value)",
    "NAType": "use None",
    "MaskedConstant": "use None",
    "MaskedArray": "use array.tolist(), which has None where it is masked",
    "Period": "use str(...)",
    "Interval": "use [value.left, value.right]",
    **dict.fromkeys(("Categorical", "Index", "DatetimeIndex", "recarray"), "use value.tolist()"),
    **dict.fromkeys(("range", "deque", "map", "filter", "zip", "dict_keys", "dict_values"), "use list(...)"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactRef:
    """A large output kept outside the context, and what it takes to know it again."""

    #: Where it is, relative to the artifact store; flowctx 0.1 wrote absolute URIs.
    uri: str
    #: SHA-256 of its bytes, hexadecimal.
    digest: str
    #: Its length in bytes.
    size: int
    #: Where the tables, files and outputs are that it refers to in turn.
    holds: tuple[str, ...] = ()


def thaw(value: Any) -> Any:
    """Return a deep copy of plain data in ordinary dicts and lists, to be changed at will.

    Example:
        >>> rows = thaw(FrozenDict(rows=FrozenList([1])))
        >>> rows["rows"].append(2); rows
        {'rows': [1, 2]}
    """
    if isinstance(value, dict):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thaw(item) for item in value]
    return value


def _of_kind(kind: type) -> str:
    """Return what a value of a type is, with its article; where the type is, unless Python itself has it."""
    return with_article(
        kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    )


def _refuse_change(self: object, *args: object, **kwargs: object) -> NoReturn:
    kind = "dict" if isinstance(self, dict) else "list"
    raise ReadOnlyError(
        f"this {kind} belongs to a context and is read-only; copy it first: "
        f"{kind}(value), or flowctx.thaw(value) for all that is in it"
    )


class FrozenDict(dict[str, Any]):
    """A read-only dict: equal to a plain one, shared between contexts, refusing every change."""

    __slots__ = ("_tagged", "_wire")
    #: Names of the values that are not their own JSON form, where each was looked at and no key needs an escape.
    _tagged: tuple[str, ...]
    #: Its JSON form, once it was written with a context: an output is written with every context after it.
    _wire: dict[str, Any]

    __setitem__ = __delitem__ = __ior__ = _refuse_change
    clear = pop = popitem = setdefault = update = _refuse_change

    def __missing__(self, key: object) -> Any:
        hint = did_you_mean(str(key), self, f"there are {', '.join(self)}" if self else "it is empty")
        raise MissingKey(f"no {key!r} here; {hint}")

    def plus(self, key: str, value: Any) -> FrozenDict:
        """Return a new read-only dict with one more (or one other) item; ``value`` must be frozen."""
        kind = JsonDict if type(self) is JsonDict and is_json(value) and not is_reserved(key) else FrozenDict
        new = kind(self)
        dict.__setitem__(new, key, value)
        return new

    def merged(self, other: FrozenDict) -> FrozenDict:
        """Return a new read-only dict with the items of another on top."""
        kind = JsonDict if type(self) is JsonDict is type(other) else FrozenDict
        new = kind(self)
        dict.update(new, other)
        return new

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return thaw(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (thaw(self),)


class JsonDict(FrozenDict):
    """A read-only dict that is its own JSON form: nothing in it needs a tag, and none of its keys an escape.

    Only what has looked at every value makes one; :func:`is_json` asks for exactly this type, and not for those
    derived from it.
    """

    __slots__ = ()


class FrozenList(list[Any]):
    """A read-only list: equal to a plain one, shared between contexts, refusing every change."""

    __slots__ = ()

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse_change
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse_change

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return thaw(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (thaw(self),)


class JsonList(FrozenList):
    """A read-only list that is its own JSON form, as :class:`JsonDict` is."""

    __slots__ = ()


#: How keys begin that are written with a ``$`` in front: ``$`` begins our tags, and ``__`` Airflow's own keys.
RESERVED = ("$", "__")
#: A read-only dict without items.
EMPTY = JsonDict()

#: Types of which every value is its own JSON form.
JSON_TYPES: frozenset[type] = frozenset({type(None), bool, JsonDict, JsonList})


def is_json(value: Any) -> bool:
    """Whether a frozen value is its own JSON form: it needs no tag, and nothing in it does.

    Example:
        >>> is_json(freeze({"n": [1, 1.5, "x", None]})), is_json(freeze({"n": [2**63]})), is_json(float("nan"))
        (True, False, False)
    """
    kind = type(value)
    if kind is str:
        return "\0" not in value and encodable(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    if kind is float:
        return bool(value - value == 0.0)
    return kind in JSON_TYPES


def may_hold_reserved(keys: Iterable[str]) -> bool:
    """Whether keys may have a reserved one among them, by one look at all: hardly any dict has one."""
    names = "".join(keys)
    return "$" in names or "__" in names


def is_reserved(key: str) -> bool:
    """Whether a key is written with a ``$`` in front."""
    return key.startswith(RESERVED)


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
    return freeze_dict(value, path) if type(value) is dict else _freeze(value, path, 0)


def _freeze(value: Any, path: ValuePath, depth: int) -> Any:
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    exact = _EXACT.get(kind)
    if exact is not None:
        return exact(value, path)
    if depth > MAX_DEPTH:
        raise PlainDataError(
            f"{shown(path)[:80]}... is nested more than {MAX_DEPTH} deep, or contains itself; flatten it"
        )
    if kind is dict:
        return freeze_dict(value, path, depth)
    if kind is list or kind is tuple:
        return _freeze_list(value, path, depth)
    return _freeze_other(value, path, depth)


def freeze_dict(value: dict[Any, Any], path: ValuePath, depth: int = 0) -> FrozenDict:
    """Return a dict as read-only plain data, as :func:`freeze` does."""
    frozen = JsonDict(value)
    tagged = []
    for name, item in value.items():
        if (type(name) is not str or not name.isprintable()) and _key(name, path) is not name:
            return _freeze_items(value.items(), path, depth)
        kind = type(item)
        if kind is str:  # most values are short text and small numbers: no call for these
            if item.isascii() and "\0" not in item:
                continue
        elif kind is int:
            if -(2**63) <= item < 2**63:
                continue
        elif (kind is float and item - item == 0.0) or kind in JSON_TYPES:
            continue
        elif kind not in _AS_THEY_ARE:
            item = _freeze(item, (path, name), depth + 1)
            dict.__setitem__(frozen, name, item)
            kind = type(item)
        if kind in _NEVER_JSON or not (kind in JSON_TYPES or is_json(item)):
            tagged.append(name)
    if may_hold_reserved(frozen) and any(map(is_reserved, frozen)):
        return FrozenDict(frozen)
    if not tagged:
        return frozen
    other = FrozenDict(frozen)
    other._tagged = tuple(tagged)
    return other


def _freeze_items(items: Collection[tuple[Any, Any]], path: ValuePath, depth: int) -> FrozenDict:
    named = {_key(name, path): item for name, item in items}
    if len(named) != len(items):
        raise PlainDataError(
            f"{shown(path)} has two keys that become the same text, as an enum member and its value do; rename one"
        )
    return freeze_dict(named, path, depth)


def _freeze_list(items: Sequence[Any], path: ValuePath, depth: int) -> FrozenList:
    kinds = set(map(type, items))
    if kinds == {float} and all(map(math.isfinite, items)):
        return JsonList(items)
    frozen = items
    if not kinds <= _AS_THEY_ARE:
        frozen = [
            item if type(item) in _AS_THEY_ARE else _freeze(item, (path, i), depth + 1) for i, item in enumerate(items)
        ]
        kinds = set(map(type, frozen))
    return JsonList(frozen) if kinds <= _MAY_BE_JSON and all(map(is_json, frozen)) else FrozenList(frozen)


def _freeze_other(value: Any, path: ValuePath, depth: int) -> Any:
    """Freeze what needs a look at its bases: enums, records, and subclasses of the plain types."""
    if isinstance(value, Enum):
        return _freeze(value.value, path, depth + 1)
    if is_dataclass(value) and not isinstance(value, type):
        return _freeze_items([(f.name, getattr(value, f.name)) for f in fields(value)], path, depth)
    if not isinstance(value, type) and hasattr(value, "__struct_fields__"):  # a msgspec struct
        items = [(name, getattr(value, name)) for name in value.__struct_fields__]
        if (field := value.__struct_config__.tag_field) is not None:
            items.insert(0, (field, value.__struct_config__.tag))
        return _freeze_items(items, path, depth)
    if isinstance(value, Mapping):
        return _freeze_items(value.items(), path, depth)
    if isinstance(value, (list, tuple)):
        return _freeze(list(value), path, depth)
    for base, convert in _BASES:
        if isinstance(value, base):
            return convert(value, path)
    if speaks_arrow(value):
        table = take_table(value, shown(path))
        if table is not None:
            return table
    if hasattr(value, "dtype") and type(value).__module__ == "numpy":
        return _freeze(plain_numpy(value, shown(path)), path, depth + 1)
    return _refuse(value, path)


def _refuse(value: object, path: ValuePath) -> NoReturn:
    kind = type(value)
    remedy = _REMEDIES.get(kind.__name__)
    if remedy is None and hasattr(value, "read") and hasattr(value, "close"):
        remedy = "return its path or what it holds, not the open file"
    if remedy is None and hasattr(value, "__fspath__"):
        remedy = "use str(...)"
    if remedy is None and hasattr(value, "dtype"):
        remedy = "use .tolist()" if hasattr(value, "tolist") else "use list(...)"
    if remedy is None and hasattr(value, "model_dump"):
        remedy = "use .model_dump()"
    remedy = remedy or "turn it into text, numbers, dates, lists and dicts"
    raise PlainDataError(f"{shown(path)} is {_of_kind(kind)}, which cannot be passed on; {remedy}")


def _key(key: object, path: ValuePath) -> str:
    if isinstance(key, Enum):
        key = key.value
    if not isinstance(key, str):
        raise PlainDataError(f"{shown(path)} has the key {key!r}, {a_kind(key)}; keys are text: use str(...)")
    if "\0" in key or not encodable(key):
        raise PlainDataError(
            f"{shown(path)} has the key {key!r} with a NUL or a lone surrogate; keys are ordinary text"
        )
    return key if type(key) is str else str.__str__(key)


def encodable(text: str) -> bool:
    """Whether a text is Unicode throughout: lone surrogates are not."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_MAY_BE_JSON = JSON_TYPES | {str, int, float}
_AS_THEY_ARE = JSON_TYPES | {int, str, bytes, date, timedelta, UUID, FrozenDict, FrozenList, ArtifactRef, Table, File}
_NEVER_JSON = (_AS_THEY_ARE - _MAY_BE_JSON) | {Decimal, datetime, time}
_EXACT: dict[type, Callable[[Any, ValuePath], Any]] = {
    float: plain_float,
    Decimal: plain_decimal,
    datetime: plain_datetime,
    time: plain_time,
}
# In this order: datetime is a date.
_BASES: tuple[tuple[type | tuple[type, ...], Callable[[Any, ValuePath], Any]], ...] = (
    (str, lambda value, path: str.__str__(value)),
    (int, lambda value, path: int.__int__(value)),
    (float, lambda value, path: plain_float(float.__float__(value), path)),
    ((bytes, bytearray), lambda value, path: bytes(value)),
    (memoryview, plain_memory),
    (datetime, plain_datetime),
    (date, lambda value, path: date(value.year, value.month, value.day)),
    (time, plain_time),
    (timedelta, plain_timedelta),
    (Decimal, plain_decimal),
    (UUID, lambda value, path: UUID(int=value.int)),
)
