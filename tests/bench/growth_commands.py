"""Each command on a ledger of many runs: seconds, and processor time of the command and of the database's server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from large_ledger import BATCH, BEGUN, WORKFLOW, partition, run_id

HERE = Path(__file__).parent
FLOW = "growth_flow:growth"
#: A day of a hundred partitions, and a partition.
DAY, ONE = f"date={partition(0).date}", str(partition(7)).replace("|", ",")


class Took(NamedTuple):
    """What a command took."""

    #: From its start to its end.
    seconds: float
    #: Processor time of its processes.
    cpu: float
    #: Processor time of the database's server; 0 where there is none.
    server: float
    #: From its start until the first step ran; None where none did.
    first: float | None
    #: Its exit code.
    code: int
    #: The most memory of one of its processes, in MB.
    memory: float


def commands(runs: int) -> dict[str, list[str]]:
    """Return commands that only read, by what is written of them; of a ledger of so many runs."""
    last, before = runs // BATCH, runs // BATCH - 1
    whole, earlier = f"b{before}", f"b{before - 1}"
    page = str(Path(tempfile.gettempdir(), f"flowctx-bench-{os.getpid()}.html"))
    return {
        "--version": ["--version"],
        "runs": ["runs"],
        "runs --status failed": ["runs", "--status", "failed"],
        "runs --status running (none)": ["runs", "--status", "running"],
        "runs --workflow": ["runs", "--workflow", WORKFLOW],
        "runs --workflow --status running (none)": ["runs", "--workflow", WORKFLOW, "--status", "running"],
        "runs --batch": ["runs", "--batch", whole],
        "runs --batch --status failed": ["runs", "--batch", whole, "--status", "failed"],
        "runs --batch --status running (none)": ["runs", "--batch", whole, "--status", "running"],
        "runs --partition": ["runs", "--partition", ONE],
        "runs --batch --partition": ["runs", "--batch", whole, "--partition", ONE],
        "show RUN": ["show", run_id(7777)],
        "show the beginning of RUN": ["show", run_id(BATCH * before + 777)[:-4]],
        "show RUN --lineage": ["show", run_id(BATCH * before + 7), "--lineage"],
        "captures (the latest 1,000)": ["captures", WORKFLOW],
        "captures --partition": ["captures", WORKFLOW, "--partition", ONE],
        f"batches (20 of {BATCH:,})": ["batches"],
        f"status of {BATCH:,}": ["status", whole],
        "status --json": ["status", whole, "--json"],
        "status --workflow": ["status", whole, "--workflow", FLOW],
        "status --html": ["status", whole, "--html", page],
        "status --workflow, half of it missing": ["status", f"b{last}", "--workflow", FLOW],
        "output of 100": ["output", FLOW, "fetch", "--select", DAY],
        "output --batch of 100": ["output", FLOW, "fetch", "--batch", whole, "--select", DAY],
        f"output of {BATCH:,}": ["output", FLOW, "fetch", "--to", "csv", "--file", os.devnull],
        "output --to json": ["output", FLOW, "fetch", "--to", "json"],
        "diff of 100": ["diff", FLOW, "--batch", earlier, "--with", whole, "--select", DAY],
        f"diff of {BATCH:,}": ["diff", FLOW, "--batch", earlier, "--with", whole, "--limit", "5"],
        "stale of 100": ["stale", FLOW, "--select", DAY],
        f"stale of {BATCH:,}": ["stale", FLOW],
        "replay RUN STEP": ["replay", run_id(BATCH * before + 7), "check"],
        "graph": ["graph", FLOW],
        "doctor": ["doctor", FLOW],
        "ledger prune --dry-run, a hundredth is old": ["ledger", "prune", "--dry-run", "--days", _days(runs // 100)],
        "ledger prune --dry-run, half is old": ["ledger", "prune", "--dry-run", "--days", _days(runs // 2)],
        "ledger keep": ["ledger", "keep", "b0"],
        "ledger keep --undo": ["ledger", "keep", "b0", "--undo"],
        "backfill --dry-run, complete": ["backfill", FLOW, "--batch", whole, "--dry-run"],
        "backfill --dry-run, half is complete": ["backfill", FLOW, "--batch", f"b{last}", "--dry-run"],
        "backfill --dry-run, new": ["backfill", FLOW, "--batch", "new", "--dry-run"],
    }


def _days(number: int) -> str:
    """Return how many days ago a run began."""
    return str(int((time.time() - BEGUN.timestamp() - 20 * number) // 86400))


def launches(runs: int) -> dict[str, list[str]]:
    """Return commands that run partitions, or stop them; each is stopped after the first ones."""
    whole, last = f"b{runs // BATCH - 1}", f"b{runs // BATCH}"
    start = ["backfill", FLOW, "--workers", "2", "--batch"]
    return {
        f"backfill, all of {BATCH:,} is complete but what failed": [*start, whole],
        "backfill --retry-failed (400 of 40,000)": [*start, whole, "--retry-failed"],
        f"cancel of {BATCH:,}": ["cancel", whole],
        "backfill, half is complete": [*start, last, "--max-failures", "1"],
        f"backfill of {BATCH:,}, new": [*start, f"new-{os.getpid()}"],
        "resume RUN": ["resume", run_id(199), "--accept-changes"],
        "run": ["run", FLOW, "--partition", ONE],
    }


def server_time(url: str) -> Callable[[], float]:
    """Return what tells the processor time of the server at a URL, of its processes that have ended included."""
    if url.startswith("sqlite"):
        return lambda: 0.0
    import psycopg
    from sqlalchemy import make_url

    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as at:
        backend = at.execute("SELECT pg_backend_pid()").fetchone()[0]  # type: ignore[index]
        main = Path(f"/proc/{backend}/stat").read_text().rsplit(")", 1)[1].split()[1]
    stat = Path(f"/proc/{main}/stat")

    def read() -> float:
        own = stat.read_text().rsplit(")", 1)[1].split()
        return sum(map(int, own[11:15])) / os.sysconf("SC_CLK_TCK")

    return read


def run(url: str, args: list[str], clock: Callable[[], float]) -> Took:
    """Run a command; a batch is interrupted a second after its first partition has begun."""
    first = Path(tempfile.gettempdir(), f"flowctx-bench-{os.getpid()}.first")
    first.unlink(missing_ok=True)
    env = {**os.environ, "FLOWCTX_LEDGER_URL": url, "FLOWCTX_BENCH_FIRST": str(first)}
    server, began, at = clock(), time.perf_counter(), time.time()
    command = [sys.executable, "-m", "flowctx", *args]
    process = subprocess.Popen(command, cwd=HERE, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    to_stop, ended = args[0] == "backfill" and "--dry-run" not in args, 0
    while not ended:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if to_stop and first.exists() and time.time() > first.stat().st_mtime + 1:
            process.send_signal(signal.SIGINT)
            to_stop = False
        time.sleep(0.01)
    took = time.perf_counter() - began
    time.sleep(0.1)  # until the server has seen that its client has gone
    begun = float(first.read_text()) - at if first.exists() else None
    first.unlink(missing_ok=True)
    cpu, code = usage.ru_utime + usage.ru_stime, os.waitstatus_to_exitcode(status)
    return Took(took, cpu, clock() - server, begun, code, usage.ru_maxrss / 1024)
