"""What a frame between two steps costs beside plain Parquet and Dagster's pickles, and a stream of 2 GB."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from report import console
from rich.table import Table

SIZES = (10_000, 100_000, 1_000_000)
CASES = {
    "parquet": "to_parquet, read_parquet",
    "here": "two steps here, with a ledger",
    "dagster": "two step assets",
    "dagster_fs": "two plain assets, filesystem IO manager",
    "airflow": "two steps on Airflow, in one process",
    "airflow_xcom": "two plain tasks there, object-storage XCom",
}
HERE = Path(__file__).parent


def program(name: str, *args: object) -> dict[str, Any]:
    """Run a program of this folder and return what it prints."""
    command = [sys.executable, str(HERE / name), *map(str, args)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print both tables."""
    table = Table("rows x 10", "how", "seconds", "peak MB", "MB on disk", title="A frame between two steps")
    for rows in SIZES:
        for case, words in CASES.items():
            with tempfile.TemporaryDirectory() as folder:
                found = program("table_case.py", case, rows, folder)
            numbers = (found["seconds"], found["peak"] / 1e6, found["bytes"] / 1e6)
            table.add_row(f"{rows:,}", words, *(f"{number:.3g}" for number in numbers))
    console.print(table)
    with tempfile.TemporaryDirectory() as folder:
        found = program("streaming.py", folder, 2048)
    console.print(
        f"A stream of 2 GB: written in {found['write']:.0f} s, read in {found['read']:.0f} s, "
        f"{found['peak']:.0f} MB at the peak of {found['before']:.0f} MB before (budget: 300 MB)"
    )


if __name__ == "__main__":
    main()
