"""What is asked of a ledger reads what it needs, and what is forgotten is forgotten a little at a time."""

from __future__ import annotations

import itertools
import re
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.completeness import steps_of_capture, steps_of_other_runs
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.partitions.key import PartitionKey
from flowctx.ledger.captures_sql import pruned_revisions
from flowctx.ledger.pruning import Pruning
from flowctx.ledger.pruning_counts import PruningCounts
from flowctx.ledger.rows import stamp
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import make_context
from flowctx.testing.clock import NOON
from flowctx.testing.records import MINUTE, a_step
from query_plans import statements


@pytest.fixture
def ledger(sql_url, clock):
    ledger = SqlLedger(sql_url, clock=clock)
    ledger.list_runs()
    yield ledger
    ledger.close()


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


def a_run(number=1, batch_id="b1", again=""):
    ctx = make_context(workflow="flow", run_id=f"r{number}{again}", partition={"n": str(number)}, batch_id=batch_id)
    return RunRecord(workflow="flow", context=ctx, steps=("a",))


@pytest.mark.parametrize(
    "question",
    [lambda ledger: ledger.captures(workflow="flow", limit=50), lambda ledger: ledger.run_ids("r")],
    ids=["the latest captures of a workflow", "the ids of runs that begin so"],
)
def test_the_first_few_are_found_without_sorting_all(ledger, question):
    """What is limited is read in the order of an index, which ends where enough is found."""
    ledger.begin(a_run())
    with statements(ledger) as found:
        question(ledger)
    plans = plans_of(ledger, found)
    assert plans
    assert not [plan for plan in plans if "FOR ORDER BY" in plan or re.search(r"(^|> )\s*Sort  ", plan)]


def test_the_captures_of_a_partition_are_found_by_it(sqlite_url):
    """Also in a file that has never been analyzed, and where the latest ones are asked for."""
    ledger = SqlLedger(sqlite_url)
    run = ledger.begin(a_run())
    with statements(ledger) as found:
        assert len(ledger.captures(workflow="flow", partition=run.context.partition, limit=50)) == 1
    (plan, *_) = plans_of(ledger, found)
    assert "ix_flowctx_capture_workflow (workflow=? AND partition=?)" in plan
    ledger.close()


def test_what_other_runs_of_a_capture_have_done_takes_few_statements(ledger):
    """However often a part of it was tried: their steps are read together, not run by run."""
    done = ledger.begin(part("a", 0))
    ledger.record(done, [a_step("a")])
    ledger.finish(done, RunStatus.PARTIAL)
    taken = []
    for number in range(1, 25):
        run = ledger.begin(part("b", number))
        with statements(ledger) as found:
            others = steps_of_capture(ledger, run, {"a": (), "b": ("a",)}, own=()).others
            assert [record.step for record in steps_of_other_runs(ledger, run, ["a"])] == ["a"]
        assert [record.step for record in others] == ["a"]
        ledger.finish(run, RunStatus.FAILED)
        taken.append(sum(text.startswith("SELECT") for text, _ in found))
    assert set(taken) == {5}


def part(step, number):
    """Return one of several runs of a step of one capture, each of which began after the one before it."""
    when = {"as_of_date": NOON.date(), "started_at": NOON + number * MINUTE}
    ctx = make_context(workflow="flow", run_id=f"r{number}", batch_id="b1", **when)
    return RunRecord(workflow="flow", context=ctx, steps=("a", "b"), selected=(step,))


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
    with statements(ledger) as found:
        assert [run.partition for run in ledger.batches.iter_outcomes("b1")] == ["n=1", "n=2"]
    paged = [(text, values) for text, values in found if "LIMIT" in text and "coalesce" not in text]
    assert len(paged) == 4
    for text, values in paged:
        plan = ledger._database.autocommit(
            lambda at, text=text, values=values: at.exec_driver_sql("EXPLAIN QUERY PLAN " + text, values).all()
        )
        assert not any("TEMP B-TREE" in str(row[-1]) for row in plan), text
    ledger.close()


def test_outcomes_come_in_order_page_by_page(ledger):
    """Thousands of recorded runs, with and without partitions, come back each once, in the order of their texts."""
    keys, occasions = [f"n={number:05}" for number in range(4500)], [f"{n:04}|{'aB'[n % 2]}" for n in range(2500)]
    add_runs(ledger, [*((text, text) for text in keys), *((None, text) for text in occasions)])
    found = list(ledger.batches.iter_outcomes("b1"))
    assert [run.run_id for run in found if run.partition] == keys
    assert [run.run_id for run in found if not run.partition] == sorted(occasions)


