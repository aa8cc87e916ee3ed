"""``File``: a document, a model, an archive in an output, kept as it is."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike, fspath
from typing import Any, BinaryIO, ClassVar, Protocol

from flowctx.core.data.references import FileReference

#: ``File.bytes`` is a number.
Bytes = bytes


class FileLibrary(Protocol):
    """What opens files, here and in a store."""

    def open(self, reference: FileReference, store: object | None) -> BinaryIO:
        """Open a stored file, checked against its digest."""
        ...

    def settle(self, path: str) -> FileReference:
        """Return a file of this machine with its bytes in memory."""
        ...


def _no_library() -> FileLibrary:
    raise NotImplementedError("import flowctx, not flowctx.core: it brings what opens files")


_load_library: Callable[[], FileLibrary] = _no_library


def set_file_library(load: Callable[[], FileLibrary]) -> None:
    """Say what opens files."""
    global _load_library
    _load_library = load


class File:
    """A file to be handed on as it is; steps after this one find one, and open it.

    Args:
        path: Where it is on this machine. It is stored when the step ends, and must stay until then.

    Example:
        ::

            return {"pdf": File("report.pdf")}                         # in one step
            data = ctx.get_output("report", "pdf").read_bytes()        # in another
    """

    #: Whether this process has met any: where it has not, nothing need be searched for them.
    met: ClassVar[bool] = False
    __slots__ = ("_path", "_reference", "_store")

    def __init__(self, path: str | PathLike[str]) -> None:
        File.met = True
        self._path: str | None = fspath(path)
        self._reference: FileReference | None = None
        self._store: object | None = None

    @classmethod
    def of(cls, reference: FileReference, store: object | None = None) -> File:
        """Return the handle of a stored file."""
        File.met = True
        file = cls.__new__(cls)
        file._path, file._reference, file._store = None, reference, store
        return file

    @property
    def reference(self) -> FileReference:
        """What stands for it in a payload; a file that is not stored yet is put into memory for that."""
        if self._reference is None:
            assert self._path is not None  # noqa: S101  # one of the two is always there
            self._reference = _load_library().settle(self._path)
            self._path = None
        return self._reference

    @property
    def source(self) -> str | None:
        """Where it is on this machine, if it is not stored yet."""
        return self._path

    def bind(self, store: object | None) -> None:
        """Say which store holds it, if nobody has yet."""
        if self._store is None:
            self._store = store

    def stored_in(self, store: object) -> bool:
        """Whether it is kept in a store already."""
        return self._reference is not None and self._reference.path is not None and self._store in (None, store)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.reference.name

    @property
    def bytes(self) -> int:
        """How many bytes it has."""
        return self.reference.size

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes, hexadecimal."""
        return self.reference.digest

    def open(self) -> BinaryIO:
        """Open it for reading, in binary.

        Raises:
            ArtifactError: It is gone or damaged.
        """
        return _load_library().open(self.reference, self._store)

    def read_bytes(self) -> Bytes:
        """Return all that is in it.

        Raises:
            ArtifactError: It is gone or damaged.
        """
        with self.open() as file:
            return file.read()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, File):
            return NotImplemented
        return self is other or (self.digest, self.name) == (other.digest, other.name)

    def __hash__(self) -> int:
        return hash((self.digest, self.name))

    def __copy__(self) -> File:
        return self

    def __deepcopy__(self, memo: object) -> File:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return File.of, (self.reference, self._store)

    def __repr__(self) -> str:
        if self._reference is None:
            return f"File({self._path!r})"
        return f"<File {self.name}: {self.bytes:,} bytes>"
