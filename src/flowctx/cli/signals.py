"""Signals that end the command: what it has begun is put away first."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

#: Those that end a process; of a terminal that goes away, Windows has none.
_ENDING: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what the block does as Ctrl-C would, and then the process as they would.

    So temporary files, processes and the run that is under way are not left behind: Python exits in order, and the
    signal comes last. Once Python has heard one, which it does not before a call into C returns, a second one ends the
    process at once. What is ignored, as under nohup, stays ignored; outside the main thread, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()
    received: list[int] = []
    taken = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]

    def give_back() -> None:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)

    def interrupt(number: int, frame: FrameType | None) -> None:
        give_back()
        if received or os.getpid() != owner:  # a second one, or in a copy of the process that a step has made
            os.kill(os.getpid(), number)
            return
        received.append(number)
        raise KeyboardInterrupt

    def end() -> None:
        if received and os.getpid() == owner:
            _flush()
            os.kill(owner, received[0])

    atexit.register(end)  # before all else, and so it is called after all else
    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        give_back()
        if not received:
            atexit.unregister(end)


def _flush() -> None:
    """Write what waits to be written: nothing is done after the signal."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # it may be closed, or nobody reads it
            stream.flush()
