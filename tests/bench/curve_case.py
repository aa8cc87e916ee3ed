"""One point of the curve: ``curve_case.py URL PARTITIONS WORKERS`` runs a batch and prints what it took as JSON.

The workflow has five steps as those of the example, which return plain values: what is measured is the batch, not the
writing of tables.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from flowctx import Backfill, Daily, PartitionScheme, StepResult, Workflow, WorkflowContext
from flowctx.backfill import LocalLauncher
from flowctx.ledger import open_ledger

#: 365 dates of 300 desks: 109,500 partitions.
DESKS = tuple(f"{number:03}" for number in range(300))
curve = Workflow("curve", partitions=PartitionScheme(date=Daily(start="2022-01-01", end="2022-12-31"), desk=DESKS))


@curve.step()
def load(ctx: WorkflowContext) -> dict[str, Any]:
    """Return a position and its prices."""
    desk = int(ctx.key.desk)
    return {"open": 100.0 + desk, "close": 100.0 + (desk * 7) % 11, "volume": desk * 1000, "date": ctx.as_of_date}


@curve.step()
def check(ctx: WorkflowContext) -> StepResult:
    """Return how far the price moved."""
    row = ctx.get_output("load")
    return StepResult.ok({"move": row["close"] / row["open"] - 1}, context_updates={"checked": True})


@curve.step(after=[check])
def value(ctx: WorkflowContext) -> dict[str, Any]:
    """Return what the position is worth."""
    row = ctx.get_output("load")
    return {"value": row["close"] * row["volume"]}


@curve.step(after=[check])
def risk(ctx: WorkflowContext) -> dict[str, Any]:
    """Return what may be lost."""
    return {"risk": abs(ctx.get_output("check", "move"))}


@curve.step(after=[value, risk])
def report(ctx: WorkflowContext) -> dict[str, Any]:
    """Join the branches."""
    return {"desk": ctx.key.desk, "value": ctx.get_output("value", "value"), "risk": ctx.get_output("risk", "risk")}


def selected(partitions: int) -> str:
    """Return the selection of at least so many partitions, date by date."""
    assert curve.partitions is not None
    days = -(-partitions // len(DESKS))
    return f"date=first:{days}"


def main(url: str, partitions: int, workers: int) -> None:
    """Run a batch of its own, and print partitions, seconds, seconds of processors and megabytes."""
    from curve_case import curve as flow  # by the name that workers import it by

    ledger = open_ledger(url)
    backfill = Backfill(flow, selected(partitions), f"curve-{partitions}-{workers}", ledger=ledger)
    ledger.batches.all(1)  # its tables are made
    spent, started = time.process_time(), time.perf_counter()
    progress = backfill.launch(LocalLauncher(ledger, workers))
    seconds, spent = time.perf_counter() - started, time.process_time() - spent
    assert progress.complete, progress
    theirs = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "partitions": len(backfill.selection),
                "seconds": seconds,
                "launcher": spent,
                "workers": theirs.ru_utime + theirs.ru_stime,
                "launcher_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "worker_mb": theirs.ru_maxrss / 1024,
            }
        )
    )
    ledger.close()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
