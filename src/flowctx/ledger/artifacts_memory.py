"""What a ledger in memory knows of the files in its store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import datetime

from flowctx.core.data.references import TableReference


class MemoryArtifacts:
    """Knows files for as long as the process lives; see :class:`~flowctx.core.execution.artifacts.ArtifactIndex`.

    Args:
        now: Tells the time.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now, self._lock = now, threading.Lock()
        self._tables: dict[tuple[str, str], TableReference] = {}
        self._intended: dict[str, datetime] = {}
        self._removed: set[str] = set()

    def find(self, digest: str, form: str) -> TableReference | None:
        """Return a stored table of this content and form, which is about to be referred to anew."""
        with self._lock:
            found = self._tables.get((digest, form))
        return found if found is not None and found.path is not None and self.reuse(found.path) else None

    def add(self, reference: TableReference, form: str) -> None:
        """Remember a table that is stored, for others to find."""
        with self._lock:
            self._tables[reference.digest, form] = reference
            self._intended[str(reference.path)] = self._now()

    def reuse(self, path: str) -> bool:
        """Say that a file is about to be referred to anew; returns whether it stays."""
        with self._lock:
            if path not in self._removed:
                self._intended[path] = self._now()
            return path not in self._removed

    def release(self, paths: Collection[str], before: datetime, *, dry_run: bool = False) -> set[str]:
        """Return those of some files that can be removed, which nobody finds and reuses any more."""
        with self._lock:
            released = {path for path in paths if path not in self._intended or self._intended[path] < before}
            if not dry_run:
                self._removed |= released
            return released | self._removed.intersection(paths)

    def forget(self, paths: Collection[str]) -> None:
        """Forget files that were released and are removed."""
        with self._lock:
            gone = self._removed.intersection(paths)
            self._removed -= gone
            self._intended = {path: time for path, time in self._intended.items() if path not in gone}
            self._tables = {content: table for content, table in self._tables.items() if table.path not in gone}
