"""Signals of this process: Ctrl-C while the ``flowctx`` command imports what it needs, and SIGTERM that others take.

While it imports, nothing is to be put away yet, and nothing to be said.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath


def end_quietly() -> None:
    """Let Ctrl-C end the process by the signal, without a traceback, if it is the command; it is 130 to a shell."""
    if _is_command(sys.orig_argv) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_again() -> None:
    """Let Ctrl-C raise ``KeyboardInterrupt`` from now on, if :func:`end_quietly` has changed that."""
    if _is_command(sys.orig_argv) and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_command(argv: list[str]) -> bool:
    """Whether arguments are those of ``flowctx`` or ``python -m flowctx``; other programs decide for themselves."""
    module = argv[2:3] if argv[1:2] == ["-m"] else []
    return module in (["flowctx"], ["flowctx.cli"]) or any(PurePath(arg).name == "flowctx" for arg in argv[1:2])


@contextmanager
def sigterm_put_back() -> Iterator[None]:
    """Let SIGTERM do after the block what it did before: each task of Airflow's takes it for itself, and keeps it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)
