"""Files that are written all or nothing: a reader sees the former one or the new one, and never half of it.

The bytes go to a file beside the place, are flushed to the disk, and take the place in one step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

#: What a file is called that is not complete.
PART = ".part"


class WholeFile:
    """A file on its way to its place; :meth:`commit` puts it there, :meth:`discard` leaves the place as it was.

    Args:
        path: Its place; the folder must be there.
        mode: Who may read and write it, less the process's umask.
        flags: More flags for ``os.open``.

    Raises:
        OSError: It cannot be begun.
    """

    def __init__(self, path: str | Path, *, mode: int = 0o666, flags: int = 0) -> None:
        self._path = os.fspath(path)
        self._part = f"{self._path}.{uuid4().hex}{PART}"
        number = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL | flags, mode)
        #: Takes the bytes.
        self.file: BinaryIO = os.fdopen(number, "w+b")

    def commit(self) -> None:
        """Put it in its place, when its bytes are on the disk.

        Raises:
            OSError: That cannot be, such as on a full disk; :meth:`discard` it then.
        """
        with self.file:
            self.file.flush()
            os.fsync(self.file.fileno())
        os.replace(self._part, self._path)
        _flush_folder(os.path.dirname(self._path) or ".")

    def discard(self) -> None:
        """Remove what was written, if it is not in its place yet."""
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            os.unlink(self._part)


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file all or nothing; see :func:`whole_file`.

    Args:
        path: Its place; the folder must be there.
        data: Its bytes.

    Raises:
        OSError: It cannot be written; what was there is still there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder) / "names.txt", b"all of it")
        ...     [(path.name, path.read_bytes()) for path in Path(folder).iterdir()]
        [('names.txt', b'all of it')]
    """
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: str | Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Yield what takes the bytes of a file, which is there when the block ends; if it raises, nothing has changed.

    A device or a pipe is written to, and a link leads to the file that is replaced.

    Args:
        path: Its place; the folder must be there.
        mode: Who may read and write it, less the process's umask.

    Raises:
        OSError: It cannot be written; what was there is still there.
    """
    place = os.path.realpath(path)
    if os.path.exists(place) and not os.path.isfile(place):
        with open(place, "wb") as device:
            yield device
        return
    made = WholeFile(place, mode=mode)
    try:
        yield made.file
        made.commit()
    except BaseException:
        made.discard()
        raise


def _flush_folder(folder: str) -> None:
    """Make a new name last: a rename is durable when its folder is on the disk."""
    with suppress(OSError):  # some file systems know no such thing
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
