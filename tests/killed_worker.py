"""A workflow of short steps and a few long ones, and a worker of a batch of it that can be killed in milliseconds."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from flowctx import PartitionScheme, Workflow, local
from flowctx.backfill.worker import main
from flowctx.backfill.worker_process import place_here
from forking import processes

COUNT = 30
STEPS = ("load", "check", "store")
#: A step that takes longer than a group may be old, and one that takes long enough to be killed in a group.
LONG, SHORT = 0.03, 0.0005

short = Workflow("short", partitions=PartitionScheme(n=[f"{n:02}" for n in range(COUNT)]))
#: What the same steps read that have inputs, and those.
made = Workflow("made", partitions=short.partitions)
reading = Workflow("reading", partitions=short.partitions)
made.step(name="make")(lambda ctx: {"price": int(ctx.key.n) * 10})


def _declare(name):
    @reading.step(name=name, inputs={"price": made.output("make")})
    @short.step(name=name)
    def step(ctx, price=None):
        key = ctx.key.n
        with open(ctx.params["effects"], "a", encoding="utf-8") as file:
            file.write(f"{name} {key}\n")
        time.sleep(LONG if name == "load" and key.endswith("7") else SHORT)
        return {"n": int(key), "before": len(ctx.step_outputs)} | (price or {})


for _name in STEPS:
    _declare(_name)


def effects(path):
    """Return how often each step of each partition was called."""
    return Counter(Path(path).read_text(encoding="utf-8").splitlines()) if Path(path).exists() else Counter()


def work(incoming: Connection, outgoing: Connection) -> None:
    """Be a worker of a batch, on two pipes."""
    os.dup2(incoming.fileno(), 0)
    os.dup2(outgoing.fileno(), 1)
    incoming.close()
    outgoing.close()
    main(local.resume, local.plan_new_run, local.run_begun)


class KillableWorker:
    """A worker that was given partitions, and has told the ends of some."""

    def __init__(self, url: str, tasks: list[dict[str, object]], *, workflow: str = "short", grouped: bool) -> None:
        theirs_in, self._ours_out = processes.Pipe(duplex=False)
        self._ours_in, theirs_out = processes.Pipe(duplex=False)
        self.process = processes.Process(target=work, args=(theirs_in, theirs_out))
        self.process.start()
        theirs_in.close()
        theirs_out.close()
        setup = {"targets": [f"killed_worker:{workflow}"], "ledger": url, "batch_id": "b", "grouped": grouped}
        setup["place"] = place_here()
        for message in (setup, *tasks):
            os.write(self._ours_out.fileno(), json.dumps(message).encode() + b"\n")
        self._data, self._count = b"", len(tasks)

    def told(self) -> dict[str, str]:
        """Return the states that it tells, by run, until it has ended, told or given back all that it was given."""
        while True:
            messages = [json.loads(line) for line in self._data.split(b"\n")[:-1]]
            states = {message["run_id"]: message["state"] for message in messages if "state" in message}
            returned = sum(len(message.get("returned", ())) for message in messages)
            if len(states) + returned == self._count:
                return states
            chunk = os.read(self._ours_in.fileno(), 1 << 16)
            if not chunk:
                return states
            self._data += chunk

    def begin_to_tell(self, what: str = "") -> None:
        """Wait until it has begun with something, or has said a certain text."""
        while not self._data or what.encode() not in self._data:
            chunk = os.read(self._ours_in.fileno(), 1 << 16)
            assert chunk, "it has ended without a word; see its standard error"
            self._data += chunk

    def stop_listening(self) -> None:
        """Hear nothing more of it, as if we were gone, and wait until it has ended."""
        self._ours_in.close()
        self.process.join(60)
        self._ours_out.close()

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()

    def end(self) -> None:
        """Let it end."""
        self._ours_out.close()
        self.process.join(60)
        self._ours_in.close()
