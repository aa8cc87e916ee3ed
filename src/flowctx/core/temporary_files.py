"""Temporary files: rows wait there, so that few are in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, Self

from flowctx.core.errors import FlowctxError

#: So many bytes wait in memory, before they go to a file.
_IN_MEMORY = 1 << 20


class WaitingItems:
    """JSON-ready items that wait in a temporary file: written once, and then read as often as they are needed.

    Example:
        >>> with WaitingItems() as waiting:
        ...     waiting.put([1, "a"])
        ...     list(waiting), list(waiting)
        ([[1, 'a']], [[1, 'a']])
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY, mode="w+", encoding="ascii")  # noqa: SIM115

    def put(self, item: Any) -> None:
        """Add an item.

        Raises:
            FlowctxError: The file cannot be written.
        """
        line = json.dumps(item) + "\n"
        with having_room():
            self._file.write(line)

    def __iter__(self) -> Iterator[Any]:
        with having_room():
            self._file.seek(0)  # what was not written yet is written now
        yield from map(json.loads, self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):  # where it has no room, it says so once more
            self._file.close()


@contextmanager
def having_room(*kinds: type[Exception], error: type[FlowctxError] = FlowctxError, what: str = "") -> Iterator[None]:
    """Say of a temporary file that cannot be written where it is, and where it would have room.

    Args:
        *kinds: Errors of what writes it, beside those of the system.
        error: What is raised instead.
        what: What the file is for, in words.

    Raises:
        FlowctxError: It cannot be written.

    Example:
        >>> with having_room():
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        flowctx.core.errors.FlowctxError: temporary files in ... cannot be written (No space left on device); set ...
    """
    try:
        yield
    except Exception as exc:
        if isinstance(exc, FlowctxError) or not isinstance(exc, (OSError, *kinds)):
            raise  # an error of ours may be an OSError, too: what is written comes from somewhere
        why = exc.strerror if isinstance(exc, OSError) else exc
        reason = no_room(str(why or exc))
        raise error(f"{what}: {reason}" if what else reason) from exc


def no_room(why: str) -> str:
    """Return that temporary files cannot be written, where they are, and what to do about it."""
    try:
        place = f" in {gettempdir()}"
    except FileNotFoundError:  # of several folders none can be written; the reason names them
        place = ""
    return f"temporary files{place} cannot be written ({why}); set TMPDIR to a folder that has room"
