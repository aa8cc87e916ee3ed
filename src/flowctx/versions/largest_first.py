"""Texts by a size, the largest first: they wait in a temporary file, and few of them are in memory."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Self

from flowctx.core.temporary_files import having_room


class LargestFirst:
    """Texts by a size, the largest first, and those of one size in the order in which they came.

    Args:
        most: Only so many are asked for: what cannot be among them is left out. ``None``: all.

    Example:
        >>> with LargestFirst() as texts:
        ...     for size, text in [(1.0, "one"), (3.0, "three"), (1.0, "another")]:
        ...         texts.add(size, lambda text=text: text)
        ...     list(texts)
        ['three', 'one', 'another']
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._sizes: list[float] = []
        self._file = sqlite3.connect("")  # a file of SQLite's own, which is gone when it is closed
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("CREATE TABLE waiting (size REAL, text TEXT)")

    def add(self, size: float, make: Callable[[], str]) -> None:
        """Take one more.

        Args:
            size: Its size.
            make: Returns the text, which is not made where it is left out.

        Raises:
            FlowctxError: The temporary file cannot be written.
        """
        if self._most is not None:
            if len(self._sizes) < self._most:
                heapq.heappush(self._sizes, size)
            elif size > self._sizes[0]:
                heapq.heapreplace(self._sizes, size)
            else:
                return
        with having_room(sqlite3.OperationalError):
            self._file.execute("INSERT INTO waiting VALUES (?, ?)", (size, make()))

    def __iter__(self) -> Iterator[str]:
        largest_first = "SELECT text FROM waiting ORDER BY size DESC, rowid"
        with having_room(sqlite3.OperationalError), closing(self._file.execute(largest_first)) as found:
            for (text,) in found:
                yield text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