@pytest.mark.parametrize("number", [4000, 6000])
def test_thousands_that_failed_are_counted(sqlite_url, number):
    """However many have failed, as their runs and an engine say, they are counted; so is one of which both differ."""
    ledger = SqlLedger(sqlite_url)
    ledger.begin(a_run())
    names = "workflow, batch_id, attempt, fence, engine, steps, started_at, heard_at"
    statements = [
        f"INSERT INTO flowctx_run (run_key, run_id, partition, status, {names}) WITH RECURSIVE n(i) AS (SELECT 2 UNION "
        f"ALL SELECT i + 1 FROM n WHERE i <= {number}) SELECT i, i, 'n=' || i, 'failed', {names} FROM n, flowctx_run",
        "INSERT INTO flowctx_launch (batch_id, workflow, partition, run_id, engine, state, attempt, heard_at) "
        "SELECT batch_id, '', partition, run_id, engine, status, 1, heard_at FROM flowctx_run",
        "UPDATE flowctx_launch SET state = 'launched', heard_at = '2999' || substr(heard_at, 5) WHERE run_id = '7'",
    ]
    counts = []
    for statement in statements:
        ledger._database.transaction(lambda at, text=statement: at.exec_driver_sql(text))
        counts.append(ledger.batches.count_outcomes("b1", "flow"))
    assert counts[0] == counts[1] == {"running": 1, "failed": number}
    assert counts[2] == {"launched": 1, "running": 1, "failed": number - 1}
    ledger.close()


def test_a_batch_is_counted_by_two_questions(postgres_url):
    """Which accounts there are, and how they stand: 20 batches are 40 questions, and none of them is for all notes."""
    ledger = SqlLedger(postgres_url)
    ledger.finish(ledger.begin(a_run()), RunStatus.OK)
    note = PartitionRun(partition="n=1", state=PartitionState.OK, run_id="r1", engine="airflow", last_seen_at=NOON)
    ledger.batches.record_outcomes("b1", [note])
    with statements(ledger) as found:
        assert ledger.batches.count_outcomes("b1", "flow") == {"ok": 1}
    assert len(found) == 2
    ledger.close()


def test_partitions_of_any_text_are_found(ledger):
    """Whether they are asked for one by one or as one value, texts that no database takes are changed alike."""
    texts = ["n=1", "n=\ud800", "n=\0", "n=é"]
    facts = {"state": PartitionState.OK, "run_id": "r", "engine": "airflow", "last_seen_at": NOON}
    ledger.batches.record_outcomes("b1", [PartitionRun(partition=text, **facts) for text in texts])
    found = [run.partition for run in ledger.batches.iter_outcomes("b1", texts)]
    assert found == ["n=1", r"n=\ud800", r"n=\x00", "n=é"]


def test_which_accounts_there_are_is_told_by_indexes_alone(sqlite_url):
    """Also in a file that has never been analyzed, which knows of no run that it would have to look at."""
    ledger = SqlLedger(sqlite_url)
    ledger.begin(a_run())
    with statements(ledger) as found:
        ledger.batches.count_outcomes("b1", "flow")
    plan = [line for line in plans_of(ledger, found[:1]) if "flowctx_run" in line or "flowctx_launch" in line]
    assert len(plan) == 3
    assert all("USING COVERING INDEX" in line for line in plan)
    ledger.close()


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
    assert (pruned.runs, sum(sizes), beside) == (3500, 3500, [1, 2, 3])
    assert max(sizes) <= 1000
    assert {run.run_id for run in ledger.list_runs()} == {f"rbeside-{number}" for number in beside}
    assert list(ledger.batches.iter_outcomes("b1")) == []


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("versions", [1, 2, 3])
def test_however_many_runs_are_old_the_same_are_counted(ledger, clock, versions, lost):
    """Of few runs, each is looked at; of many, those that stay are found by subject; and as many are then forgotten."""
    endings = ["ok", "failed", "ok", "skipped", None, "ok", "failed", "ok"]  # of one the lease runs still
    for subject, shift in itertools.product(range(6), range(8)):
        how = endings[(shift + 3 * subject) % 8]
        selected = ("a",) if how is None and subject % 2 else ()  # a part has no capture whose lease runs
        run = replace(a_run(subject, f"b{shift}", f"-{shift}"), selected=selected)
        run = ledger.begin(run, lease=timedelta(days=91))
        if how is not None:
            ledger.finish(run, RunStatus(how))
        clock.advance(timedelta(minutes=1))

    def change(what, batch, key):
        which = f"batch_id = 'b{batch}' AND partition = 'n={key}'"
        ledger._database.transaction(lambda at: at.exec_driver_sql(f"{what} WHERE {which}"))

    if lost:  # as if a prune had been cut off in between
        change("DELETE FROM flowctx_run", 2, 1)
        change("DELETE FROM flowctx_run", 5, 2)
    ledger.batches.keep("b4")
    before = clock.now() - timedelta(minutes=5)
    change(f"UPDATE flowctx_run SET heard_at = '{stamp(before)}'", 1, 1)
    change(f"UPDATE flowctx_run SET started_at = '{stamp(before + timedelta(hours=1))}'", 1, 3)  # another clock
    clock.advance(timedelta(days=90))
    would = ledger.would_prune(before, versions=versions)
    pruning = Pruning(ledger._database, stamp(before), versions)
    assert ledger._database.autocommit(lambda at: PruningCounts(pruning, at, each=0).found()) == would
    assert would[0].runs > 10
    assert ledger.prune(before, versions=versions) == would[0]
    assert ledger.would_prune(before, versions=versions)[0].runs == 0


