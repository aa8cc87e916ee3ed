"""What is asked of a ledger reads what it needs, and what is forgotten is forgotten a little at a time."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import FakeClock, make_context
from flowctx.testing.clock import NOON


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def ledger(sql_url, clock):
    ledger = SqlLedger(sql_url, clock=clock)
    ledger.list_runs()
    yield ledger
    ledger.close()


@contextmanager
def statements():
    """Collect the statements that are executed, with their parameters."""
    found = []

    def collect(connection, cursor, statement, parameters, context, many):
        found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", collect)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", collect)


def plans_of(ledger, found):
    """Return the lines of the plans of these statements; PostgreSQL is told to take an index wherever it can.

    For tables as small as these it would not.
    """
    database, plans = ledger._database, []
    if not database.sqlite:
        database.autocommit(lambda at: at.exec_driver_sql("SET enable_seqscan = off; SET enable_sort = off"))
    for statement, parameters in found:
        if statement.startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
            explain = "EXPLAIN QUERY PLAN " if database.sqlite else "EXPLAIN "
            plans += database.autocommit(
                lambda at, text=explain + statement, values=parameters: [
                    str(row[-1]) for row in at.exec_driver_sql(text, values)
                ]
            )
    return plans


def scanned(ledger, found):
    """Return which tables these statements read from end to end, where there is no index for them."""
    plans = plans_of(ledger, found)
    # The index of rows that refer to others has these alone: it is read as a whole, and the table is not.
    few = [plan for plan in plans if not re.search(r"USING .*INDEX ix_\w+_references", plan)]
    return {name for plan in few for name in re.findall(r"(?:^SCAN|Seq Scan on) (flowctx_\w+)", plan)}


def a_run(number=1, batch_id="b1"):
    ctx = make_context(workflow="flow", run_id=f"r{number}", partition={"n": str(number)}, batch_id=batch_id)
    return RunRecord(workflow="flow", context=ctx, steps=("a",))


QUESTIONS = {
    "the runs of a batch": lambda ledger: ledger.list_runs(batch_id="b1"),
    "the runs that are running": lambda ledger: ledger.list_runs(workflow="flow", status=RunStatus.RUNNING),
    "the runs of a workflow": lambda ledger: ledger.list_runs(workflow="flow"),
    "the runs of a partition": lambda ledger: ledger.list_runs(partition=a_run().context.partition),
    "the runs of an engine's run": lambda ledger: ledger.list_runs(run_id="r1", status=RunStatus.RUNNING),
    "a run": lambda ledger: ledger.steps(ledger.get_run("r1").key),
    "the captures of a partition": lambda ledger: ledger.captures(
        workflow="flow", partition=ledger.get_run("r1").context.partition
    ),
    "a batch of which only runs are known": lambda ledger: ledger.batches.get("b1"),
    "the outcomes of a batch": lambda ledger: list(ledger.batches.iter_outcomes("b1")),
    "the outcomes of a partition": lambda ledger: list(ledger.batches.iter_outcomes("b1", ["n=1"])),
    "a run that takes another one's capture": lambda ledger: ledger.begin(a_run(2), resumes=ledger.get_run("r1")),
    "what other runs made of a partition": lambda ledger: ledger.versions(
        "flow", "a", [ledger.get_run("r1").context.partition], batch_id="b1"
    ),
    "what a step of some runs recorded": lambda ledger: ledger.step_records("a", [a_run().key.digest]),
    "the latest captures of a workflow": lambda ledger: ledger.captures(workflow="flow", limit=50),
    "the ids of runs that begin so": lambda ledger: ledger.run_ids("r"),
    "how many partitions of a batch stand how": lambda ledger: ledger.batches.count_outcomes("b1", "flow"),
    "how each partition of a batch stands": lambda ledger: list(ledger.batches.iter_standings("b1", "flow")),
    "the artifacts that rows refer to": lambda ledger: ledger.artifact_paths(),
    "the end of a run": lambda ledger: ledger.finish(ledger.get_run("r1"), RunStatus.OK),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_table_of_runs_is_read_from_end_to_end(ledger, question):
    """What every step, batch and command asks is found by an index, however many runs there are."""
    ledger.begin(a_run())
    with statements() as found:
        QUESTIONS[question](ledger)
    assert found
    assert scanned(ledger, found) == set()


@pytest.mark.parametrize("question", ["the latest captures of a workflow", "the ids of runs that begin so"])
def test_the_first_few_are_found_without_sorting_all(ledger, question):
    """What is limited is read in the order of an index, which ends where enough is found."""
    ledger.begin(a_run())
    with statements() as found:
        QUESTIONS[question](ledger)
    plans = plans_of(ledger, found)
    assert plans
    assert not [plan for plan in plans if "FOR ORDER BY" in plan or re.search(r"(^|> )\s*Sort  ", plan)]


def test_run_ids_are_found_by_how_they_begin(ledger):
    """By code points, whatever the language of the database is; of one that is asked for, nothing else is read."""
    for number in ("1", "10", "2", "é", "É", "1\U0001f600"):
        ledger.begin(a_run(number))
    assert ledger.run_ids("r1") == ["r1", "r10", "r1\U0001f600"]
    assert ledger.run_ids("r") == ["r1", "r10", "r1\U0001f600", "r2", "rÉ", "ré"]
    assert (ledger.run_ids("r", limit=2), ledger.run_ids("r3"), ledger.run_ids("R")) == (["r1", "r10"], [], [])


def test_pages_of_outcomes_are_not_sorted(sqlite_url):
    """Each page is read where the one before it has ended, in the order of an index."""
    ledger = SqlLedger(sqlite_url)
    ledger.begin(a_run())
    for workflow in ("", "other"):
        facts = {"state": PartitionState.OK, "run_id": "r", "engine": "airflow", "last_seen_at": NOON}
        ledger.batches.record_outcomes("b1", [PartitionRun(partition="n=2", workflow=workflow, **facts)])
    with statements() as found:
        assert [run.partition for run in ledger.batches.iter_outcomes("b1")] == ["n=1", "n=2"]
    paged = [(text, values) for text, values in found if "LIMIT" in text and "coalesce" not in text]
    assert len(paged) == 3
    for text, values in paged:
        plan = ledger._database.autocommit(
            lambda at, text=text, values=values: at.exec_driver_sql("EXPLAIN QUERY PLAN " + text, values).all()
        )
        assert not any("TEMP B-TREE" in str(row[-1]) for row in plan), text
    ledger.close()


def test_the_list_of_batches_reads_no_run_but_the_first_of_each(ledger):
    """Batches are listed by the index of their ids; of the runs' table no row is read for that."""
    ledger.begin(a_run())
    with statements() as found:
        assert [batch.batch_id for batch in ledger.batches.all()] == ["b1"]
    assert scanned(ledger, found) <= {"flowctx_batch"}


