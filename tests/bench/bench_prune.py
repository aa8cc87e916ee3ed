"""A batch of two workers alone, and with a prune beside it: partitions a second, and runs that are forgotten.

13,000 runs are forgotten; ``FLOWCTX_BENCH_PRUNED=5000`` for another number.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_ledger import postgres_url
from curve_case import curve
from large_ledger import BATCH, fill
from report import console, human
from rich.table import Table

from flowctx.ledger.sql import SqlLedger

#: Runs that a later batch has replaced.
PRUNED = int(os.environ.get("FLOWCTX_BENCH_PRUNED", "13000"))
#: How long the batch is looked at alone.
ALONE_SECONDS = 15
COMMAND = [sys.executable, "-m", "flowctx"]


def main() -> None:
    """Fill both databases, and print both rates of each."""
    table = Table(title=f"A batch of two workers, and a prune of {PRUNED:,} old runs beside it", title_justify="left")
    for column in ("ledger", "partitions/s alone", "beside the prune", "ratio", "the prune", "runs forgotten"):
        table.add_column(column, justify="left" if column == "ledger" else "right")
    with tempfile.TemporaryDirectory(prefix="flowctx-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a server run by root is another user's
        os.environ["FLOWCTX_ARTIFACTS_URL"] = str(folder / "artifacts")
        with postgres_url(folder) as postgres:
            sqlite = f"sqlite:///{folder / 'ledger.db'}"
            fill([sqlite, postgres], BATCH + PRUNED)
            for kind, url in (("SQLite", sqlite), ("PostgreSQL", postgres)):
                table.add_row(kind, *beside(url))
    console.print(table)


def beside(url: str) -> list[str]:
    """Run a batch, look how fast it is alone and beside a prune, and stop it."""
    env, here, ledger = {**os.environ, "FLOWCTX_LEDGER_URL": url}, Path(__file__).parent, SqlLedger(url)
    launch = [*COMMAND, "backfill", "curve_case:curve", "--batch", "beside", "--workers", "2"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(launch, env=env, cwd=here, **quiet) as batch:
        while not ended(ledger):
            time.sleep(0.5)
        before, started = ended(ledger), time.perf_counter()
        time.sleep(ALONE_SECONDS)
        alone = (ended(ledger) - before) / (time.perf_counter() - started)
        before, started = ended(ledger), time.perf_counter()
        prune = [*COMMAND, "ledger", "prune", "--days", "30", "--json"]
        stdout = subprocess.run(prune, env=env, check=True, capture_output=True, text=True).stdout
        took = time.perf_counter() - started
        with_prune = (ended(ledger) - before) / took
        assert batch.poll() is None, "the batch ended before the prune: look at fewer runs"
        batch.send_signal(signal.SIGINT)
    ledger.close()
    ratio = f"{with_prune / alone:.2f}×"
    return [f"{alone:,.0f}", f"{with_prune:,.0f}", ratio, human(took), f"{json.loads(stdout)['runs']:,}"]


def ended(ledger: SqlLedger) -> int:
    """Return how many partitions of the batch have ended."""
    return sum(ledger.batches.count_outcomes("beside", curve.name).values())


if __name__ == "__main__":
    main()
