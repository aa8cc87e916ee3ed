"""A ledger that commits what several runs write together."""

from __future__ import annotations

import threading
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from cutting_proxy import CuttingProxy
from flowctx import CaptureHeld, LedgerError, LedgerUnavailable, RunExists, StepStatus, Superseded
from flowctx.core.clock import SystemClock
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.workflow.run_context import begin
from flowctx.ledger.grouped import GroupedLedger
from flowctx.ledger.sql import SqlLedger
from ledger.test_cuts import through
from ledger.test_growth import statements

LEASE = timedelta(minutes=1)
#: So old that no group gets so old in a test.
NEVER = 3600.0


def new_run(name, *, batch_id="b"):
    """Return a run that has not begun."""
    ctx = begin("flow", run_id=uuid4().hex, batch_id=batch_id, params={"name": name}, started_at=SystemClock().now())
    ctx = replace(ctx, idempotency_key=name, capture_id=f"{name}|b")
    return RunRecord(workflow="flow", context=ctx, steps=("one", "two"))


def step(name, seconds=0.0, **output):
    """Return the record of a step that is ok."""
    started_at = SystemClock().now()
    return StepRecord(
        step=name, status=StepStatus.OK, output=output, started_at=started_at, seconds=seconds, attempts=1
    )


@pytest.fixture
def grouped(sqlite_url):
    """A ledger whose groups get old by a step's own time alone."""
    ledger = GroupedLedger(sqlite_url, seconds=NEVER)
    yield ledger
    ledger.close()


@pytest.fixture
def disk(sqlite_url):
    """What another process finds."""
    ledger = SqlLedger(sqlite_url)
    yield ledger
    ledger.close()


def begun(ledger, *names):
    """Begin runs together, and return them."""
    wanted = [new_run(name) for name in names]
    ledger.begin_ahead(wanted, LEASE)
    return [ledger.begin(run, exclusive=True, lease=LEASE) for run in wanted]


class Answers(list):
    """What became of runs, in the order in which it was told."""

    def of(self, run):
        return lambda refusal: self.append((run.context.idempotency_key, refusal and type(refusal)))


def test_what_short_steps_record_is_committed_together(grouped, disk):
    """Nobody sees a record of a group before all of it is there, and then it is told."""
    one, other = begun(grouped, "one", "other")
    answers = Answers()
    for run in (one, other):
        grouped.record(run, [step("one")])
        grouped.record(run, [step("two")])
        grouped.finish(run, RunStatus.OK)
        grouped.when_committed(run, answers.of(run))
    assert (disk.statuses(one.key), disk.get_run(one.run_id).status, answers) == ({}, RunStatus.RUNNING, [])
    grouped.flush()
    assert answers == [("one", None), ("other", None)]
    assert {disk.get_run(run.run_id).status for run in (one, other)} == {RunStatus.OK}
    assert {len(disk.statuses(run.key)) for run in (one, other)} == {2}
    assert {capture.state for capture in disk.captures()} == {"complete"}


def test_a_long_step_is_on_the_disk_before_the_next_one_begins(grouped, disk):
    """A step that took as long as a group may be old is committed at once, with what was put off before it."""
    (run,) = begun(grouped, "one")
    grouped.record(run, [step("one", seconds=NEVER / 2)])
    assert disk.statuses(run.key) == {}
    grouped.record(run, [step("two", seconds=NEVER)])
    assert list(disk.statuses(run.key)) == ["one", "two"]


def test_what_was_put_off_is_committed_while_a_step_runs(sqlite_url, disk):
    """However long the next step takes, the records of those before it are on the disk in a moment."""
    ledger, committed = GroupedLedger(sqlite_url, seconds=0.005), threading.Event()
    (run,) = begun(ledger, "one")
    ledger.record(run, [step("one")])
    ledger.when_committed(run, lambda refusal: committed.set())
    assert committed.wait(30)
    assert list(disk.statuses(run.key)) == ["one"]
    ledger.close()


def test_where_commits_wait_for_the_disk_there_are_fewer(sqlite_url, disk, monkeypatch):
    """A group gets ten times as old as commits wait, and no older than 0.2 s; one that waited alone does not count."""
    ledger = GroupedLedger(sqlite_url, seconds=0.001)
    monkeypatch.setattr(ledger, "_watch", lambda: None)  # the thread: only a step's own time counts
    runs = begun(ledger, *"abcdefg")
    ledger._waited = (0.0, 0.0)
    database, waits = ledger._database, []
    real = type(database).transaction

    def transaction(work):
        found = real(database, work)
        database.waited_seconds = waits.pop(0)
        return found

    monkeypatch.setattr(database, "transaction", transaction)
    for run, seconds, waited, at_once in [
        (runs[0], 0.002, 5.0, True),  # bad luck, or the first one
        (runs[1], 0.002, 0.01, True),
        (runs[2], 0.09, 0.01, False),  # as old as ten times the wait is too young
        (runs[3], 0.11, 0.5, True),
        (runs[4], 0.11, 0.5, True),
        (runs[5], 0.19, 0.5, False),  # both waited for long
        (runs[6], 0.21, 0.0, True),
    ]:
        waits[:] = [waited]
        ledger.record(run, [step("one", seconds=seconds)])
        assert (list(disk.statuses(run.key)) == ["one"]) is at_once
    waits[:] = [0.0]
    ledger.close()


