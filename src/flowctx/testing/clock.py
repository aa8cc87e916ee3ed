"""A clock that does as told."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

#: When a :class:`FakeClock` starts, unless it is told.
NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)


class FakeClock:
    """A clock that moves only when somebody waits, or when it is told to.

    Args:
        start: What it shows at first.

    Example:
        >>> clock = FakeClock()
        >>> clock.sleep(timedelta(minutes=5))
        >>> clock.now() - NOON, clock.slept
        (datetime.timedelta(seconds=300), [datetime.timedelta(seconds=300)])
    """

    def __init__(self, start: datetime = NOON) -> None:
        self._now = start
        self._lock = threading.Lock()
        #: Every wait so far.
        self.slept: list[timedelta] = []

    def now(self) -> datetime:
        """Return what it shows."""
        return self._now

    def sleep(self, duration: timedelta) -> None:
        """Move on at once, and remember for how long it was asked to wait."""
        self.slept.append(duration)
        self.advance(duration)

    def advance(self, duration: timedelta) -> None:
        """Move on without anybody waiting."""
        with self._lock:
            self._now += duration