def test_outcomes_come_in_order_page_by_page(ledger):
    """Thousands of recorded runs, with and without partitions, come back each once, in the order of their texts."""
    keys, occasions = [f"n={number:05}" for number in range(4500)], [f"{n:04}|{'aB'[n % 2]}" for n in range(2500)]
    add_runs(ledger, [*((text, text) for text in keys), *((None, text) for text in occasions)])
    found = list(ledger.batches.iter_outcomes("b1"))
    assert [run.run_id for run in found if run.partition] == keys
    assert [run.run_id for run in found if not run.partition] == sorted(occasions)


def add_runs(ledger, some):
    """Add rows of runs of batch ``b1``: their partitions, and their ids."""
    ledger.begin(a_run())
    columns = "workflow, batch_id, status, attempt, fence, engine, steps, started_at, heard_at, as_of_date"
    mark = "?" if ledger._database.sqlite else "%s"
    copy = (
        f"INSERT INTO flowctx_run (run_key, run_id, partition, capture_id, {columns}) "
        f"SELECT {mark}, {mark}, {mark}, {mark}, workflow, batch_id, 'ok', 1, 1, engine, steps, started_at, heard_at, "
        "'2026-01-09' FROM flowctx_run WHERE run_id = 'r1'"
    )

    def work(at):
        for text, run_id in some:
            at.exec_driver_sql(copy, (run_id, run_id, text, f"{run_id}|b1"))
        at.exec_driver_sql("DELETE FROM flowctx_run WHERE run_id = 'r1'")

    ledger._database.transaction(work)


def test_forgetting_takes_many_transactions(ledger, clock):
    """No transaction forgets more than a thousand runs; runs that begin in between are neither hindered nor lost."""
    add_runs(ledger, [(f"n={number}", f"old-{number}") for number in range(3500)])
    notes = [
        PartitionRun(partition=f"n={n}", state=PartitionState.OK, run_id="r", engine="airflow", last_seen_at=NOON)
        for n in range(1500)
    ]
    ledger.batches.record_outcomes("b1", notes)
    clock.advance(timedelta(days=90))
    sizes, beside = [], []

    def begun(connection, cursor, statement, parameters, context, many):
        if statement.startswith("DELETE FROM flowctx_run "):
            sizes.append(cursor.rowcount)
        if statement == "COMMIT" and sizes and len(beside) < len(sizes) < 4:
            beside.append(len(sizes))
            other = SqlLedger(ledger.address, clock=clock, patience=timedelta(seconds=1))
            other.finish(other.begin(a_run(f"beside-{len(sizes)}", "b2")), RunStatus.OK)
            other.close()

    event.listen(Engine, "after_cursor_execute", begun)
    try:
        pruned = ledger.prune(clock.now())
    finally:
        event.remove(Engine, "after_cursor_execute", begun)
    assert (pruned.runs, sizes, beside) == (3500, [1000, 1000, 1000, 500], [1, 2, 3])
    assert {run.run_id for run in ledger.list_runs()} == {f"rbeside-{number}" for number in beside}
    assert list(ledger.batches.iter_outcomes("b1")) == []


def test_looking_at_what_would_go_locks_nothing(sqlite_url, clock):
    """A dry run only reads: beside it, a SQLite file can be written."""
    ledger = SqlLedger(sqlite_url, clock=clock)
    ledger.finish(ledger.begin(a_run()), RunStatus.FAILED)
    clock.advance(timedelta(days=90))
    raw = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None, timeout=0)

    def write(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT count"):
            raw.execute("UPDATE flowctx_run SET error = 'written beside it'")

    event.listen(Engine, "after_cursor_execute", write)
    try:
        would, _ = ledger.would_prune(clock.now())
    finally:
        event.remove(Engine, "after_cursor_execute", write)
    assert (would.runs, ledger.get_run("r1").error) == (1, "written beside it")
    raw.close()
    ledger.close()


def test_workers_that_have_nothing_to_write_take_no_connection(postgres_url):
    """A server that takes few connections has room for any number of workers whose steps take long."""

    def connections():
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return watch.execute(query).fetchone()[0]

    with psycopg.connect(postgres_url, autocommit=True) as watch:
        ledgers = [SqlLedger(postgres_url) for _ in range(8)]
        most = 0
        for ledger in ledgers:
            ledger.list_runs()
            most = max(most, connections())
        while connections():
            time.sleep(0.05)
        assert most >= 1
        assert [ledger.list_runs() for ledger in ledgers] == [[]] * 8
        for ledger in ledgers:
            ledger.close()
