"""What stands for a table or a file in a payload: where its bytes are in the store, and how to know them again.

A path is relative to the store that is configured, and of one fixed form. No reference can name a scheme, a host,
a parent folder or an absolute path, so that a payload leads nowhere else.
"""

from __future__ import annotations

import os
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, Self, TypeVar

from flowctx.core.errors import PayloadError
from flowctx.core.hashing import sha256
from flowctx.core.printable import well_formed

#: A prefix for what belongs together, the kind, two characters that spread the names, a random name.
_PATH = re.compile(r"[a-z0-9][a-z0-9-]{0,63}/(?:tables|outputs|files)/[0-9a-f]{2}/[0-9a-f]{32}\.[a-z]{1,12}", re.ASCII)
_IN_TEXT = re.compile(rf"(?<![a-z0-9/-]){_PATH.pattern}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
#: No file or table has more bytes or rows: what every database and every JSON reader can hold.
_MOST = 2**53


def check_path(path: object) -> str:
    """Return a path in the store, if it is one.

    Raises:
        PayloadError: It could lead anywhere else.

    Example:
        >>> check_path("../../etc/passwd")
        Traceback (most recent call last):
        flowctx.core.errors.PayloadError: '../../etc/passwd' is no path in an artifact store; the payload is damaged
    """
    if not isinstance(path, str) or _PATH.fullmatch(path) is None:
        raise PayloadError(f"{path!r} is no path in an artifact store; the payload is damaged")
    return path


def paths_in_text(text: str) -> list[str]:
    """Return everything in a payload that is a path in a store.

    Example:
        >>> paths_in_text('{"path":"shared/files/ab/' + "ab" * 16 + '.bin"}')
        ['shared/files/ab/abababababababababababababababab.bin']
    """
    return _IN_TEXT.findall(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """What a table and a file have in common: the bytes, and where they are."""

    #: SHA-256 of the content, hexadecimal: of the values of a table, of the bytes of a file.
    digest: str
    #: How many bytes are stored.
    size: int
    #: Where they are, relative to the store.
    path: str | None = None
    #: The bytes themselves, where they travel inside.
    data: bytes | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON built-ins; what is empty is left out."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.data is not None:
            found["data"] = b2a_base64(self.data, newline=False).decode("ascii")
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Rebuild what :meth:`to_json` returned.

        Raises:
            PayloadError: Something in it cannot be.
        """
        if not isinstance(data, Mapping):
            raise PayloadError(f"a reference is a dict, not {data!r}")
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown:
            raise PayloadError(f"a reference has no {', '.join(sorted(map(str, unknown)))}")
        values = dict(data)
        if "data" in values:
            values["data"] = a2b_base64(values["data"], strict_mode=True)
        reference = cls(**values)
        reference.check()
        return reference

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            PayloadError: Something in it cannot be.
        """
        _check_count(self.size, "size")
        _check_sha256(self.digest, "digest")
        if (self.path is None) == (self.data is None):
            raise PayloadError("a reference has either a path or data")
        if self.path is not None:
            check_path(self.path)
        if self.data is not None and len(self.data) != self.size:
            raise PayloadError(f"its data has {len(self.data)} bytes, not {self.size!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TableReference(Reference):
    """What stands for a table."""

    #: How many rows it has.
    rows: int
    #: SHA-256 of the stored bytes, hexadecimal.
    checksum: str
    #: Its columns in order, name and type; ``None`` where there are too many for a reference.
    columns: tuple[tuple[str, str], ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON built-ins: lists, of which Airflow makes no objects of its own as it does of tuples."""
        found = super(TableReference, self).to_json()
        if self.columns is not None:
            found["columns"] = [list(column) for column in self.columns]
        return found

    def check(self) -> None:
        """Refuse what cannot be; columns become tuples."""
        super(TableReference, self).check()
        _check_count(self.rows, "rows")
        _check_sha256(self.checksum, "checksum")
        if self.data is not None and sha256(self.data) != self.checksum:
            raise PayloadError("its data is not what was written")
        if self.columns is not None:
            columns = tuple(map(tuple, self.columns))
            if not all(len(column) == 2 and all(type(text) is str for text in column) for column in columns):
                raise PayloadError(f"columns are pairs of name and type, not {self.columns!r}")
            object.__setattr__(self, "columns", columns)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileReference(Reference):
    """What stands for a file."""

    #: What it is called: the last part of its path when it was handed on.
    name: str

    def check(self) -> None:
        """Refuse what cannot be."""
        super(FileReference, self).check()
        name = self.name  # a backslash was taken once: it is a path on Windows alone
        if (
            not isinstance(name, str)
            or name in ("", ".", "..")
            or {"/", os.sep} & set(name)
            or well_formed(name) != name
        ):
            raise PayloadError(f"{name!r} is no name of a file")
        if self.data is not None and sha256(self.data) != self.digest:
            raise PayloadError("its data is not what was written")


def _check_count(value: object, what: str) -> None:
    if type(value) is not int or not 0 <= value < _MOST:
        raise PayloadError(f"{what} is {value!r}; it must be a count")


def _check_sha256(value: object, what: str) -> None:
    if not isinstance(value, str) or _SHA256.fullmatch(value) is None:
        raise PayloadError(f"{what} is {value!r}; it must be a SHA-256 in hexadecimal")


ReferenceT = TypeVar("ReferenceT", bound=Reference)
SourceT = TypeVar("SourceT")


class Handle(Generic[ReferenceT, SourceT]):
    """What stands in an output for a table or a file: immutable, and only its reference is handed on.

    Args:
        reference: What stands for it in a payload, if it is stored.
        source: What it is made of, if it is not.
        store: Where it is stored, if that is known.
    """

    #: Whether this process has met any: where it has not, nothing need be searched for them.
    met: ClassVar[bool] = False
    __slots__ = ("_reference", "_source", "_store")

    def __init__(self, reference: ReferenceT | None, source: SourceT | None, store: object | None) -> None:
        Handle.met = True
        self._reference, self._source, self._store = reference, source, store

    @classmethod
    def of(cls, reference: ReferenceT, store: object | None = None) -> Self:
        """Return the handle of what is stored."""
        raise NotImplementedError

    def _settled(self, source: SourceT) -> ReferenceT:
        """Put what is not stored yet into memory."""
        raise NotImplementedError

    @property
    def reference(self) -> ReferenceT:
        """What stands for it in a payload; what is not stored yet is put into memory for that."""
        source = self._source  # before the other: a thread that is faster sets them in this order
        if self._reference is None:
            assert source is not None  # noqa: S101  # one of the two is always there
            self._reference = self._settled(source)
            self._source = None
        return self._reference

    @property
    def source(self) -> SourceT | None:
        """What it is made of, if it is not stored yet."""
        return self._source

    @property
    def store(self) -> object | None:
        """The store that holds it, if it is known."""
        return self._store

    def bind(self, store: object | None) -> None:
        """Say which store holds it, if nobody has yet."""
        if self._store is None:
            self._store = store

    def stored_in(self, store: object) -> bool:
        """Whether it is kept in a store already."""
        return self._reference is not None and self._reference.path is not None and self._store in (None, store)

    @property
    def bytes(self) -> int:
        """How many bytes are stored."""
        return self.reference.size

    @property
    def digest(self) -> str:
        """SHA-256 of its content: equal for equal content."""
        return self.reference.digest

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, (self.reference, self._store)
