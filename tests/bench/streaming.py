"""Stream a table through a store in a process of its own, and say what it took; for the benchmark and the tests.

``python streaming.py URL MEGABYTES`` prints JSON: the memory before and at the peak, seconds, and bytes stored.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

import flowctx.artifacts.library  # noqa: F401  # loaded before memory is measured
from flowctx import StepResult
from flowctx.artifacts import PathArtifactStore

ROWS = 65_536


def batches(megabytes: int) -> Iterator[pa.RecordBatch]:
    """Yield batches of 16 columns of numbers, 8 MB each."""
    rng = np.random.default_rng(1)
    for number in range(megabytes // 8):
        columns = {f"c{i}": rng.integers(0, 1000, ROWS) + number for i in range(16)}
        yield pa.record_batch(columns)


def memory() -> tuple[float, float]:
    """Return the resident memory now and at its peak, in MB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def main(url: str, megabytes: int) -> None:
    """Write and read."""
    store = PathArtifactStore(url)
    next(batches(8))
    before, _ = memory()
    started = time.perf_counter()
    table = store.put_table(StepResult.ok(batches(megabytes)).output["table"])
    written, (_, write_peak) = time.perf_counter(), memory()
    rows = sum(batch.num_rows for batch in table.batches())
    assert rows == table.rows == megabytes // 8 * ROWS
    _, peak = memory()
    found = {"before": before, "write_peak": write_peak, "peak": peak, "bytes": table.bytes}
    print(json.dumps({**found, "write": written - started, "read": time.perf_counter() - written}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
