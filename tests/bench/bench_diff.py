"""What differs between two tables of a million rows and ten columns, beside DuckDB and datacompy (where installed)."""

from __future__ import annotations

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bench_tables import program
from report import console
from rich.table import Table

from flowctx.artifacts import PathArtifactStore
from flowctx.core.data.tables import take_table

ROWS = 1_000_000
CASES = {"here": "flowctx diff", "duckdb": "a full join of DuckDB's", "datacompy": "datacompy with polars"}
ROUNDS = 3


def write(folder: Path) -> None:
    """Write two tables: 1,000 cells changed, 10 rows added, 10 removed, and the new one shuffled."""
    rng = np.random.default_rng(1)
    columns: dict[str, Any] = {"d": np.repeat(np.arange(ROWS // 5), 5)}
    columns["sym"] = np.tile(np.array(["AAPL", "FB", "GOOG", "IBM", "MSFT"]), ROWS // 5)
    columns |= {f"f{i}": rng.random(ROWS) for i in range(5)} | {f"i{i}": rng.integers(0, 99, ROWS) for i in range(2)}
    columns["s"] = rng.choice(np.array(["alpha", "beta", "gamma"]), ROWS)
    other = {name: values.copy() for name, values in columns.items()}
    other["f0"][rng.choice(ROWS - 10, 1000, replace=False)] += 1
    other["d"][-10:] += ROWS
    order = rng.permutation(ROWS)
    store = PathArtifactStore(folder / "store")
    for name, some in (("old", columns), ("new", {key: values[order] for key, values in other.items()})):
        frame = pa.table(some)
        pq.write_table(frame, folder / f"{name}.parquet", compression="zstd")
        stored = take_table(frame, name)
        assert stored is not None
        (folder / f"{name}.json").write_text(json.dumps(store.put_table(stored).reference.to_json()))


def main() -> None:
    """Print seconds and memory of each, side by side."""
    table = Table("how", "seconds", "peak MB", "found", title=f"Two tables of {ROWS:,} x 10, best of {ROUNDS}")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for case, words in CASES.items():
            if case != "here" and find_spec(case) is None:
                continue
            rounds = [program("diff_case.py", case, folder) for _ in range(ROUNDS)]
            best = min(rounds, key=lambda found: float(found["seconds"]))
            cells, added, removed = best["found"]
            counts = f"{cells} cells, {added} added, {removed} removed"
            table.add_row(words, f"{best['seconds']:.3g}", f"{best['peak'] / 1e6:.3g}", counts)
    console.print(table)


if __name__ == "__main__":
    main()
