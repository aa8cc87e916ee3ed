"""Business-day look-ups beside exchange_calendars, and a million keys beside Dagster's own list of as many."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from datetime import UTC, date, datetime
from itertools import islice

from report import compare, console, measure, show

from flowctx import WEEKDAYS, Daily, PartitionScheme
from flowctx.core.dates.calendar import get_calendar

DAY = date(2012, 10, 29)
SYMBOLS = [f"S{i:02}" for i in range(100)]


def a_million_keys() -> PartitionScheme:
    """Ten thousand days by a hundred symbols."""
    return PartitionScheme(date=Daily(start="2000-01-01", end="2027-05-18"), symbol=SYMBOLS)


def look_ups() -> None:
    """Time each look-up beside the same one of exchange_calendars, on the same sessions."""
    import exchange_calendars
    import pandas

    ours = get_calendar("XNYS")
    theirs = exchange_calendars.get_calendar("XNYS", start="1990-01-01", end="2039-12-31")
    stamp, low, high = pandas.Timestamp(DAY), pandas.Timestamp("2012-01-03"), pandas.Timestamp("2012-12-31")
    a, b = low.date(), high.date()
    for name, mine, other in [
        ("is_session", lambda: ours.is_session(DAY), lambda: theirs.is_session(stamp)),
        ("previous", lambda: ours.previous(DAY), lambda: theirs.date_to_session(stamp, "previous")),
        ("next", lambda: ours.next(DAY), lambda: theirs.date_to_session(stamp, "next")),
        ("count of a year", lambda: ours.count(a, b), lambda: len(theirs.sessions_in_range(low, high))),
    ]:
        calls = {f"flowctx XNYS {name}": mine, f"exchange_calendars {name}": other}
        compare(f"A business-day look-up: {name}", calls, repeat=2_000, budget="2 µs")
    compare("Without a table", {"WEEKDAYS.previous": lambda: WEEKDAYS.previous(DAY)}, repeat=2_000, budget="2 µs")


def loading() -> None:
    """Time a fresh process that loads XNYS from a warm cache, less one that only imports flowctx."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "FLOWCTX_CACHE_DIR": folder}

        def run(code: str) -> float:
            return measure(
                lambda: subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, check=True),
                rounds=5,
                repeat=1,
            )

        load = "from flowctx.core.dates.calendar import get_calendar; get_calendar('XNYS')"
        run(load)
        only, warm, theirs = (
            run("import flowctx"),
            run(load),
            run("import exchange_calendars as e; e.get_calendar('XNYS')"),
        )
        show(
            "A calendar in a fresh process",
            {
                "flowctx, warm cache (beyond import)": max(warm - only, 1e-4),
                "import flowctx": only,
                "exchange_calendars": theirs,
            },
            unit="a process",
        )


def million_keys() -> None:
    """Time the first key, all keys and random ones; list Dagster's own million in the same run."""
    scheme = a_million_keys()
    show(
        "A scheme of 1,000,000 keys",
        {
            "made, and its first key": measure(lambda: next(iter(a_million_keys())), rounds=5, repeat=1),
            "counted": measure(lambda: len(a_million_keys()), rounds=5, repeat=1),
        },
        budget="first key 50 ms",
    )
    keys = [scheme[i] for i in range(0, len(scheme), 997)]
    texts = [scheme.text(key) for key in keys]
    show(
        "One key of a million",
        {
            "scheme at i": measure(lambda: [scheme[i * 997] for i in range(len(keys))], rounds=5, repeat=1) / len(keys),
            "scheme.index(key)": measure(lambda: [scheme.index(key) for key in keys], rounds=5, repeat=1) / len(keys),
            "scheme.parse(text)": measure(lambda: [scheme.parse(text) for text in texts], rounds=5, repeat=1)
            / len(keys),
            "scheme.window(key)": measure(lambda: [scheme.window(key) for key in keys], rounds=5, repeat=1) / len(keys),
        },
        budget="random access 10 µs",
        unit="a key",
    )
    show(
        "All 1,000,000 keys as a list",
        {
            "list(scheme)": measure(lambda: list(scheme), rounds=3, repeat=1),
            "Dagster get_partition_keys": dagster_list(),
        },
        budget="3 s",
        unit="a list",
    )
    memory(scheme)


def dagster_list() -> float:
    """Time Dagster's list of the same keys, once: it takes long and is cached."""
    import dagster

    both = dagster.MultiPartitionsDefinition(
        {
            "date": dagster.DailyPartitionsDefinition(start_date="2000-01-01", end_date="2027-05-19"),
            "symbol": dagster.StaticPartitionsDefinition(SYMBOLS),
        }
    )

    start = time.perf_counter()
    keys = both.get_partition_keys(current_time=datetime(2027, 6, 1, tzinfo=UTC))
    seconds = time.perf_counter() - start
    assert len(keys) == 1_000_000, len(keys)
    return seconds


def memory(scheme: PartitionScheme) -> None:
    """Print the most memory that going through a tenth of the keys, a union and a shard take."""
    tracemalloc.start()
    for _ in islice(scheme, 100_000):
        pass
    going = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    made = (scheme.keys() - scheme.select("date=2012-01-01..2012-12-31")) | scheme.select("symbol=S07")
    assert len(made[0::8]) == (1_000_000 - 366 * 99 + 7) // 8
    sets = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    console.print(f"peak memory: {going / 1e3:.0f} kB going through keys, {sets / 1e3:.0f} kB combining selections\n")


def main() -> None:
    """Run them all."""
    warnings.simplefilter("ignore")
    look_ups()
    loading()
    million_keys()
