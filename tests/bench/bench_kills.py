"""Workers of a batch that are killed at any instant: what ran again, and that nothing is lost or doubled.

300 for each row; ``FLOWCTX_BENCH_KILLS=20`` for another number. What must hold is checked as in the test.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from pathlib import Path
from typing import NamedTuple

from report import console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
from killed_worker import COUNT, STEPS, effects
from ledger.test_group_kills import killed_until_done
from postgres import postgres_database, postgres_server

KILLS = int(os.environ.get("FLOWCTX_BENCH_KILLS", "300"))
#: Kills of one batch, before a worker is let get to its end.
MOST = 12
WORKFLOWS = {"short": "no", "reading": "yes"}


class Killed(NamedTuple):
    """Batches whose workers were killed."""

    kills: int
    partitions: int
    #: Steps that ran once more.
    again: int


def main() -> None:
    """Kill workers on each kind of ledger, with inputs and without, in each durability, and print a table."""
    table = Table(
        title=f"Workers that were killed within 0.3 s; partitions of {len(STEPS)} steps", title_justify="left"
    )
    head = ("ledger", "inputs", "durability", "kills", "partitions", "steps run again", "lost or doubled", "time")
    for column in head:
        table.add_column(column, justify="left" if column in head[:3] else "right")
    with postgres_server() as server:
        for database, workflow, durability in product(("SQLite", "PostgreSQL"), WORKFLOWS, ("group", "step")):
            started = time.perf_counter()
            done = killed(database, server, workflow, grouped=durability == "group")
            took = f"{time.perf_counter() - started:.0f} s"
            counts = (f"{done.kills:,}", f"{done.partitions:,}", f"{done.again:,}", "0", took)
            table.add_row(database, WORKFLOWS[workflow], durability, *counts)
            console.print(f"  {took:>6}  {database}, {workflow}, {durability}: {done}")
    console.print(table)


def killed(database: str, server: str, workflow: str, *, grouped: bool) -> Killed:
    """Kill so many workers, each batch in a database of its own; what is lost or doubled fails an assertion."""
    rng, kills, batches, again = random.Random(11), 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="flowctx-bench-") as name:
        while kills < KILLS:
            folder = Path(name) / str(batches)
            folder.mkdir()
            batches += 1
            with _empty(database, server, folder) as url:
                most = min(KILLS - kills, MOST)
                kills += killed_until_done(url, folder, rng, most, workflow=workflow, grouped=grouped)
            again += sum(effects(folder / "effects").values()) - COUNT * len(STEPS)
    return Killed(kills, batches * COUNT, again)


def _empty(database: str, server: str, folder: Path) -> AbstractContextManager[str]:
    """Yield the URL of an empty database of a kind."""
    return nullcontext(f"sqlite:///{folder / 'ledger.db'}") if database == "SQLite" else postgres_database(server)


if __name__ == "__main__":
    main()
