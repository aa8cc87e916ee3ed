"""PartitionKey: one value per dimension, with one canonical text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from typing import Any

from flowctx.core.errors import MissingDimension, PartitionError
from flowctx.core.printable import brief
from flowctx.core.suggestions import a_kind

#: Longest canonical text. Airflow stores at most 250 characters of a partition key.
MAX_TEXT = 200

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_.:+-]*\Z")
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def escape_value(value: str) -> str:
    """Percent-escape (RFC 3986, UTF-8) all but ``[A-Za-z0-9_.:+-]``."""
    if _PLAIN.match(value):
        return value
    from urllib.parse import quote

    return quote(value, safe=":+").replace("~", "%7E")


def unescape_value(text: str) -> str:
    """Invert :func:`escape_value`.

    Raises:
        PartitionError: The text has a ``%`` that starts no escape, or escapes that are not UTF-8.
    """
    if "%" not in text:
        return text
    if _BAD_PERCENT.search(text):
        raise PartitionError(f"{text!r} has a '%' that is not followed by two hex digits; write '%25' for '%'")
    from urllib.parse import unquote

    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise PartitionError(f"the percent-escapes in {text!r} are not UTF-8") from None


@lru_cache(maxsize=256)  # a workflow has a handful of names and checks them again in every context
def check_dimension_name(name: object) -> str:
    """Return ``name`` if it can name a dimension.

    Raises:
        PartitionError: It is not an ASCII identifier, or is an attribute of :class:`PartitionKey`.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise PartitionError(
            f"{_brief(name)} cannot name a dimension; use letters, digits and '_', starting with a letter"
        )
    if hasattr(PartitionKey, name):
        raise PartitionError(f"{name!r} cannot name a dimension: it is an attribute of PartitionKey; use another name")
    return str.__str__(name)


