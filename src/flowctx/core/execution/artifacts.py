"""Where tables, files and large outputs go, as core asks for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from flowctx.core.data.files import File
from flowctx.core.data.plain import ArtifactRef
from flowctx.core.data.references import TableReference
from flowctx.core.data.tables import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunedArtifacts:
    """How much was removed from a store."""

    #: Files, complete or not.
    files: int = 0
    #: Their bytes.
    bytes: int = 0


class ArtifactIndex(Protocol):
    """What a ledger knows of the files in its store, so that equal tables share one.

    Whoever is about to refer to a file that is there already says so here first: from then on, nothing removes it
    for as long as runs take. Only what a writer of its own has just made needs no such word: it is new.
    """

    def find(self, digest: str, form: str) -> TableReference | None:
        """Return a stored table of this content and form, which is about to be referred to anew."""
        ...

    def add(self, reference: TableReference, form: str) -> None:
        """Remember a table that is stored, for others to find."""
        ...

    def reuse(self, path: str) -> bool:
        """Say that a file is about to be referred to anew; returns whether it stays."""
        ...

    def release(self, paths: Collection[str], before: datetime, *, dry_run: bool = False) -> set[str]:
        """Return those of some files that can be removed, which nobody finds and reuses any more.

        Args:
            paths: Files that nothing refers to.
            before: What somebody was about to refer to since stays.
            dry_run: Only return them.
        """
        ...

    def forget(self, paths: Collection[str]) -> None:
        """Forget files that were released and are removed."""
        ...


class ArtifactStore(Protocol):
    """Keeps what is large outside the context; each is there completely, or not at all."""

    @property
    def in_memory(self) -> bool:
        """Whether it is gone with this process; then outputs stay where they are, and only tables are kept."""
        ...

    def put(self, data: bytes, holds: Collection[str] = ()) -> ArtifactRef:
        """Store the bytes of an output and return how to find them.

        Args:
            data: The output.
            holds: Paths of other artifacts that it refers to.
        """
        ...

    def get(self, ref: ArtifactRef) -> bytes:
        """Return the bytes that ``ref`` stands for.

        Raises:
            ArtifactError: They are gone, or are not what was written.
        """
        ...

    def put_table(self, table: Table) -> Table:
        """Store a table, in one pass, and return the handle of what is stored."""
        ...

    def put_file(self, file: File) -> File:
        """Store a file and return the handle of what is stored."""
        ...
