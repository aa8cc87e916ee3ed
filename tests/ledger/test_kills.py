"""A run that is killed at any instant is continued: nothing is lost, and nothing complete runs again."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

import durable_flow
from durable_flow import STEPS, effects, flow, run_or_resume
from flowctx import UnknownRun, run
from flowctx.core.durability.records import RunKey
from flowctx.ledger import open_ledger
from forking import processes

#: How often runs are killed; ``FLOWCTX_TEST_KILLS=300`` for the long run.
KILLS = int(os.environ.get("FLOWCTX_TEST_KILLS", "12"))


def killed(url, run_id, params, after_seconds):
    """Run the workflow in a process that is killed; return whether the kill came before the end."""
    ours, theirs = processes.Pipe()
    child = processes.Process(target=run_or_resume, args=(url, run_id, params, theirs))
    child.start()
    ours.recv()
    time.sleep(after_seconds)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL and not ours.poll()


def kill_and_resume(url, folder, kills):
    """Kill runs until so many kills have come in time, and check each time what must hold."""
    ledger = open_ledger(url)
    try:
        return kill_and_look(url, ledger, folder, kills)
    finally:
        ledger.close()


def kill_and_look(url, ledger, folder, kills):
    """Do what :func:`kill_and_resume` says, looking into an open ledger."""

    def complete_steps(run_id):
        return set(ledger.statuses(RunKey(workflow="durable", run_id=run_id)))

    rng = random.Random(7)
    whole = run(flow, params={"effects": str(folder / "whole")}).outputs_digest
    landed = round_number = 0
    while landed < kills:
        round_number += 1
        run_id, path = f"run-{round_number}", folder / f"effects-{round_number}"
        for _ in range(4):
            complete, called = complete_steps(run_id), len(effects(path))
            landed += killed(url, run_id, {"effects": str(path)}, rng.uniform(0, 0.08))
            assert complete.isdisjoint(effects(path)[called:]), "a complete step ran again"
        complete, called = complete_steps(run_id), len(effects(path))
        result = finished(ledger, run_id, path)
        assert complete.isdisjoint(effects(path)[called:]), "a complete step ran again"
        assert set(effects(path)) == {f"s{n}" for n in range(STEPS)}
        assert result.outputs_digest == whole
    return landed


def finished(ledger, run_id, path):
    """Go on with a run here, to its end."""
    try:
        return durable_flow.resume(run_id, flow, ledger=ledger, take_over=True)
    except UnknownRun:
        return run(flow, run_id=run_id, params={"effects": str(path)}, ledger=ledger)


@pytest.mark.timeout(120 + 4 * KILLS)
def test_a_killed_run_is_continued(sql_url, tmp_path):
    """Whenever it is killed, a run ends with every effect, no complete step run again, and the same outputs."""
    assert kill_and_resume(sql_url, tmp_path, kills=KILLS) >= KILLS
