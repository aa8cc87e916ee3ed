"""Servers of an engine for tests: started on loopback in a folder of their own, watched, and ended by process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil


@dataclass
class Stack:
    """The processes of an engine, and the folder that they work in."""

    #: The engine's own folder, with a log for each process.
    home: Path
    #: Where its web server listens.
    url: str
    #: The environment of every process and of :meth:`run`.
    env: dict[str, str]
    #: Its processes by name; they may be those of another process of the tests.
    pids: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """Return the stack that :meth:`to_dict` told of."""
        return cls(**{**facts, "home": Path(facts["home"])})

    def to_dict(self) -> dict[str, Any]:
        """Return all that another process needs to use this stack."""
        return {**asdict(self), "home": str(self.home)}

    def run(self, module: str, *args: str) -> str:
        """Run ``python -m module ...`` to its end and return what it printed; it must succeed."""
        command = [sys.executable, "-m", module, *args]
        done = subprocess.run(command, env=self.env, cwd=self.home, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{module} {' '.join(args)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, name: str, module: str, *args: str, env: Mapping[str, str] | None = None) -> None:
        """Start ``python -m module ...`` with a log of its own, as the leader of its own session."""
        command = [sys.executable, "-m", module, *args]
        with (self.home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                env=self.env | dict(env or {}),
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pids[name] = process.pid
        _CHILDREN[process.pid] = process

    def wait_until(self, holds: Callable[[], object], what: str, *, seconds: float = 300) -> None:
        """Wait until something holds, while every process is alive."""
        began = time.monotonic()
        while not holds():
            dead = [name for name, pid in self.pids.items() if not _is_alive(pid)]
            assert not dead, f"{dead} died while waiting for {what}\n{self.logs()}"
            waited = time.monotonic() - began
            assert waited < seconds, f"{what}: not after {seconds} s\n{self.logs()}"
            time.sleep(min(1 + waited / 10, 4))  # each look costs the engine as much as a small task

    def logs(self, lines: int = 40) -> str:
        """Return the end of each process's log."""
        parts: list[str] = []
        for path in sorted(self.home.glob("*.log")):
            parts += [f"--- {path.name}", *path.read_text(errors="replace").splitlines()[-lines:]]
        return "\n".join(parts)

    def end(self) -> None:
        """End the processes that were started here, last started first, and whatever they started themselves."""
        children = [_CHILDREN.pop(pid) for pid in self.pids.values()]
        for process in reversed(children):
            process.terminate()
        for process in children:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            try:
                os.killpg(process.pid, signal.SIGKILL)  # its own session: nobody else is in that group
            except ProcessLookupError:
                continue


#: The processes that were started here, by id.
_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that nobody listens on, each another one."""
    with ExitStack() as held:
        listeners = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def listens(port: int) -> bool:
    """Whether somebody listens on a port on loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def inherited(prefix: str) -> dict[str, str]:
    """Return this process's environment without an engine's own settings."""
    # Each run and each command imports its engine: without bytecode that alone takes seconds.
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(prefix) and name != "PYTHONDONTWRITEBYTECODE"
    }
