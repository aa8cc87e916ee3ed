"""Signals that end the command: what it has begun is put away first."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

#: Those that end a process; of a terminal that goes away, Windows has none.
_ENDING: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what the block does as Ctrl-C would, and then the process as they would.

    So temporary files, processes and the run that is under way are not left behind. A second one ends it at once. What
    is ignored, as under nohup, stays ignored.
    """
    owner = os.getpid()
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != owner:  # a copy of the process that a step has made
            os.kill(os.getpid(), number)
            return
        received.append(number)
        raise KeyboardInterrupt

    taken = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
        if received:
            os.kill(os.getpid(), received[0])
