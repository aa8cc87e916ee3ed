"""How many connections workers have to PostgreSQL, which are few on any server."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import make_context
from flowctx.testing.records import a_step

#: So many write at once; a server takes a hundred connections unless it is told otherwise.
WRITERS = 64
OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"


def connections(watch, which="true"):
    """Return how many connections others have to the database, of some kind."""
    return watch.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {OTHERS} AND {which}").fetchone()[0]


def write(url, number):
    """Record a run over a ledger of one's own, and return how it ended."""
    ctx = make_context(workflow="flow", run_id=f"r{number}", partition={"n": str(number)}, batch_id="b")
    ledger = SqlLedger(url)
    ledger._database.settings = ("lock_timeout = '300s'",)  # however long it takes until all are there
    try:
        run = ledger.begin(RunRecord(workflow="flow", context=ctx, steps=("a", "b")))
        for step in run.steps:
            ledger.record(run, [a_step(step)])
        ledger.finish(run, RunStatus.OK)
        return ledger.get_run(f"r{number}").status
    finally:
        ledger.close()


def test_sixty_four_that_write_at_once_have_a_connection_each(postgres_url):
    """They hold their transactions all at the same time, none fails, and there is never one connection more."""
    ledger = SqlLedger(postgres_url)
    ledger.list_runs()
    ledger.close()
    counted = []

    def count():
        with psycopg.connect(postgres_url, autocommit=True) as watch:
            while not all(one.done() for one in ended):
                counted.append(connections(watch, "application_name <> 'holds'"))

    with (
        ThreadPoolExecutor(WRITERS + 1) as threads,
        psycopg.connect(postgres_url, application_name="holds") as holder,
        psycopg.connect(postgres_url, autocommit=True, application_name="holds") as watch,
    ):
        holder.execute("LOCK TABLE flowctx_run IN EXCLUSIVE MODE")
        ended = [threads.submit(write, postgres_url, number) for number in range(WRITERS)]
        counting = threads.submit(count)
        while connections(watch, "wait_event_type = 'Lock'") < WRITERS and not any(one.done() for one in ended):
            time.sleep(0.02)
        holder.commit()
        assert {one.result() for one in ended} == {RunStatus.OK}
        counting.result()
    assert max(counted) == WRITERS
    assert ledger.batches.count_outcomes("b", "flow") == {"ok": WRITERS}
    ledger.close()


def test_workers_that_have_nothing_to_write_take_no_connection(postgres_url):
    """A server that takes few connections has room for any number of workers whose steps take long."""
    with psycopg.connect(postgres_url, autocommit=True) as watch:
        ledgers = [SqlLedger(postgres_url) for _ in range(8)]
        most = 0
        for ledger in ledgers:
            ledger.list_runs()
            most = max(most, connections(watch))
        while connections(watch):
            time.sleep(0.05)
        assert most >= 1
        assert [ledger.list_runs() for ledger in ledgers] == [[]] * 8
        for ledger in ledgers:
            ledger.close()
