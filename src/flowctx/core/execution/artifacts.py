"""Where large outputs go, as core asks for it."""

from __future__ import annotations

from typing import Protocol

from flowctx.core.data.plain import ArtifactRef


class ArtifactStore(Protocol):
    """Keeps large outputs outside the context."""

    def put(self, data: bytes) -> ArtifactRef:
        """Store bytes, all or nothing, and return how to find them; the same bytes are stored once."""
        ...

    def get(self, ref: ArtifactRef) -> bytes:
        """Return the bytes that ``ref`` stands for.

        Raises:
            ArtifactError: They are gone, or are not what was written.
        """
        ...
