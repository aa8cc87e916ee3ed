"""Of any number of processes that want the same, one gets it."""

from __future__ import annotations

import os
import signal
import time

import pytest

from durable_flow import claim_all, effects, flow, run_or_resume
from flowctx import resume
from flowctx.core.durability.records import RunStatus
from flowctx.ledger import open_ledger
from forking import processes


@pytest.mark.e2e
def test_sixteen_processes_share_two_hundred_captures(sql_url):
    """Sixteen processes claim the same two hundred captures in a new database: each is granted once."""
    pipes, children = [], []
    for holder in range(16):
        ours, theirs = processes.Pipe()
        child = processes.Process(target=claim_all, args=(sql_url, 200, holder, theirs))
        child.start()
        pipes.append(ours)
        children.append(child)
    granted = sorted(claim for pipe in pipes for claim in pipe.recv())
    for child in children:
        child.join()
    assert granted == [(number, 1) for number in range(200)]


def test_a_run_that_stalls_is_fenced_off(sql_url, tmp_path):
    """A process that is stopped while another continues its run is refused its next write when it wakes."""
    path = tmp_path / "effects"
    ours, theirs = processes.Pipe()
    params = {"effects": str(path), "pause": 0.05}
    child = processes.Process(target=run_or_resume, args=(sql_url, "r1", params, theirs))
    child.start()
    ours.recv()
    while len(effects(path)) < 5:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGSTOP)
    ledger = open_ledger(sql_url)
    result = resume("r1", flow, ledger=ledger, take_over=True)
    called = len(effects(path))
    os.kill(child.pid, signal.SIGCONT)
    assert ours.recv().startswith("Superseded: run durable r1 was resumed or taken over elsewhere")
    child.join()
    assert len(effects(path)) == called
    assert (result.status, ledger.get_run("r1").status) == ("ok", RunStatus.OK)
    ledger.close()
