"""Start the process of a worker of a local batch; the first one may be started before the batch is known.

To import what it needs takes a worker as long as it takes whoever plans the batch: both can do it at the same time.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

#: What a worker runs: here the worker meets the local runner, of which this package knows nothing.
_PROGRAM = (
    "import gc; gc.disable(); from flowctx import local; from flowctx.backfill.worker import main; "
    "main(local.resume, local.plan_new_run, local.run_begun)"
)
#: Those that were started early, and are nobody's yet.
_early: list[subprocess.Popen[bytes]] = []


def start_early() -> None:
    """Start a worker that waits to be told what its batch is; if nobody needs it, it ends with this process."""
    if not _early:
        atexit.register(_end_early)
    _early.append(_start())


def start_worker(setup: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    """Return a worker's process, which was told what its batch is; it may have been started early.

    Args:
        setup: What its batch is.
    """
    process = _early.pop() if _early else _start()
    if process.poll() is not None:
        process = _start()
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    # What a worker is to find may have changed since it was started, when the workflow was imported.
    process.stdin.write(json.dumps({**setup, "place": place_here()}).encode() + b"\n")
    process.stdin.flush()
    return process


def place_here() -> dict[str, Any]:
    """Return where this process is: its folder, its environment and where it finds modules."""
    return {"path": _path(), "env": dict(os.environ), "cwd": os.getcwd()}


def take_place(place: Mapping[str, Any]) -> None:
    """In a worker, be where its parent is now: in its folder, with its environment and its modules."""
    os.chdir(place["cwd"])
    os.environ.clear()
    os.environ.update({**place["env"], "PYTHONPATH": os.pathsep.join(place["path"])})
    sys.path[:] = ["", *place["path"], *(entry for entry in sys.path if entry and entry not in place["path"])]


def outlive_signals() -> None:
    """In a worker, leave Ctrl-C and ``SIGTERM`` to whoever launches the batch, and lets workers finish their work.

    A machine that shuts down tells all processes at once. Those that a step makes end by ``SIGTERM`` as ever, and so
    does a worker that whoever launched the batch has left behind.
    """
    launcher = os.getppid()

    def end_if_alone(number: int, frame: FrameType | None) -> None:
        if os.getppid() != launcher:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end_if_alone)
    if not hasattr(os, "register_at_fork"):  # Windows makes no copies of a process
        return
    # Blocked while a copy is made, so that none misses a signal that comes before it takes it for what it is.
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM]),
        after_in_child=_end_by_sigterm,
    )


def _end_by_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Where it is closed, a pipe of the worker's would take its place.
        stderr=subprocess.DEVNULL if sys.stderr is None else None,
        # Ctrl-C is for this process alone to hear; it lets the workers finish what they are at.
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_path())},
    )


def _path() -> list[str]:
    return [entry for entry in sys.path if entry]


def _end_early() -> None:
    for process in _early:
        process.kill()
        process.wait()
