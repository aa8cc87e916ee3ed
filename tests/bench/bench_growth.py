"""What is asked of a ledger of a million runs, and each command on it: seconds, on SQLite and PostgreSQL."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from bench_ledger import postgres_url
from growth_commands import Took, commands, launches, run, server_time
from large_ledger import BATCH, BEGUN, WORKFLOW, fill, partition, run_id
from report import console, human
from rich.table import Table

from flowctx.core.durability.records import RunStatus
from flowctx.ledger.sql import SqlLedger

#: How many runs; a batch has 40,000, and half of the last one is missing.
RUNS = int(os.environ.get("FLOWCTX_BENCH_RUNS", "1000000")) // BATCH * BATCH + BATCH // 2


def questions(ledger: SqlLedger) -> dict[str, Callable[[], object]]:
    """Return what commands and batches ask, by the command's words."""
    batch = "b1"
    some = [str(partition(number)) for number in range(200)]
    return {
        "runs": lambda: ledger.list_runs(limit=50),
        "runs --status failed": lambda: ledger.list_runs(status=RunStatus.FAILED, limit=50),
        "runs --status running (none)": lambda: ledger.list_runs(status=RunStatus.RUNNING, limit=50),
        "runs --workflow": lambda: ledger.list_runs(workflow=WORKFLOW, limit=50),
        "runs --workflow (none)": lambda: ledger.list_runs(workflow="other", limit=50),
        "runs --batch": lambda: ledger.list_runs(batch_id=batch, limit=50),
        "runs --partition": lambda: ledger.list_runs(partition=partition(7), limit=50),
        "the beginning of a run id": lambda: ledger.run_ids(run_id(77)[:-4]),
        "show RUN": lambda: ledger.steps(ledger.get_run(run_id(77)).key),
        "captures --partition": lambda: ledger.captures(workflow=WORKFLOW, partition=partition(7)),
        "captures (the latest 50)": lambda: ledger.captures(workflow=WORKFLOW, limit=50),
        "captures (all of a workflow)": lambda: ledger.captures(workflow=WORKFLOW),
        "batches": lambda: ledger.batches.all(20),
        "batches: the counts of 40,000": lambda: ledger.batches.count_outcomes(batch, WORKFLOW),
        "one batch": lambda: ledger.batches.get(batch),
        "status: outcomes of 40,000": lambda: sum(1 for _ in ledger.batches.iter_outcomes(batch)),
        "outcomes of 200 partitions": lambda: list(ledger.batches.iter_outcomes(batch, some)),
        "artifacts that are referred to": ledger.artifact_paths,
        "prune --dry-run, a hundredth is old": lambda: ledger.would_prune(BEGUN + timedelta(seconds=20 * RUNS // 100)),
        "prune --dry-run, half is old": lambda: ledger.would_prune(BEGUN + timedelta(seconds=20 * RUNS // 2)),
    }


def main() -> None:
    """Fill both databases, ask, and print."""
    with tempfile.TemporaryDirectory(prefix="flowctx-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a server run by root is another user's
        with postgres_url(folder) as postgres:
            sqlite = f"sqlite:///{folder / 'ledger.db'}"
            fill([sqlite, postgres], RUNS)
            for kind, url in (("SQLite", sqlite), ("PostgreSQL", postgres)):
                run_commands(kind, url)
                measure(kind, url)


def run_commands(kind: str, url: str) -> None:
    """Run each command once, as in a shell."""
    title = f"{kind}: commands on a ledger of {RUNS:,} runs"
    table = Table(title=title, caption="budget: 1 s a command, and 1 s until a batch starts", title_justify="left")
    for column in ("command", "seconds", "until the first step", "processor", "of the server", "memory, peak"):
        table.add_column(column, justify="left" if column == "command" else "right")
    clock = server_time(url)
    for name, args in {**commands(RUNS), **launches(RUNS)}.items():
        took = run(url, args, clock)
        table.add_row(name if took.code in (0, 1) else f"{name}: exit code {took.code}", *_cells(took))
    console.print(table)


def _cells(took: Took) -> list[str]:
    first = human(took.first) if took.first is not None else ""
    server = human(took.server) if took.server else ""
    return [human(took.seconds), first, human(took.cpu), server, f"{took.memory:,.0f} MB"]


def measure(kind: str, url: str) -> None:
    """Ask each question once, and prune in the end."""
    ledger = SqlLedger(url)
    ledger.list_runs(limit=1)
    table = Table(title=f"{kind}: a ledger of {RUNS:,} runs", caption="budget: 1 s a command", title_justify="left")
    for column in ("what", "time", "memory, peak so far"):
        table.add_column(column, justify="left" if column == "what" else "right")
    asked = questions(ledger)
    asked["prune half of it"] = lambda: ledger.prune(BEGUN + timedelta(seconds=20 * RUNS // 2))
    for name, ask in asked.items():
        start = time.perf_counter()
        ask()
        took = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        table.add_row(name, human(took), f"{peak:,} MB")
    console.print(table)
    ledger.close()


if __name__ == "__main__":
    main()