def test_each_step_waits_for_its_commit_where_that_is_wanted(sqlite_url, disk):
    """With no time at all, a step is on the disk before the next one; the last goes with the end of its run."""
    ledger = GroupedLedger(sqlite_url, seconds=0.0)
    (run,) = begun(ledger, "one")
    ledger.record(run, [step("one")])
    assert list(disk.statuses(run.key)) == ["one"]
    ledger.record(run, [step("two")])
    ledger.finish(run, RunStatus.OK)
    ledger.flush()
    assert (list(disk.statuses(run.key)), disk.get_run(run.run_id).status) == (["one", "two"], RunStatus.OK)
    ledger.close()


def test_what_is_read_is_what_was_written(grouped):
    """Before a ledger is read, what was put off in it is committed."""
    (run,) = begun(grouped, "one")
    grouped.record(run, [step("one")])
    assert list(grouped.statuses(run.key)) == ["one"]


def test_a_run_that_was_taken_over_harms_no_other(grouped, disk):
    """A write that comes too late is refused, and its run is told; the others of its group are there."""
    lost, well = begun(grouped, "lost", "well")
    disk.begin(lost, resumes=disk.get_run(lost.run_id), take_over=True)
    for run in (lost, well):
        grouped.record(run, [step("one")])
    grouped.flush()
    with pytest.raises(Superseded):
        grouped.record(lost, [step("two")])
    answers = Answers()
    for run in (lost, well):
        grouped.finish(run, RunStatus.OK)
        grouped.when_committed(run, answers.of(run))
    grouped.flush()
    assert answers == [("lost", Superseded), ("well", None)]
    assert (disk.statuses(lost.key), list(disk.statuses(well.key))) == ({}, ["one"])
    assert disk.get_run(lost.run_id).status is RunStatus.RUNNING


def test_a_run_hears_of_a_refusal_before_its_next_step(grouped, disk):
    """When a group is committed by the record of a long step, the run that is refused stops there."""
    (lost,) = begun(grouped, "lost")
    disk.begin(lost, resumes=disk.get_run(lost.run_id), take_over=True)
    with pytest.raises(Superseded):
        grouped.record(lost, [step("one", seconds=NEVER)])


def test_a_record_that_no_database_holds_harms_no_other(grouped, disk):
    """A value that is refused fails its run alone; what that recorded before, and the others', is there."""
    bad, well = begun(grouped, "bad", "well")
    grouped.record(bad, [step("one")])
    grouped.record(bad, [StepRecord(**{**fields(step("two")), "attempts": 2**80})])
    grouped.record(well, [step("one")])
    grouped.finish(bad, RunStatus.OK)
    answers = Answers()
    grouped.when_committed(bad, answers.of(bad))
    grouped.flush()
    assert answers == [("bad", LedgerError)]
    assert [list(disk.statuses(run.key)) for run in (bad, well)] == [["one"], ["one"]]
    assert disk.get_run(bad.run_id).status is RunStatus.RUNNING


def fields(record):
    """Return the fields of a record by which it is compared."""
    return {field.name: getattr(record, field.name) for field in dataclass_fields(record) if field.compare}


def test_one_that_cannot_begin_keeps_no_other_from_it(grouped, disk):
    """Of several that begin together, one whose capture is held or that is there already is refused, and no other."""
    held = new_run("held")
    disk.begin(new_run("held"), lease=LEASE)
    (known,) = begun(grouped, "known")
    well = new_run("well")
    grouped.begin_ahead([held, known, well], LEASE)
    with pytest.raises(CaptureHeld):
        grouped.begin(held, exclusive=True)
    with pytest.raises(RunExists):
        grouped.begin(known, exclusive=True)
    assert grouped.begin(well, exclusive=True).owner
    assert {run.context.params["name"] for run in disk.list_runs()} == {"held", "known", "well"}


def test_runs_whose_ledger_has_gone_are_told(sqlite_url, tmp_path):
    """What cannot be committed is told as such, of each run of the group."""
    ledger = GroupedLedger(f"sqlite:///{tmp_path / 'folder' / 'ledger.db'}", seconds=NEVER)
    wanted = [new_run("one"), new_run("two")]
    ledger.begin_ahead(wanted, LEASE)
    for run in wanted:
        with pytest.raises(LedgerUnavailable):
            ledger.begin(run, exclusive=True)


