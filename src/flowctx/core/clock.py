"""The time: as core asks for it, and as this machine tells it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """Return the time now, in UTC."""
        ...

    def sleep(self, duration: timedelta) -> None:
        """Wait."""
        ...


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """Return the time now, in UTC."""
        return datetime.now(UTC)

    def sleep(self, duration: timedelta) -> None:
        """Wait."""
        time.sleep(duration.total_seconds())


def stopwatch(clock: Clock) -> Callable[[], float]:
    """Return what tells seconds by which to say how long something took.

    This machine's time may be set back meanwhile, so its stopwatch is another one, which is not; any other clock has
    only its time.

    Example:
        >>> seconds = stopwatch(SystemClock())
        >>> began = seconds()
        >>> 0 <= seconds() - began < 60
        True
    """
    return time.perf_counter if type(clock) is SystemClock else lambda: clock.now().timestamp()
