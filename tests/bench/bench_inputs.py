"""What reading twenty earlier outputs costs beside reading twenty Parquet files by hand."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from report import console
from rich.table import Table

from flowctx import Backfill, Daily, PartitionScheme, Workflow, run
from flowctx.backfill import LocalLauncher
from flowctx.backfill.again import RunsAgain
from flowctx.backfill.order import InputOrder
from flowctx.core.batches.records import Job, PartitionRun, PartitionState
from flowctx.ledger import open_ledger

DAYS, ROWS, REPEATS = 20, 10_000, 15
SCHEME = PartitionScheme(date=Daily(start="2026-01-01", end="2026-01-31"))


def frame(seed: int) -> pa.Table:
    """A table of ten columns of floats."""
    columns = np.random.default_rng(seed).random((10, ROWS))
    return pa.table({f"c{i}": column for i, column in enumerate(columns)})


def by_hand(folder: Path, rows: bool) -> Callable[[], object]:
    """Return what reads twenty files and joins them; plain outputs are tables of one row."""
    for day in range(DAYS):
        pq.write_table(frame(day) if rows else pa.table({"n": [day]}), folder / f"{day}.parquet", compression="zstd")
    return lambda: pa.concat_tables([pq.read_table(folder / f"{day}.parquet") for day in range(DAYS)])


def as_input(folder: Path, rows: bool) -> Callable[[], object]:
    """Return what reads the window of the last date through an input, inside a step."""
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    made = Workflow("made", partitions=SCHEME)
    made.step(name="load")(lambda ctx: {"n": ctx.key.date, **({"rows": frame(ctx.as_of_date.day)} if rows else {})})
    for key in SCHEME.select(f"date=2026-01-01..2026-01-{DAYS}"):
        run(made, partition=key, ledger=ledger).raise_for_failure()
    return lambda: _read(made, ledger, rows)


def _read(made: Workflow, ledger: Any, rows: bool) -> object:
    from flowctx.core.durability.reading import StepInputs
    from flowctx.testing import make_context

    reader = Workflow("reader", partitions=SCHEME)
    reader.step(name="use", inputs={"window": made.output("load").previous(DAYS)})(lambda ctx, *, window: None)
    ctx = make_context(partition=SCHEME.key(date=f"2026-01-{DAYS + 1}"))
    from flowctx.artifacts import artifact_store

    window = StepInputs(ledger, reader["use"], ctx, store=artifact_store(ledger)).load()["window"]
    assert len(window) == DAYS
    return window.table("rows").to_arrow() if rows else [output["n"] for output in window.values()]


#: A batch without inputs, and one whose dates follow each other: 20 chains of 100 dates.
DATES = Daily(start="2026-01-01", end="2026-04-10")
FUNDS = [f"F{number:02}" for number in range(20)]
plain, chained = (Workflow(name, partitions=PartitionScheme(fund=FUNDS, date=DATES)) for name in ("plain", "chained"))
for _flow, _inputs in ((plain, None), (chained, {"before": chained.output("value").previous()})):
    _flow.step(name="value", inputs=_inputs)(lambda ctx, **found: {"n": 1})


def batch_seconds() -> float:
    """The seconds that each partition of a batch without inputs takes here, with two workers."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(f"sqlite:///{folder}/ledger.db")
        began = time.perf_counter()
        progress = Backfill(plain, None, "b", ledger=ledger).launch(LocalLauncher(ledger, 2))
        return (time.perf_counter() - began) / progress.total


def order_seconds(flow: Workflow) -> float:
    """The seconds that it takes to hand out a partition and to take in its end, and nothing else."""
    backfill = Backfill(flow, None, "b", ledger="memory://")
    work = InputOrder([flow], backfill.iter_work("local", RunsAgain()), "local")
    began, under_way = time.perf_counter(), deque[Job]()
    for item in work:
        if isinstance(item, Job):
            under_way.append(item)
        if len(under_way) >= 4 or item is None:
            work.ended(_done(under_way.popleft()))
    return (time.perf_counter() - began) / len(backfill.selection)


def _done(job: Job) -> PartitionRun:
    now = datetime.now(UTC)
    return PartitionRun(
        partition=job.partition, state=PartitionState.OK, run_id=job.run_id, engine="local", last_seen_at=now
    )


def listed_seconds() -> float:
    """The seconds that it takes to hand out a partition where there is no order."""
    backfill = Backfill(plain, None, "b", ledger="memory://")
    began = time.perf_counter()
    deque(backfill.iter_work("local", RunsAgain()), maxlen=0)
    return (time.perf_counter() - began) / len(backfill.selection)


def medians(*works: Callable[[], object]) -> list[float]:
    """The median times of some works in turn, so that what else the machine does slows all of them."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(1 + REPEATS):  # the first one warms up
        for work, found in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            found.append(time.perf_counter() - began)
    return [statistics.median(found[1:]) for found in times]


def main() -> None:
    """Print both cases."""
    table = Table("twenty outputs", "by hand, ms", "as an input, ms", "times", title="Reading earlier outputs (<= 2)")
    for words, rows in (("plain", False), (f"tables of {ROWS:,} x 10", True)):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            hand, ours = medians(by_hand(Path(one), rows), as_input(Path(other), rows))
        table.add_row(words, f"{hand * 1e3:.2f}", f"{ours * 1e3:.2f}", f"{ours / hand:.2f}")
    console.print(table)
    plainly, ordered, listed = batch_seconds(), order_seconds(chained), listed_seconds()
    table = Table("a partition", "ms", title="Order of a batch (<= 10 % of a batch without inputs)")
    table.add_row("batch without inputs, two workers", f"{plainly * 1e3:.3f}")
    table.add_row("handing out 20 chains in order", f"{ordered * 1e3:.3f}")
    table.add_row("handing out without an order", f"{listed * 1e3:.3f}")
    table.add_row("the order costs", f"{(ordered - listed) / plainly:.1%}")
    console.print(table)


if __name__ == "__main__":
    main()
