"""All that core asks of the world. Fakes for tests are in ``flowctx.testing``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from flowctx.core.plain import ArtifactRef


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """Return the time now, in UTC."""
        ...

    def sleep(self, duration: timedelta) -> None:
        """Wait."""
        ...


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