def dimension_value(name: str, value: object) -> str:
    """Normalise one value of a dimension to text; dates become ISO 8601.

    Raises:
        PartitionError: The value is empty, has control characters, or is of a type with no one text.
    """
    if type(value) is str:
        return _check_text(name, value)
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise PartitionError(f"{name}={value!r} has no time zone; pass an aware datetime or a date")
        text = value.isoformat()
    elif isinstance(value, date):
        text = value.isoformat()
    elif isinstance(value, str):
        text = str.__str__(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        text = str(int(value)) if abs(value) < 10**MAX_TEXT else ""
        if not text:
            raise PartitionError(f"the value of {name} has more than {MAX_TEXT} digits")
    else:
        raise PartitionError(
            f"{name}={_brief(value)} is {a_kind(value)}; a partition value is a string, a date or an int"
        )
    return _check_text(name, text)


def _check_text(name: str, text: str) -> str:
    if not text:
        raise PartitionError(f"the value of {name} is empty; give it a value or leave the dimension out")
    if len(text) > MAX_TEXT:
        raise PartitionError(f"{name}={_brief(text)} has {len(text)} characters; a key has at most {MAX_TEXT}")
    # Printable text (the usual case, one C call) has no control characters, surrogates or line separators.
    if not text.isprintable() and _has_control(text):
        raise PartitionError(f"{name}={_brief(text)} has control characters; remove them")
    return text


def _has_control(text: str) -> bool:
    import unicodedata

    return any(unicodedata.category(char) in _CONTROL for char in text)


@lru_cache(maxsize=4096)  # keys that are read one after the other have most of their values in common
def _read_part(text: str) -> tuple[str, str, str]:
    """Return the name and the value in ``name=value``, and the canonical text of both."""
    name, _, value = text.partition("=")
    name = check_dimension_name(name.strip())
    value = dimension_value(name, unescape_value(value.strip()))
    return name, value, f"{name}={escape_value(value)}"


def _check_length(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise PartitionError(f"the partition key {_brief(text)} has {len(text)} characters, at most {MAX_TEXT} fit")
    return text


def _brief(value: object) -> str:
    return brief(repr(value), 60)


class PartitionKey(Mapping[str, str]):
    """One value per dimension, immutable, with attribute access.

    Args:
        **dims: Dimension names and values. Values are kept as strings: a ``date`` becomes ISO 8601
            (``2026-01-09``), an aware ``datetime`` ISO 8601 with its offset, an ``int`` decimal digits.

    Equality and hash ignore the order of the dimensions. ``str(key)`` is canonical (sorted by name,
    percent-escaped) and :meth:`parse` inverts it; :attr:`path` is the Hive form of the same text.

    Raises:
        PartitionError: A name or value that cannot be, or more than 200 characters in all.

    Example:
        >>> from datetime import date
        >>> key = PartitionKey(tier="OTC", date=date(2026, 1, 9))
        >>> str(key), key.tier, key.path
        ('date=2026-01-09|tier=OTC', 'OTC', 'date=2026-01-09/tier=OTC')
        >>> PartitionKey.parse("tier=OTC|date=2026-01-09") == key
        True
    """

    __slots__ = ("_dims", "_scheme", "_text")
    _dims: dict[str, str]
    _text: str
    #: The scheme that made or checked it last: whoever asks for one thing of a key asks for more.
    _scheme: object | None

    def __init__(self, /, **dims: object) -> None:
        if not dims:
            raise PartitionError("a partition key needs at least one dimension, such as date='2026-01-09'")
        values = {check_dimension_name(name): dimension_value(name, dims[name]) for name in sorted(dims)}
        text = _check_length("|".join([f"{name}={escape_value(value)}" for name, value in values.items()]))
        _set_dims(self, values)
        _set_text(self, text)
        _set_scheme(self, None)

    @classmethod
    def _trusted(cls, dims: dict[str, str], text: str, scheme: object) -> PartitionKey:
        """Make a key of a scheme's values, sorted by name, and its canonical text; a scheme makes a million of them."""
        key = object.__new__(cls)
        _set_dims(key, dims)
        _set_text(key, text)
        _set_scheme(key, scheme)
        return key

    def _checked_by(self, scheme: object) -> PartitionKey:
        """Return the key, which remembers the scheme."""
        _set_scheme(self, scheme)
        return self

    @classmethod
    def parse(cls, text: str) -> PartitionKey:
        """Read the canonical text back; the order is free, and ``,`` may stand for ``|``.

        Args:
            text: ``date=2026-01-09|tier=OTC``.

        Raises:
            PartitionError: The text is not of that form, or names a dimension twice.

        Example:
            >>> PartitionKey.parse("date=2012-10-26,symbol=IBM").symbol
            'IBM'
        """
        if not isinstance(text, str):
            raise PartitionError(f"{_brief(text)} is not text; write a key as 'date=2026-01-09|tier=OTC'")
        parts: dict[str, tuple[str, str, str]] = {}
        for part in text.replace(",", "|").split("|"):
            if "=" not in part:
                raise PartitionError(
                    f"{_brief(part)} in {_brief(text)} has no '='; write a key as 'date=2026-01-09|tier=OTC'"
                )
            found = _read_part(part)
            if found[0] in parts:
                raise PartitionError(f"{_brief(text)} names the dimension {found[0]!r} twice; name it once")
            parts[found[0]] = found
        in_order = sorted(parts.values())
        canonical = _check_length("|".join([part for _, _, part in in_order]))
        return cls._trusted({name: value for name, value, _ in in_order}, canonical, None)

    @property
    def path(self) -> str:
        """The Hive form ``date=2026-01-09/tier=OTC``: safe as a relative path whatever the values are."""
        return self._text.replace("|", "/")

    def to_dict(self) -> dict[str, str]:
        """Return a new plain dict of the dimensions, sorted by name."""
        return dict(self._dims)

    def __getitem__(self, name: str) -> str:
        try:
            return self._dims[name]
        except (KeyError, TypeError):
            raise self._missing(name) from None

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):  # copy and pickle probe for private names before the slots are filled
            raise AttributeError(name)
        try:
            return self._dims[name]
        except KeyError:
            raise self._missing(name) from None

    def _missing(self, name: object) -> MissingDimension:
        return MissingDimension(f"this partition has no dimension {name!r}; it has {', '.join(self._dims)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a PartitionKey is immutable; make a new one: PartitionKey(**{{**key, {name!r}: ...}})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a PartitionKey is immutable; make a new one")

    def __iter__(self) -> Iterator[str]:
        return iter(self._dims)

    def __len__(self) -> int:
        return len(self._dims)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._dims})

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PartitionKey):
            return self._text == other._text
        if isinstance(other, Mapping):
            return self._dims == dict(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"PartitionKey({', '.join(f'{name}={value!r}' for name, value in self._dims.items())})"

    def __copy__(self) -> PartitionKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PartitionKey:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._dims,)


_set_dims = PartitionKey.__dict__["_dims"].__set__
_set_text = PartitionKey.__dict__["_text"].__set__
_set_scheme = PartitionKey.__dict__["_scheme"].__set__


def _rebuild(dims: dict[str, str]) -> PartitionKey:
    return PartitionKey(**dims)


def key_of(value: Mapping[str, object] | str) -> PartitionKey:
    """Return the key that a key, a dict of dimensions or text is, of any scheme.

    Raises:
        PartitionError: It is none.
    """
    if isinstance(value, str):
        return PartitionKey.parse(value)
    return value if isinstance(value, PartitionKey) else PartitionKey(**value)
