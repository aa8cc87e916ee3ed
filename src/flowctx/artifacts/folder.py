"""Artifacts in a folder of this machine, or one that several share."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from flowctx.artifacts.trouble import explained
from flowctx.core.errors import ArtifactError, ArtifactRefused
from flowctx.core.whole_files import WholeFile

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
#: A FIFO or a device would make a plain open wait.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a store, complete or not."""

    #: Where it is, relative to the store.
    path: str
    #: Its bytes.
    size: int
    #: When it was written last.
    modified: datetime


class Folder:
    """Reads and writes files under one folder, and nowhere else.

    A file appears under its name when it is complete and on the disk. Links are not followed below the folder, and
    nothing but regular files is opened.

    Args:
        base: The folder.
        why_there: Why this place was taken, as words that follow its name where something is not there.
        beside: It is beside a file whose folder is there, or is away as a whole: that is not made.
    """

    def __init__(self, base: str, why_there: str = "", *, beside: bool = False) -> None:
        self.why_there, self._beside = why_there, beside
        self.base = os.path.abspath(os.path.expanduser(base))
        self.shown = self.base

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Open a new file; it is there when the block ends, and not at all if the block raises."""
        what = f"write {path} to {self.shown}"
        target = self.local_path(path)
        try:
            if self._beside and not os.path.isdir(around := os.path.dirname(self.base)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), around)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            self._check_links(target)
            new = WholeFile(target, flags=_NO_LINKS)
        except OSError as exc:
            raise explained(exc, what) from exc
        try:
            yield new.file
            _storing(new.commit, what)
        except BaseException:
            new.discard()
            raise

    def open(self, path: str, size: int) -> BinaryIO:
        """Open a file for reading, if it has as many bytes as it should."""
        target = self.local_path(path)
        try:
            self._check_links(target)
            number = os.open(target, os.O_RDONLY | _NO_LINKS | _NO_WAIT)
        except OSError as exc:
            if os.path.islink(target):
                raise self._leads_away(path) from exc
            raise explained(exc, f"read {path} from {self.shown}", self.why_there) from exc
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            os.close(number)
            raise ArtifactRefused(f"{path} in {self.shown} is no regular file; the store was tampered with")
        if found.st_size != size:
            os.close(number)
            raise damaged(path, self.shown, found.st_size, size)
        return os.fdopen(number, "rb")

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the files under a prefix, complete or not."""
        for folder, _, names in os.walk(os.path.join(self.base, prefix), followlinks=False):
            for name in names:
                target = os.path.join(folder, name)
                with suppress(FileNotFoundError):
                    found = os.lstat(target)
                    path = os.path.relpath(target, self.base).replace(os.sep, "/")
                    yield Stored(path, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def remove(self, path: str) -> None:
        """Remove a file; it may be gone already."""
        try:
            os.unlink(os.path.join(self.base, *path.split("/")))
        except FileNotFoundError:
            return
        except OSError as exc:
            raise explained(exc, f"remove {path} from {self.shown}") from exc

    def touch(self, path: str) -> bool:
        """Make a file count as new, because something refers to it anew; returns whether it does."""
        try:
            os.utime(self.local_path(path))
        except OSError as exc:
            raise explained(exc, f"refer to {path} in {self.shown}", self.why_there) from exc
        return True

    def local_path(self, path: str) -> str:
        """Return where a file is on this machine."""
        return os.path.join(self.base, *path.split("/"))

    def _check_links(self, target: str) -> None:
        folder = os.path.dirname(target)
        inside = os.path.join(os.path.realpath(self.base), os.path.relpath(folder, self.base))
        if os.path.realpath(folder) != os.path.normpath(inside):
            raise self._leads_away(os.path.relpath(target, self.base))

    def _leads_away(self, path: str) -> ArtifactRefused:
        return ArtifactRefused(f"{path} in {self.shown} is reached by a link; links in a store are not followed")


def damaged(path: str, shown: str, found: int, size: int) -> ArtifactError:
    """Return the error for a file of another length."""
    return ArtifactError(
        f"{path} in {shown} is damaged: it has {found:,} bytes where {size:,} were written; "
        "run the step that made it again"
    )


def _storing(call: object, what: str) -> None:
    try:
        call()  # type: ignore[operator]
    except OSError as exc:
        raise explained(exc, what) from exc
