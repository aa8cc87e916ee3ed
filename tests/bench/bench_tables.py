"""What a frame between two steps costs beside what engines have of their own, and a stream of 2 GB.

All ways take turns, each in a process of its own, so that what else the machine does meets all alike. "By hand" are
two plain tasks or assets of the same engine, one of which calls ``to_parquet`` and the other ``read_parquet``: what an
engine takes for tasks is not ours. The IO manager of dagster-duckdb-pandas needs pandas 2: an environment of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from report import console
from rich.table import Table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
#: Rows, and how many times each way is measured.
SIZES = {10_000: 15, 100_000: 11, 1_000_000: 11}


class Way(NamedTuple):
    """One way to hand a frame on."""

    name: str
    words: str
    #: What it is compared with.
    by_hand: str
    #: The requirements of its environment, if that is another one.
    environment: str | None = None


DUCKDB = "dagster-duckdb-pandas"
WAYS = (
    Way("parquet", "to_parquet, read_parquet", "parquet"),
    Way("here", "two steps here, with a ledger", "parquet"),
    Way("dagster_parquet", "Dagster: by hand", "dagster_parquet"),
    Way("dagster", "Dagster: two step assets", "dagster_parquet"),
    Way("dagster_fs", "Dagster: filesystem IO manager", "dagster_parquet"),
    Way("dagster_parquet", "Dagster, pandas 2: by hand", "dagster_parquet", DUCKDB),
    Way("dagster", "Dagster, pandas 2: two step assets", "dagster_parquet", DUCKDB),
    Way("dagster_duckdb", f"Dagster, pandas 2: {DUCKDB}", "dagster_parquet", DUCKDB),
    Way("airflow_parquet", "Airflow: by hand", "airflow_parquet"),
    Way("airflow", "Airflow: two steps", "airflow_parquet"),
    Way("airflow_xcom", "Airflow: object-storage XCom", "airflow_parquet"),
)


def environment(name: str | None) -> str:
    """Return the Python of an environment; one that is not there yet is made of a file beside this one."""
    if name is None:
        return sys.executable
    python = ROOT / ".cache" / "bench" / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    for what in (["-r", HERE / f"{name}.txt"], ["--no-deps", "--editable", ROOT]):
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, *what]
        subprocess.run(command, check=True)
    return str(python)


class Process:
    """A way to hand frames on, ready to be called."""

    def __init__(self, way: Way, rows: int, folder: Path) -> None:
        command = [environment(way.environment), HERE / "table_case.py", way.name, str(rows), folder]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.found: list[dict[str, float]] = []

    def answer(self) -> str:
        """Return its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def call(self) -> None:
        """Hand a frame on once."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.found.append(json.loads(self.answer()))

    def figures(self) -> dict[str, float]:
        """Return what its calls took: times of all, memory and files of the first."""
        walls, cpus = ([1e3 * found[what] for found in self.found] for what in ("wall", "cpu"))
        peak, size = (self.found[0][what] / 1e6 for what in ("peak", "bytes"))
        times = {"ms": statistics.median(walls), "ms at best": min(walls), "ms of CPU": statistics.median(cpus)}
        return {**times, "peak MB": peak, "MB on disk": size}


def measured(rows: int, rounds: int) -> dict[Way, Process]:
    """Hand frames on in all ways, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        processes = {way: Process(way, rows, Path(folder, str(i))) for i, way in enumerate(WAYS)}
        for way, process in processes.items():
            assert process.answer() == "ready\n", way
        for _ in range(rounds):
            for process in processes.values():
                process.call()
        for process in processes.values():
            process.process.communicate()
    return processes


def show(rows: int, processes: dict[Way, Process]) -> None:
    """Print what they took; in brackets, how many times what it takes by hand."""
    found = {way: process.figures() for way, process in processes.items()}
    named = {(way.name, way.environment): figures for way, figures in found.items()}
    table = Table("how", *found[WAYS[0]], title=f"A frame of {rows:,} rows x 10 between two steps")
    for way, figures in found.items():
        base = named[way.by_hand, way.environment]
        shown = (
            f"{n:.3g}" + (f" ({n / base[what]:.2f}x)" if figures is not base else "") for what, n in figures.items()
        )
        table.add_row(way.words, *shown)
    console.print(table)


def program(name: str, *args: object) -> dict[str, Any]:
    """Run a program of this folder and return what it prints."""
    command = [sys.executable, str(HERE / name), *map(str, args)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the tables, and what a stream takes."""
    for rows, rounds in SIZES.items():
        show(rows, measured(rows, rounds))
    console.print("budget: 1.3x of the same by hand in time and memory, and the smallest on disk")
    with tempfile.TemporaryDirectory() as folder:
        found = program("streaming.py", folder, 2048)
    console.print(
        f"A stream of 2 GB: written in {found['write']:.0f} s, read in {found['read']:.0f} s, "
        f"{found['peak']:.0f} MB at the peak of {found['before']:.0f} MB before (budget: 300 MB)"
    )


if __name__ == "__main__":
    main()
