"""How a local batch grows with its partitions and its workers: ``python tests/bench curve``.

It measures 1,000 and 10,000 partitions; ``FLOWCTX_BENCH_PARTITIONS=1000,10000,100000`` measures others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench_ledger import postgres_url
from report import console
from rich.table import Table

SIZES = tuple(map(int, os.environ.get("FLOWCTX_BENCH_PARTITIONS", "1000,10000").split(",")))
WORKERS = (1, 2, 4)
CASE = Path(__file__).parent / "curve_case.py"


def main() -> None:
    """Run each batch in a process of its own, on a ledger of its own, and print a table for each kind of ledger."""
    with tempfile.TemporaryDirectory(prefix="flowctx-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a server run by root is another user's
        curve("SQLite on disk (FULL)", lambda size, workers: f"sqlite:///{folder / f'{size}-{workers}.db'}")
        with postgres_url(folder) as postgres:
            curve("PostgreSQL on this machine, one ledger for all", lambda size, workers: postgres)


def curve(kind: str, url: Any) -> None:
    """Measure a table of sizes and workers."""
    table = Table(title=f"{kind}: partitions of five steps, {os.cpu_count()} processors")
    head = ("partitions", "workers", "seconds", "partitions/s", "µs of workers", "µs of launcher", "MB a worker", "MB")
    for column in head:
        table.add_column(column, justify="right")
    for size in SIZES:
        for workers in WORKERS:
            took = point(url(size, workers), size, workers)
            count, seconds = took["partitions"], took["seconds"]
            each = (f"{took[name] / count * 1e6:,.0f}" for name in ("workers", "launcher"))
            memory = (f"{took[name]:,.0f}" for name in ("worker_mb", "launcher_mb"))
            table.add_row(f"{count:,}", str(workers), f"{seconds:.1f}", f"{count / seconds:,.0f}", *each, *memory)
    console.print(table)


def point(url: str, size: int, workers: int) -> dict[str, Any]:
    """Run one batch, and return what it took."""
    command = [sys.executable, str(CASE), url, str(size), str(workers)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


if __name__ == "__main__":
    main()
