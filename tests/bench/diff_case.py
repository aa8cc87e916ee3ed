"""One way to compare two tables of 10 columns, in a process of its own: ``diff_case.py NAME FOLDER``.

Prints JSON: seconds, memory at its peak beyond what was there before, and what was found.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

KEYS = ("d", "sym")
NAMES = ("old.parquet", "new.parquet")


def here(folder: Path) -> Callable[[], tuple[int, int, int]]:
    """Ours."""
    from flowctx.artifacts.changed_cells import Comparison
    from flowctx.artifacts.differences import compare_tables
    from flowctx.core.data.references import TableReference
    from flowctx.core.data.tables import Table

    old, new = (
        Table(
            TableReference.from_json(json.loads((folder / name).with_suffix(".json").read_text())), store=_store(folder)
        )
        for name in NAMES
    )

    def call() -> tuple[int, int, int]:
        found = compare_tables(old, new, Comparison(key=KEYS))
        return found.cells, found.added, found.removed

    return call


def _store(folder: Path) -> object:
    from flowctx.artifacts import PathArtifactStore

    return PathArtifactStore(folder / "store")


def duckdb(folder: Path) -> Callable[[], tuple[int, int, int]]:
    """A full join of DuckDB's, which counts."""
    import duckdb as library

    def call() -> tuple[int, int, int]:
        at = library.connect()
        old, new = (f"read_parquet('{folder / name}')" for name in NAMES)
        columns = [row[0] for row in at.sql(f"describe select * from {old}").fetchall() if row[0] not in KEYS]
        both = "o.d is not null and n.d is not null"
        cells = " + ".join(f"count(*) filter ({both} and o.{name} is distinct from n.{name})" for name in columns)
        sides = "count(*) filter (o.d is null), count(*) filter (n.d is null)"
        on = " and ".join(f"o.{key} = n.{key}" for key in KEYS)
        found = at.sql(f"select {cells}, {sides} from {old} o full join {new} n on {on}").fetchall()[0]
        return int(found[0]), int(found[1]), int(found[2])

    return call


def datacompy(folder: Path) -> Callable[[], tuple[int, int, int]]:
    """Datacompy, with polars."""
    import datacompy as library
    import polars as pl

    def call() -> tuple[int, int, int]:
        old, new = (pl.read_parquet(folder / name) for name in NAMES)
        found = library.PolarsCompare(old, new, join_columns=list(KEYS))
        cells = sum(column["unequal_cnt"] for column in found.column_stats)
        return cells, len(found.df2_unq_rows), len(found.df1_unq_rows)

    return call


def _peak() -> int:
    """Return the most memory that this process has had; what getrusage says begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    """Run one case."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    call = {"here": here, "duckdb": duckdb, "datacompy": datacompy}[name](folder)
    before = _peak()
    start = time.perf_counter()
    found = call()
    seconds = time.perf_counter() - start
    peak = _peak() - before
    print(json.dumps({"seconds": seconds, "peak": peak, "found": found}))


if __name__ == "__main__":
    main()
