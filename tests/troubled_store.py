"""A store of artifacts that fails as people tell it to: through fsspec, as every bucket is reached."""

from __future__ import annotations

import errno
import os
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

#: How a full and a read-only store fail.
FULL, READ_ONLY = errno.ENOSPC, errno.EROFS


class TroubledFileSystem(MemoryFileSystem):
    """Keeps objects in memory; writing fails with the error in ``trouble``."""

    protocol = ("troubled",)
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    #: ``FULL`` or ``READ_ONLY``; 0 for none.
    trouble: ClassVar[int] = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(str(path).removeprefix("troubled:/"))

    def _open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        if "w" in mode:
            self._check_writable()
        file = super()._open(path, mode, *args, **kwargs)
        if "w" in mode and self.trouble == FULL:
            file.write = _no_space
        return file

    def rm_file(self, path: str) -> None:
        self._check_writable()
        super().rm_file(path)

    def _check_writable(self) -> None:
        if self.trouble == READ_ONLY:
            raise OSError(READ_ONLY, os.strerror(READ_ONLY))


def _no_space(data: bytes) -> int:
    raise OSError(FULL, os.strerror(FULL))


fsspec.register_implementation("troubled", TroubledFileSystem, clobber=True)
