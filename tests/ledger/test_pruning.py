"""What a prune leaves known, in every ledger: of batches, of partitions, and of what was read."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from flowctx import (
    Backfill,
    BatchError,
    PartitionScheme,
    RunResult,
    VersionGone,
    Workflow,
    WorkflowContext,
    outputs,
    resume,
    run,
    stale,
)
from flowctx.backfill.again import RunsAgain
from flowctx.backfill.joint import JointBackfill
from flowctx.backfill.lacking import inputs_lacking
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.versions import version_read
from flowctx.ledger.pruning import Pruning
from flowctx.ledger.pruning_reads import ReadsBeside
from flowctx.ledger.sql import SqlLedger
from flowctx.local import plan_new_run
from flowctx.testing import FakeClock
from flowctx.testing.records import a_step
from flowctx.versions.mending import ParamsAgain

TIERS = PartitionScheme(tier=["T1", "T2"])
nav = Workflow("nav", partitions=TIERS, params={"price": 1.0, "fail": False})


@nav.step()
def value(ctx: WorkflowContext) -> dict[str, float]:
    """The price, unless the step is to fail."""
    if ctx.params["fail"]:
        raise ValueError("no price")
    return {"nav": ctx.params["price"]}


rep = Workflow("rep", partitions=TIERS)


@rep.step(inputs={"now": nav.output("value")})
def line(ctx: WorkflowContext, *, now: Mapping[str, float]) -> dict[str, float]:
    """What was read."""
    return {"line": now["nav"]}


def make(ledger: Ledger, clock: FakeClock, batch_id: str, tier: str = "T1", **params: object) -> RunResult:
    """Make a version of a partition, a day later."""
    clock.advance(timedelta(days=1))
    run_id = f"{batch_id}-{tier}"
    return run(nav, partition=tier, batch_id=batch_id, run_id=run_id, params=params, ledger=ledger, clock=clock)


def prune(ledger: Ledger, clock: FakeClock) -> int:
    """Forget what may go by now, and return how many runs that were."""
    clock.advance(timedelta(days=1))
    would, _ = ledger.would_prune(clock.now())
    pruned = ledger.prune(clock.now())
    assert pruned == would
    return pruned.runs


def test_the_id_of_a_batch_that_was_pruned_is_taken(ledger: Ledger, clock: FakeClock) -> None:
    """What was pruned does not count as done for a new batch, which asks for something else; it says what to do."""
    first = Backfill(nav, None, "first", params={"price": 1.0}, ledger=ledger)
    ledger.batches.put(first.record())
    for batch_id, tier in (("first", "T1"), ("first", "T2"), ("restated", "T1"), ("restated", "T2")):
        make(ledger, clock, batch_id, tier)
    clock.advance(timedelta(days=9000))  # a batch is as old as this machine's clock says
    assert prune(ledger, clock) == 2
    assert ledger.find_batch("first") is None
    again = Backfill(nav, "tier=T1", "first", params={"price": 3.0}, ledger=ledger)
    other = Workflow("other", partitions=TIERS)
    other.step("value")(lambda ctx: {})
    joint = JointBackfill([again, Backfill(other, None, "first", ledger=ledger)])
    for plan, extend in ((again, False), (again, True), (joint, False)):
        with pytest.raises(BatchError, match=r"'first' was pruned, .* of the 2 partitions .*'nav'; take another id"):
            plan.plan(extend=extend)
    assert Backfill(other, None, "first", ledger=ledger).plan().would_run == 2


def test_a_single_run_of_a_batch_that_was_pruned_is_not_what_is_current(ledger: Ledger, clock: FakeClock) -> None:
    """It has the number of the version that was pruned; the id of a batch that never captured anything is free."""
    for batch_id in ("first", "restated"):
        make(ledger, clock, batch_id)
    make(ledger, clock, "failed", "T2", fail=True)
    assert prune(ledger, clock) == 2
    make(ledger, clock, "first", price=9.0)
    assert [output["nav"] for output in outputs(nav, "value", ledger=ledger).values()] == [1.0]
    assert [output["nav"] for output in outputs(nav, "value", revision=1, ledger=ledger).values()] == [9.0]
    assert Backfill(nav, None, "failed", ledger=ledger).plan().would_run == 2


@pytest.mark.parametrize("restated", [False, True])
def test_a_partition_that_failed_last_is_not_pruned_as_done(ledger: Ledger, clock: FakeClock, restated: bool) -> None:
    """It was complete, was made again in its batch and failed: it goes, as done, where another version is current."""
    make(ledger, clock, "first")
    make(ledger, clock, "first", "T2")
    clock.advance(timedelta(days=1))
    resume("first-T1", nav, from_step="value", params={"fail": True}, ledger=ledger, clock=clock)
    if restated:
        make(ledger, clock, "restated")
    batch = Backfill(nav, None, "first", ledger=ledger)
    assert batch.plan(retry_failed=True).would_run == 1
    assert prune(ledger, clock) == (1 if restated else 0)
    assert batch.plan(retry_failed=True).would_run == (0 if restated else 1)
    found = ledger.batches.count_outcomes("first", "nav")
    assert found == {"ok": 1, "pruned" if restated else "failed": 1}
    gone = ledger.pruned_versions("nav", [nav.partition_key("T1")])
    assert [(one.revision, one.batch_id) for one in gone] == ([(1, "first")] if restated else [])


def test_a_version_that_was_pruned_without_its_batch_has_it_when_it_is_pruned_again(
    clock: FakeClock, tmp_path: Path
) -> None:
    """Earlier states of the code left it out of one that had failed since; what else was remembered stays."""
    with closing(SqlLedger(f"sqlite:///{tmp_path}/ledger.db", clock=clock)) as ledger:
        make(ledger, clock, "first")
        make(ledger, clock, "restated")
        assert prune(ledger, clock) == 1
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
            database.execute("UPDATE flowctx_pruned_capture SET batch_id = NULL")
        [before] = ledger.pruned_versions("nav", [nav.partition_key("T1")])
        run(nav, partition="T1", batch_id="first", run_id="again", ledger=ledger, clock=clock).raise_for_failure()
        assert prune(ledger, clock) == 1
        [after] = ledger.pruned_versions("nav", [nav.partition_key("T1")])
        again = {"batch_id": "first", "last_completed_at": after.last_completed_at}
        assert (before.batch_id, after) == (None, replace(before, **again))


@pytest.mark.parametrize("status", [RunStatus.PARTIAL, RunStatus.FAILED, RunStatus.RUNNING, RunStatus.OK])
@pytest.mark.parametrize("noted", [False, True])
def test_a_part_hides_no_whole_run_that_was_pruned(
    ledger: Ledger, clock: FakeClock, status: RunStatus, noted: bool
) -> None:
    """A part of it that stays is older than what is current: launched again, the batch leaves the partition alone."""
    batch = Backfill(nav, None, "first", ledger=ledger)
    ledger.batches.put(batch.record())
    for tier in ("T1", "T2"):
        make(ledger, clock, "first", tier)
    make(ledger, clock, "restated")
    before = clock.now()
    plan = plan_new_run(nav, partition="T1", params={}, batch_id="first", run_id="part", ledger=ledger, clock=clock)
    part = ledger.begin(replace(plan.run, selected=("value",)))
    if status is not RunStatus.RUNNING:
        ledger.finish(part, status)
    if noted:
        note = PartitionRun(
            partition="tier=T1", state=PartitionState(status), run_id="part", engine="airflow", last_seen_at=clock.now()
        )
        ledger.batches.record_outcomes("first", [note])
    clock.advance(timedelta(seconds=1))
    assert ledger.prune(before).runs == 1
    assert ledger.get_run("part").status is status
    done = status is RunStatus.OK
    outcomes = {run.partition: run.state for run in ledger.batches.iter_outcomes("first", workflow="nav")}
    assert outcomes == {"tier=T1": "ok" if done else "pruned", "tier=T2": "ok"}
    assert {one.partition: one.state for one in ledger.batches.iter_standings("first", "nav")} == outcomes
    assert ledger.batches.count_outcomes("first", "nav") == ({"ok": 2} if done else {"ok": 1, "pruned": 1})
    assert batch.plan(retry_failed=True).would_run == 0


def test_what_is_made_again_after_it_was_pruned_is_not_current(ledger: Ledger, clock: FakeClock) -> None:
    """It has the revision that it had, before the version that is current; what was known before that stays known."""
    make(ledger, clock, "first", price=1.0)
    known_at = clock.now() + timedelta(hours=1)
    make(ledger, clock, "restated", price=2.0)
    assert prune(ledger, clock) == 1
    make(ledger, clock, "first", price=3.0)
    assert {one.run_id: one.revision for one in ledger.captures()} == {"first-T1": 1, "restated-T1": 2}
    for which, price in (({}, 2.0), ({"batch_id": "first"}, 3.0), ({"revision": 1}, 3.0)):
        [found] = outputs(nav, "value", ledger=ledger, **which).values()
        assert found["nav"] == price
    for left in (1, 0):
        with pytest.raises(VersionGone, match=r"revision 1, .* was pruned"):
            outputs(nav, "value", known_at=known_at, ledger=ledger)
        assert prune(ledger, clock) == left
    make(ledger, clock, "new", price=4.0)
    assert [one.revision for one in ledger.captures()] == [2, 3]


def test_nothing_older_stands_in_for_what_was_pruned(ledger: Ledger, clock: FakeClock) -> None:
    """The first version is kept, the second was pruned, and the last one fails when it is made again: none is current.

    What has read the first one is stale, and what would read one fails, until there is a newer one.
    """
    make(ledger, clock, "first", price=1.0)
    run(rep, partition="T1", batch_id="reports", ledger=ledger, clock=clock).raise_for_failure()
    make(ledger, clock, "second", price=2.0)
    make(ledger, clock, "third", price=3.0)
    assert prune(ledger, clock) == 1
    resume("third-T1", nav, from_step="value", params={"fail": True}, ledger=ledger, clock=clock)
    for which in ({}, {"known_at": clock.now()}):
        with pytest.raises(VersionGone, match=r"T1: capture T1\|second \(revision 2, .* was pruned, and nothing older"):
            outputs(nav, "value", ledger=ledger, **which)
    [before] = stale(rep, ledger=ledger)
    assert "captured again by T1|second after T1|first" in before.reason
    failed = run(rep, partition="T1", batch_id="new", ledger=ledger, clock=clock)["line"]
    assert failed.category == "DEPENDENCY"
    assert str(failed.error).startswith("InputMissing: input 'now' of step 'line' needs partition tier=T1 of workflow")
    assert "capture T1|second (revision 2, of " in str(failed.error)
    assert run(rep, partition="T1", batch_id="first", ledger=ledger, clock=clock).status == "ok"
    assert inputs_lacking(Backfill(rep, "tier=T1", "other", ledger=ledger), RunsAgain()).count == 1
    [gone] = stale(nav, ledger=ledger)
    assert str(gone.missing).startswith("capture T1|second (revision 2, of ")
    make(ledger, clock, "fourth", price=2.0)
    assert stale(nav, ledger=ledger) == []
    assert [output["nav"] for output in outputs(nav, "value", ledger=ledger).values()] == [2.0]
    assert run(rep, partition="T1", batch_id="new", ledger=ledger, clock=clock).status == "ok"


@pytest.mark.parametrize("pruned", [True, False])
def test_what_is_made_again_has_the_parameters_that_it_had_last(ledger: Ledger, clock: FakeClock, pruned: bool) -> None:
    """Where none is current, they are those of the newest run that was complete once, and not of one that never was."""
    if pruned:
        make(ledger, clock, "first", price=1.0)
        ledger.batches.keep("first")
        make(ledger, clock, "second", price=2.0)
    make(ledger, clock, "third", price=3.0)
    assert prune(ledger, clock) == int(pruned)
    resume("third-T1", nav, from_step="value", params={"fail": True}, ledger=ledger, clock=clock)
    make(ledger, clock, "tried", price=9.0, fail=True)
    key = nav.partition_key("T1")
    again = ParamsAgain(nav, ledger, {"fail": False})
    again.check([key])
    assert again(key) == {"price": 3.0, "fail": False}
    other = Workflow("nav", partitions=TIERS, params={"cost": 1.0, "fail": False})
    other.step("value")(lambda ctx: {})
    with pytest.raises(BatchError, match=r"partition tier=T1 of nav had parameters that are gone \(price\)"):
        ParamsAgain(other, ledger, {}).check([key])


# -- beside a prune, in a database ------------------------------------------------------------------------------------


def read_again(ledger: Ledger, run_id: str) -> float:
    """Return what the step of a report has read, which is to be there still."""
    [step] = ledger.steps(ledger.get_run(run_id).key)
    [version] = step.inputs["now"]
    assert list(ledger.runs_of([version.run_key])) == [version.run_key]
    [found] = outputs(nav, "value", batch_id="first", ledger=ledger).values()
    return float(found["nav"])


def report(ledger: Ledger, clock: FakeClock, *, ends: bool = True) -> None:
    """Read the version of the first batch, and record that."""
    how = {"partition": "T1", "batch_id": "first", "run_id": "report", "ledger": ledger, "clock": clock}
    if ends:
        run(rep, **how)
        return
    begun = ledger.begin(plan_new_run(rep, params={}, **how).run)
    [version] = ledger.versions("nav", "value", [nav.partition_key("T1")], batch_id="first")[:1]
    read = {"now": (version_read("nav", "value", version),)}
    ledger.record(begun, [replace(a_step("line"), inputs=read)])


@pytest.mark.parametrize("versions", [1, 2])
@pytest.mark.parametrize("beside", ["restated", "reported", "under way"])
def test_what_is_recorded_beside_a_prune_keeps_what_it_was_built_from(
    sql_url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, versions: int, beside: str
) -> None:
    """A version that is superseded beside it stays, and one that was before is read by what is recorded beside it."""
    ledger = SqlLedger(sql_url, clock=clock)
    make(ledger, clock, "first", price=1.0)

    def restate() -> None:
        for number in range(versions):
            make(ledger, clock, f"restated-{number}", price=2.0)

    if beside == "restated":
        report(ledger, clock)
    else:
        restate()
    before = clock.now() + timedelta(hours=1)
    clock.advance(timedelta(days=1))
    begin = Pruning._runs_to_forget

    def begins(pruning: Pruning, needed: set[str]) -> object:
        if beside == "restated":
            restate()
        else:
            report(ledger, clock, ends=beside == "reported")
        return begin(pruning, needed)

    monkeypatch.setattr(Pruning, "_runs_to_forget", begins)
    assert ledger.prune(before, versions=versions).runs == 0
    assert read_again(ledger, "report") == 1.0
    ledger.close()


def test_what_is_over_is_looked_at_once(sql_url: str, clock: FakeClock) -> None:
    """However many transactions follow; unless it has gone on since, or what was to be done with it failed."""
    ledger = SqlLedger(sql_url, clock=clock)
    make(ledger, clock, "first", price=1.0)
    [version] = ledger.versions("nav", "value", [nav.partition_key("T1")])
    beside = ReadsBeside(ledger._database, clock.now())

    def read(at: Connection) -> set[str]:
        with beside.look(at) as found:
            return found

    def fail(at: Connection) -> None:
        with beside.look(at):
            raise LookupError

    look, transaction = partial(ledger._database.transaction, read), ledger._database.transaction
    report(ledger, clock)
    with pytest.raises(LookupError):
        transaction(fail)
    assert look() == {version.run_key}
    assert look() == set()
    clock.advance(timedelta(seconds=1))
    resume("report", rep, from_step="line", ledger=ledger, clock=clock)
    assert look() == {version.run_key}
    assert look() == set()
    ledger.close()


def test_what_ends_beside_a_prune_keeps_what_it_read_however_long_it_took(
    sql_url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that began days before, and was under way when it was asked what is needed."""
    ledger = SqlLedger(sql_url, clock=clock)
    make(ledger, clock, "first", price=1.0)
    how = {"partition": "T1", "batch_id": "first", "run_id": "report", "ledger": ledger, "clock": clock}
    begun = ledger.begin(plan_new_run(rep, params={}, **how).run, lease=timedelta(days=9))
    [version] = ledger.versions("nav", "value", [nav.partition_key("T1")], batch_id="first")
    make(ledger, clock, "restated", price=2.0)
    before = clock.now() + timedelta(hours=1)
    clock.advance(timedelta(days=3))
    begin = Pruning._runs_to_forget

    def ends(pruning: Pruning, needed: set[str]) -> object:
        ledger.record(begun, [replace(a_step("line"), inputs={"now": (version_read("nav", "value", version),)})])
        ledger.finish(begun, RunStatus.OK)
        return begin(pruning, needed)

    monkeypatch.setattr(Pruning, "_runs_to_forget", ends)
    assert ledger.prune(before).runs == 0
    assert read_again(ledger, "report") == 1.0
    ledger.close()
