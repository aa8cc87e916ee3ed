"""Where tables, files and large outputs go, as core asks for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from flowctx.core.data.files import File
from flowctx.core.data.plain import ArtifactRef
from flowctx.core.data.tables import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunedArtifacts:
    """How much was removed from a store."""

    #: Files, complete or not.
    files: int = 0
    #: Their bytes.
    bytes: int = 0


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
