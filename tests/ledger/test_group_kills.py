"""A worker of a batch is killed at any instant, between any two commits of its groups."""

from __future__ import annotations

import os
import random
import time
from itertools import product

import pytest

from flowctx.core.durability.records import RunStatus
from flowctx.ledger.sql import SqlLedger
from flowctx.local import run
from killed_worker import COUNT, STEPS, KillableWorker, effects, made

#: How often a worker is killed; ``FLOWCTX_TEST_KILLS=300`` for the long run.
KILLS = int(os.environ.get("FLOWCTX_TEST_KILLS", "1"))
#: Databases, without inputs and with, a group or a step in each commit.
CASES = list(product(("sqlite", "postgres"), ("short", "reading"), (True, False)))


def tasks(path, told, *, again):
    """Return what a launch gives its worker: all at first, and after a worker has died what has not been told."""
    how = {"known": again, "again": again, "params": {"effects": str(path)}}
    ids = [f"{n:02}" for n in range(COUNT) if f"r{n:02}" not in told]
    return [{"partition": f"n={n}", "run_id": f"r{n}", **how} for n in ids]


def recorded(ledger):
    """Return the steps that the ledger holds, as `step n`, and how each run stands."""
    runs = ledger.list_runs(batch_id="b", limit=COUNT + 1)
    steps = {f"{step} {run.context.key.n}" for run in runs for step in ledger.statuses(run.key)}
    return steps, {run.run_id: run.status for run in runs}


def killed_until_done(url, folder, rng, most, *, workflow, grouped):
    """Kill workers of one batch, and let one get to its end; return how many were killed, and check what must hold."""
    path, ledger, kills, again = folder / "effects", SqlLedger(url), 0, False
    for key in made.partitions if workflow == "reading" else ():
        run(made, partition=key, ledger=ledger)
    told, most_repeated = {}, 0
    while True:
        known, before = recorded(ledger)[0], effects(path)
        worker = KillableWorker(url, tasks(path, told, again=again), workflow=workflow, grouped=grouped)
        worker.begin_to_tell()
        killing = kills < most
        if killing:
            time.sleep(rng.uniform(0, 0.3))
            worker.kill()
        here = worker.told()
        worker.end()
        steps, statuses = recorded(ledger)
        called = effects(path) - before
        assert not known & called.keys(), "a step ran again that was recorded"
        assert {run for run, state in here.items() if statuses[run] != state} == set(), "told, and not on the disk"
        assert all(n == 1 for n in called.values()), "a worker ran a step twice"
        told |= here
        if not grouped:  # all but the one that it was at
            most_repeated = max(most_repeated, len(effects(path).keys() - steps))
        assert most_repeated <= 1
        if len(told) == COUNT:
            break
        kills, again = kills + killing, True
    steps, statuses = recorded(ledger)
    assert steps == {f"{step} {n:02}" for n in range(COUNT) for step in STEPS} == set(effects(path))
    assert set(statuses.values()) == {RunStatus.OK}
    captures = ledger.captures(workflow=workflow)
    assert ([c.state for c in captures], {c.revision for c in captures}) == (["complete"] * COUNT, {1})
    check_what_was_made(ledger, workflow)
    ledger.close()
    return kills


def check_what_was_made(ledger, workflow):
    """Check the last step of each partition: its output, and what it is recorded to have read."""
    last = {run.context.key.n: ledger.steps(run.key)[-1] for run in ledger.list_runs(workflow=workflow, limit=COUNT)}
    read = workflow == "reading"
    expected = {f"{n:02}": {"n": n, "before": 2} | ({"price": n * 10} if read else {}) for n in range(COUNT)}
    assert {n: record.output for n, record in last.items()} == expected
    for n, record in last.items():
        versions = record.inputs["price"] if read else ()
        assert [version.partition.n for version in versions] == ([n] if read else [])


@pytest.mark.e2e
@pytest.mark.timeout(120 + 30 * KILLS)
@pytest.mark.parametrize(("database", "workflow", "grouped"), CASES)
def test_a_killed_worker_loses_nothing(request, tmp_path, database, grouped, workflow):
    """What was told is on the disk, what is recorded never runs again, and each partition has one capture."""
    sql_url = request.getfixturevalue(f"{database}_url")
    rng, kills, number = random.Random(11), 0, 0
    while kills < KILLS:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        url = sql_url if number == 1 else fresh(request, sql_url, folder)
        kills += killed_until_done(url, folder, rng, min(KILLS - kills, 12), workflow=workflow, grouped=grouped)


@pytest.mark.parametrize("grouped", [True, False], ids=["group", "step"])
def test_a_worker_that_nobody_hears_records_no_failure(sqlite_url, tmp_path, grouped):
    """A worker whose launch was killed ends, and no partition has failed of that: the next launch goes on."""
    ledger = SqlLedger(sqlite_url)
    two = tasks(tmp_path / "effects", {}, again=False)[6:8]  # a worker that is slow gives back all but one
    worker = KillableWorker(sqlite_url, two, grouped=grouped)
    worker.begin_to_tell('"at": "r07"')  # a long step: what it records is committed, and the end before it is told
    worker.stop_listening()
    assert worker.process.exitcode == 0
    assert set(recorded(ledger)[1].values()) <= {RunStatus.OK, RunStatus.RUNNING}
    ledger.close()


def fresh(request, url, folder):
    """Return the URL of another empty database of the same kind."""
    if url.startswith("sqlite"):
        return f"sqlite:///{folder / 'ledger.db'}"
    from postgres import postgres_database

    database = postgres_database(request.getfixturevalue("postgres_server"))
    request.addfinalizer(lambda: database.__exit__(None, None, None))
    return database.__enter__()
