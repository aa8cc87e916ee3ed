"""The time, as core asks for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """Return the time now, in UTC."""
        ...

    def sleep(self, duration: timedelta) -> None:
        """Wait."""
        ...