@pytest.mark.parametrize("after", [False, True])
def test_a_group_survives_a_cut_at_any_statement(postgres_url, after):
    """Cut before or after the server has a statement, each in turn: all of the group is there, once."""
    proxy = CuttingProxy(postgres_url)
    ledger = GroupedLedger(through(proxy, postgres_url), seconds=NEVER)
    begun(ledger, "first")
    number = 0
    while number == 0 or proxy.cut:
        number += 1
        proxy.cut_at(number, after=after)
        one, two = begun(ledger, f"{number}a", f"{number}b")
        for run in (one, two):
            ledger.record(run, [step("one")])
            ledger.finish(run, RunStatus.OK)
        answers = Answers()
        ledger.when_committed(two, answers.of(two))
        ledger.flush()
        found = [ledger.get_run(run.run_id) for run in (one, two)]
        assert [(run.status, run.fencing_token) for run in found] == [(RunStatus.OK, 1)] * 2, number
        assert [list(ledger.statuses(run.key)) for run in (one, two)] == [["one"]] * 2
        assert answers == [(f"{number}b", None)]
    captures = ledger.captures()
    assert {capture.revision for capture in captures} == {1}
    assert number > 10
    ledger.close()
    proxy.close()


def run_all(ledger, names):
    """Begin runs, record their steps, and end each in another way."""
    runs = begun(ledger, *names)
    for number, run in enumerate(runs):
        status = (RunStatus.OK, RunStatus.SKIPPED, RunStatus.FAILED)[number % 3]
        ledger.record(run, [step("one", n=number)])
        ledger.record(run, [step("two", n=number)])
        ledger.finish(run, status, None if status is RunStatus.OK else "why")
    return runs


def test_a_group_takes_as_few_statements_as_a_run(sql_url):
    """However many runs there are in it: their rows travel together, with no round trip for each."""
    ledger = GroupedLedger(sql_url, seconds=NEVER)
    ledger.list_runs()
    counts = []
    for number in (2, 30):
        with statements(ledger) as found:
            run_all(ledger, [f"{number}-{n:02}" for n in range(number)])
            ledger.flush()
        counts.append(len(found))
    ledger.close()
    assert max(counts) < 30


def test_what_is_written_together_is_what_is_written_one_by_one(sql_url, tmp_path):
    """Row for row, but for the times and what only the writer knows."""

    def rows(ledger, runs):
        tables = ("flowctx_run", "flowctx_attempt", "flowctx_step", "flowctx_capture")
        names = {run.run_id: run.context.idempotency_key for run in runs}
        keys = {run.key.digest: run.context.idempotency_key for run in runs}
        found = ledger._database.autocommit(
            lambda at: [(t, dict(row)) for t in tables for row in at.exec_driver_sql(f"SELECT * FROM {t}").mappings()]
        )
        apart = {"nonce", "started_at", "seconds", "context", "digest", "payload", "owner"}
        return sorted(
            (table, sorted((k, str(keys.get(v, names.get(v, v)))) for k, v in row.items() if not varies(k, v, apart)))
            for table, row in found
        )

    def varies(name, value, apart):
        return name in apart or (name.endswith(("_at", "_until")) and value is not None)

    together, apart = GroupedLedger(sql_url, seconds=NEVER), GroupedLedger(f"sqlite:///{tmp_path}/o.db", seconds=None)
    names = [f"n{number}" for number in range(6)]
    found = []
    for ledger in (together, apart):
        runs = run_all(ledger, names)
        ledger.flush()
        found.append(rows(ledger, runs))
        ledger.close()
    assert found[0] == found[1]
    assert len(found[0]) == 6 + 6 + 12 + 6


def test_any_text_comes_back_from_a_group(sql_url):
    """Whatever stands in it, in the context, an output, an error or a name; of a step recorded twice, the latest."""
    odd = "a\\ \\u0000 \" ' % %s {} \0 \ud800 é \u2028 \U0001f4c8\n"
    ledger = GroupedLedger(sql_url, seconds=NEVER)
    wanted = [replace(run, context=replace(run.context, params={"text": odd})) for run in (new_run("1"), new_run("2é"))]
    ledger.begin_ahead(wanted, LEASE)
    runs = [ledger.begin(run, exclusive=True, lease=LEASE) for run in wanted]
    records = [replace(step("one", text=odd), error=odd), step("two")]
    for run in runs:
        ledger.record(run, [step("one", text="at first")])
        ledger.record(run, records)
        ledger.finish(run, RunStatus.FAILED, odd)
    with statements(ledger) as found:
        ledger.flush()
    assert len(found) < 12
    for run in runs:
        assert fields(ledger.steps(run.key, ["one"])[0]) == fields(records[0])
        known = ledger.get_run(run.run_id)
        assert known.context.params == {"text": odd}
        assert known.error is not None
    ledger.close()


def test_rows_are_looked_up_by_index_in_the_smallest_table(postgres_url):
    """A plan stays while the table grows: one that reads all of it would take longer for each run than for the last."""
    ledger = GroupedLedger(postgres_url, seconds=NEVER)
    run_all(ledger, ["only"])
    ledger.flush()
    query = "EXPLAIN UPDATE flowctx_run SET status = 'ok' WHERE run_key = 'one' AND fence = 1"
    plan = ledger._database.autocommit(lambda at: "".join(at.exec_driver_sql(query).scalars()))
    ledger.close()
    assert "Index Scan using flowctx_run_pkey" in plan
    assert "Seq Scan" not in plan
