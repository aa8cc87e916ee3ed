"""Engines that all tests share, also those in other processes: started for the first user, and ended after the last.

Each is held by a process of its own, which ends it when nobody uses it any more, however its users ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]


@contextmanager
def shared(name: str, session: Path) -> Iterator[dict[str, Any]]:
    """Yield what an engine of :mod:`e2e.engines` tells of itself; it is there as long as the block.

    Args:
        name: The engine.
        session: The folder of all that share it.
    """
    folder = session / name
    folder.mkdir(parents=True, exist_ok=True)
    # A lock of a file ends with the process that has it; no program that is started from here inherits it.
    with (folder / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with (folder / "starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not (folder / "facts.json").exists():
                _start(name, session)
        yield json.loads((folder / "facts.json").read_text())


def _start(name: str, session: Path) -> None:
    folder, log = session / name, session / name / "host.log"
    path = [str(TESTS), str(TESTS / "startup"), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    with log.open("wb") as out:
        host = subprocess.Popen(
            [sys.executable, "-m", "e2e.engines", name, str(session)],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while not (folder / "facts.json").exists():
        assert host.poll() is None, f"{name} does not start:\n{log.read_text(errors='replace')[-10_000:]}"
        time.sleep(0.2)


def host(engine: AbstractContextManager[Mapping[str, Any]], folder: Path) -> None:
    """Run an engine, tell of it, and end it when nobody uses it any more."""
    with (folder / "users").open("w") as users, engine as facts:
        (folder / "facts.new").write_text(json.dumps(facts))
        (folder / "facts.new").replace(folder / "facts.json")
        fcntl.flock(users, fcntl.LOCK_EX)  # granted when there are no users; who comes now waits for the engine's end
        (folder / "facts.json").unlink(missing_ok=True)
