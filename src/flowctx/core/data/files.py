"""``File``: a document, a model, an archive in an output, kept as it is."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike, fspath
from pathlib import PurePath
from typing import BinaryIO, Protocol

from flowctx.core.data.references import FileReference, Handle
from flowctx.core.errors import PlainDataError
from flowctx.core.printable import well_formed


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


class File(Handle[FileReference, str]):
    """A file to be handed on as it is; steps after this one find one, and open it.

    Args:
        path: Where it is on this machine. It is stored when the step ends, and must stay until then.

    Raises:
        PlainDataError: Its name is no text, or is a path elsewhere.

    Example:
        ::

            return {"pdf": File("report.pdf")}                         # in one step
            data = ctx.get_output("report", "pdf").read_bytes()        # in another
    """

    __slots__ = ()

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(None, _checked(fspath(path)), None)

    @classmethod
    def of(cls, reference: FileReference, store: object | None = None) -> File:
        """Return the handle of a stored file."""
        file = cls.__new__(cls)
        Handle.__init__(file, reference, None, store)
        return file

    def _settled(self, source: str) -> FileReference:
        return _load_library().settle(source)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.reference.name

    def open(self) -> BinaryIO:
        """Open it for reading, in binary.

        Raises:
            ArtifactError: It is gone or damaged.
        """
        return _load_library().open(self.reference, self._store)

    def read_bytes(self) -> bytes:
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

    def __repr__(self) -> str:
        if self._reference is None:
            return f"File({self._source!r})"
        return f"<File {self.name}: {self.bytes:,} bytes>"


def _checked(path: str) -> str:
    name = PurePath(path).name
    if "\\" in name or well_formed(name) != name:
        raise PlainDataError(
            f"the file name {name!r} has a backslash, a NUL or bytes that are no UTF-8, and other machines cannot have "
            "it; give the file another name"
        )
    return path
