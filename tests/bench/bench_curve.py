"""How a local batch grows with its partitions and its workers: ``python tests/bench curve``.

It measures 1,000 and 10,000 partitions; ``FLOWCTX_BENCH_PARTITIONS=1000,10000,100000`` measures others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_backfill import budget, directly
from bench_ledger import postgres_url
from curve_case import curve as workflow
from report import console
from rich.box import SIMPLE
from rich.table import Table

SIZES = tuple(map(int, os.environ.get("FLOWCTX_BENCH_PARTITIONS", "1000,10000").split(",")))
WORKERS = (1, 2, 4)
CASE = Path(__file__).parent / "curve_case.py"
HEAD = ("count", "workers", "s", "per s", "of one", "of steps", "worker µs", "launch µs", "worker MB", "launch MB")


def main() -> None:
    """Run each batch in a process of its own, on a ledger of its own, and print a table for each kind of ledger."""
    with tempfile.TemporaryDirectory(prefix="flowctx-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a server run by root is another user's
        curve("SQLite on disk", lambda size, workers: f"sqlite:///{folder / f'{size}-{workers}.db'}")
        with postgres_url(folder) as postgres:
            curve("PostgreSQL", lambda size, workers: postgres)


def curve(kind: str, url: Any) -> None:
    """Measure a table of sizes and workers: partitions a second, also as a share of one worker's and of the steps'."""
    title = f"{kind}: partitions of five steps, {os.cpu_count()} processors; the steps in a loop: {alone():,.0f}/s"
    table = Table(
        title=title,
        caption=f"budget, of the example's steps: {budget(kind)}",
        title_justify="left",
        box=SIMPLE,
        padding=(0, 0, 0, 1),
    )
    for column in HEAD:
        table.add_column(column, justify="right", no_wrap=column in HEAD[:2])
    for size in SIZES:
        one = 0.0
        for workers in WORKERS:
            took = point(url(size, workers), size, workers)
            count, seconds = took["partitions"], took["seconds"]
            rate = count / seconds
            one = one or rate
            each = (f"{took[name] / count * 1e6:,.0f}" for name in ("workers", "launcher"))
            memory = (f"{took[name]:,.0f}" for name in ("worker_mb", "launcher_mb"))
            rates = (f"{rate:,.0f}", f"{rate / one:.2f}×", f"{rate / alone():.1%}")
            table.add_row(f"{count:,}", str(workers), f"{seconds:.1f}", *rates, *each, *memory)
    console.print(table)


def alone() -> float:
    """Return how many partitions a second the steps make in a loop, now."""
    assert workflow.partitions is not None
    keys = list(workflow.partitions.select("date=first:4"))
    started = time.perf_counter()
    for key in keys:
        directly(key, workflow)
    return len(keys) / (time.perf_counter() - started)


def point(url: str, size: int, workers: int) -> dict[str, Any]:
    """Run one batch, and return what it took."""
    command = [sys.executable, str(CASE), url, str(size), str(workers)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


if __name__ == "__main__":
    main()
