"""What reading twenty earlier outputs costs beside reading twenty Parquet files by hand."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from report import console
from rich.table import Table

from flowctx import Daily, PartitionScheme, Workflow, run
from flowctx.ledger import open_ledger

DAYS, ROWS, REPEATS = 20, 10_000, 15
SCHEME = PartitionScheme(date=Daily(start="2026-01-01", end="2026-01-31"))


def frame(seed: int) -> pa.Table:
    """A table of ten columns of floats."""
    columns = np.random.default_rng(seed).random((10, ROWS))
    return pa.table({f"c{i}": column for i, column in enumerate(columns)})


def by_hand(folder: Path, rows: bool) -> float:
    """Read twenty files and join them; plain outputs are tables of one row."""
    for day in range(DAYS):
        pq.write_table(frame(day) if rows else pa.table({"n": [day]}), folder / f"{day}.parquet", compression="zstd")
    return median(lambda: pa.concat_tables([pq.read_table(folder / f"{day}.parquet") for day in range(DAYS)]))


def as_input(folder: Path, rows: bool) -> float:
    """Read the window of the last date through an input, inside a step."""
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    made = Workflow("made", partitions=SCHEME)
    made.step(name="load")(lambda ctx: {"n": ctx.key.date, **({"rows": frame(ctx.as_of_date.day)} if rows else {})})
    for key in SCHEME.select(f"date=2026-01-01..2026-01-{DAYS}"):
        run(made, partition=key, ledger=ledger).raise_for_failure()
    return median(lambda: _read(made, ledger, rows))


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


def median(work: Callable[[], object]) -> float:
    """The median time of some repetitions, after one that warms up."""
    work()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    """Print both cases."""
    table = Table("twenty outputs", "by hand, ms", "as an input, ms", "times", title="Reading earlier outputs (<= 2)")
    for words, rows in (("plain", False), (f"tables of {ROWS:,} x 10", True)):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            hand, ours = by_hand(Path(one), rows), as_input(Path(other), rows)
        table.add_row(words, f"{hand * 1e3:.2f}", f"{ours * 1e3:.2f}", f"{ours / hand:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
