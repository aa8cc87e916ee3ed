"""What flowctx logs of a step, in the log of its run in Dagster: elsewhere it shows where logging is configured."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def logged_in(log: logging.Logger) -> Iterator[None]:
    """Copy what flowctx logs in this thread, for as long as the block takes, to the log of a run."""
    ours, handler = logging.getLogger("flowctx"), _Copy(log)
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)


class _Copy(logging.Handler):
    def __init__(self, log: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._log, self._thread = log, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:  # steps of other runs may share this process
            self._log.log(record.levelno, record.getMessage())
