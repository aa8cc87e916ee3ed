"""Signs of life of all runs of this process: one thread gives them, however many runs there are."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

logger = logging.getLogger("flowctx")


@dataclass(eq=False)
class _Lease:
    """What is to be renewed, and when it is due next."""

    #: Renews it; returns whether it is to be renewed again.
    renew: Callable[[], bool]
    seconds: float
    due: float = field(init=False)

    def __post_init__(self) -> None:
        self.due = time.monotonic() + self.seconds


class Leases:
    """Renews leases in a thread of its own, which ends when there has been nothing to renew for a while."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._leases: set[_Lease] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        #: When the thread looks next.
        self._wakes = 0.0
        self._pid = os.getpid()

    @contextmanager
    def renewed(self, renew: Callable[[], bool], every_seconds: float) -> Iterator[None]:
        """Renew a lease for as long as the block takes.

        Args:
            renew: Renews it, and returns whether it is to be renewed again; called in another thread.
            every_seconds: How often.
        """
        if self._pid != os.getpid():  # a fork: the thread stayed behind, and may have held the lock
            self._clear()
        lease = _Lease(renew, every_seconds)
        with self._changed:
            self._leases.add(lease)
            if self._thread is None:
                self._wakes = lease.due
                self._thread = threading.Thread(target=self._run, name="flowctx-lease", daemon=True)
                self._thread.start()
            elif lease.due < self._wakes:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._leases.discard(lease)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._leases and time.monotonic() >= self._wakes:
                    self._thread = None
                    return
                self._wakes = min((lease.due for lease in self._leases), default=self._wakes)
                self._changed.wait(max(0.0, self._wakes - time.monotonic()))
                now = time.monotonic()
                due = [lease for lease in self._leases if lease.due <= now]
            for lease in due:  # without the lock: runs begin and end while a database takes its time
                try:
                    again = lease.renew()
                except Exception:  # the other runs must not lose their leases with this one
                    logger.exception("a lease could not be renewed")
                    again = True
                with self._changed:
                    lease.due = time.monotonic() + lease.seconds
                    if not again:
                        self._leases.discard(lease)


#: Those of this process.
LEASES = Leases()
