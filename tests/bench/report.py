"""Time callables side by side in one run and print their ratios; absolute times mean little on a shared machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

console = Console()


def measure(
    call: Callable[[], object], *, rounds: int, repeat: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the median seconds per call over ``rounds`` rounds of ``repeat`` calls each."""
    times = []
    for _ in range(rounds):
        start = clock()
        for _ in range(repeat):
            call()
        times.append((clock() - start) / repeat)
    return statistics.median(times)


def compare(
    title: str,
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 5,
    repeat: int = 1,
    budget: str = "",
    clock: Callable[[], float] = time.perf_counter,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, float]:
    """Time each call, in turn and round by round, and print a table; ratios are to the first row.

    Args:
        title: What is compared.
        calls: Name and callable; the first is the one the others are compared with.
        rounds: Rounds; all calls take turns in each, so that drift hits them assert_same_as_local.
        repeat: Calls per round.
        budget: The budget of the first row, printed in the caption.
        clock: What tells the time; ``time.process_time`` counts only that of this process's own.
        before: By name, what is done before each round of a call, and once before the first; it is not timed.

    Returns:
        Median seconds per call, by name.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    prepare = before or {}
    for name, call in calls.items():
        prepare.get(name, bool)()
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            prepare.get(name, bool)()
            samples[name].append(measure(call, rounds=1, repeat=repeat, clock=clock))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    show(title, medians, budget=budget)
    return medians


def show(title: str, seconds: Mapping[str, float], *, budget: str = "", unit: str = "a call") -> None:
    """Print one table of already measured seconds; ratios are to the first row."""
    table = Table(title=title, caption=f"budget: {budget}" if budget else None, title_justify="left")
    for column in ("what", f"time {unit}", "ratio"):
        table.add_column(column, justify="left" if column == "what" else "right")
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        table.add_row(name, human(value), f"{value / first:.2f}×")
    console.print(table)


def human(seconds: float) -> str:
    """Write seconds with the unit that fits: ns, µs, ms or s."""
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.1f} {unit}"
    return f"{seconds:.2f} s"