def test_looking_at_what_would_go_locks_nothing(sqlite_url, clock):
    """A dry run only reads: beside it, a SQLite file can be written."""
    ledger = SqlLedger(sqlite_url, clock=clock)
    ledger.finish(ledger.begin(a_run()), RunStatus.FAILED)
    clock.advance(timedelta(days=90))
    raw = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None, timeout=0)

    def write(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT") and "count(" in statement:
            raw.execute("UPDATE flowctx_run SET error = 'written beside it'")

    event.listen(Engine, "after_cursor_execute", write)
    try:
        would, _ = ledger.would_prune(clock.now())
    finally:
        event.remove(Engine, "after_cursor_execute", write)
    assert (would.runs, ledger.get_run("r1").error) == (1, "written beside it")
    raw.close()
    ledger.close()


def test_whether_anything_is_noted_is_told_by_an_index(postgres_url):
    """Also by the plan that PostgreSQL makes once for batches of all sizes, of which few have any notes."""
    ledger = SqlLedger(postgres_url)
    ledger.begin(a_run())
    columns = "batch_id, partition, workflow, run_id, engine, state, attempt, heard_at"
    rows = "'b' || mod(n, 2), n, '', 'r', 'airflow', 'ok', 1, '2026' FROM generate_series(1, 20000) n"
    with statements(ledger) as found:
        ledger.batches.count_outcomes("b7", "flow")
    numbers = itertools.count(1)
    asked = re.sub(r"%\(\w+\)s", lambda _: f"${next(numbers)}", found[0][0])
    values = ", ".join(["'b7'"] * (next(numbers) - 1))

    def plan(at):
        for setting in (f"INSERT INTO flowctx_launch ({columns}) SELECT {rows}", "ANALYZE flowctx_launch"):
            at.exec_driver_sql(setting)
        at.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
        at.exec_driver_sql(f"PREPARE asked AS {asked}")
        return "\n".join(str(row[0]) for row in at.exec_driver_sql(f"EXPLAIN EXECUTE asked({values})"))

    assert "Seq Scan on flowctx_launch" not in ledger._database.autocommit(plan)
    ledger.close()


@pytest.mark.parametrize(
    ("also", "index"),
    [
        ({"status": RunStatus.RUNNING}, "ix_flowctx_run_status"),
        ({"status": RunStatus.OK}, "ix_flowctx_run_workflow_started"),
        ({"batch_id": "b1", "status": RunStatus.OK}, "ix_flowctx_run_batch_started"),
        ({"partition": PartitionKey(n="1"), "batch_id": "b1"}, "ix_flowctx_run_partition_started"),
    ],
)
def test_runs_are_found_by_what_fewest_of_them_share(sqlite_url, also, index):
    """Also in a file that has never been analyzed: none of the others is looked at, and nothing is sorted."""
    ledger = SqlLedger(sqlite_url)
    ledger.begin(a_run())
    with statements(ledger) as found:
        ledger.list_runs(workflow="flow", **also)
    plan = [line for line in plans_of(ledger, found) if "flowctx_run" in line or "ORDER BY" in line]
    assert "USING INDEX " + index + " " in plan[0]
    assert not any("TEMP B-TREE FOR ORDER BY" in line for line in plan)
    ledger.close()


def test_what_was_pruned_before_what_is_left_is_not_read_when_a_run_begins(sqlite_url):
    """Of a subject that has many versions, only those after its last one are, and the one that is made anew."""
    ledger = SqlLedger(sqlite_url)
    with statements(ledger) as found:
        ledger.begin(a_run())
    plans = [plan for plan in plans_of(ledger, found) if "pruned" in plan]
    assert [plan.split(" INDEX ")[-1] for plan in plans] == [
        "sqlite_autoindex_flowctx_pruned_capture_1 (subject=? AND revision>?)",
        "ix_flowctx_pruned_capture_id (capture_id=?)",
    ]
    ledger.close()


def test_what_was_pruned_of_one_subject_is_not_read_because_another_is_new(ledger, clock):
    """Of each subject that is claimed, what comes after its own last version is all that matters."""
    for batch_id in ("b1", "b2", "b3"):
        ledger.finish(ledger.begin(a_run(1, batch_id, again=batch_id)), RunStatus.OK)
        clock.advance(MINUTE)
    assert ledger.prune(clock.now()).runs == 2
    wanted, rivals = [a_run(number, "b4").capture for number in (1, 2)], ledger.captures()
    assert ledger._database.transaction(lambda at: pruned_revisions(at, wanted, rivals)) == {}
