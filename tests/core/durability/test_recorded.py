"""What the ledger holds of steps whose engine keeps nothing of them."""

import sqlite3
from contextlib import closing

import pytest

from flowctx import PartitionScheme, PayloadError, StepResult, Workflow, run
from flowctx.core.durability.recorded import find_run, latest_continuation, recorded_envelope
from flowctx.core.durability.records import RunRecord
from flowctx.ledger.memory import MemoryLedger
from flowctx.ledger.sql import SqlLedger
from step_by_step import StepByStep


@pytest.fixture
def flow():
    flow = Workflow("flow", params={"broken": True, "skip": False})
    flow.step(name="a")(lambda ctx: StepResult.skip("none") if ctx.params["skip"] else {"n": 1})
    flow.step(name="b")(lambda ctx: 1 / 0 if ctx.params["broken"] else {"n": 2})
    return flow


@pytest.fixture
def ledger():
    return MemoryLedger()


def record_of(run):
    return RunRecord(workflow="flow", context=run.ctx, steps=("a", "b"))


def test_what_a_complete_step_handed_on_is_there(flow, ledger):
    """It is what the step handed on when it ran; of a step that failed or never ran there is nothing."""
    run = StepByStep(flow, ledger)
    run.all_steps()
    assert recorded_envelope(ledger, record_of(run), "a") == run.envelope("a")
    assert recorded_envelope(ledger, record_of(run), "b") is None
    assert recorded_envelope(ledger, record_of(run), "x") is None
    assert recorded_envelope(None, record_of(run), "a") is None


def test_a_skip_is_recorded_with_its_reason(flow, ledger):
    """A step that was skipped hands on that it was, and why."""
    run = StepByStep(flow, ledger, params={"skip": True})
    run.attempt("a")
    found = recorded_envelope(ledger, record_of(run), "a")
    assert (found.status, found.error, found.output) == ("skipped", "none", {})


def test_another_run_of_the_capture_will_do(flow, ledger):
    """A step that another run of the same capture completed is found in a run that never ran it."""
    first = StepByStep(flow, ledger, run_id="e1", capture_id="one")
    first.attempt("a")
    second = StepByStep(flow, ledger, run_id="e2", capture_id="one")
    other = StepByStep(flow, ledger, run_id="e3", capture_id="other")
    assert recorded_envelope(ledger, record_of(second), "a") == first.envelope("a")
    assert recorded_envelope(ledger, record_of(other), "a") is None


@pytest.mark.parametrize("run_id", ["e1", "e2"])
def test_a_damaged_row_of_another_step_is_not_looked_at(tmp_path, run_id):
    """What a step handed on is read with the steps before it, in its own run or another one, and with no others."""
    flow = Workflow("flow")
    for name in ("a", "b", "c"):
        flow.step(name=name)(lambda ctx: {"n": 1})
    with closing(SqlLedger(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        first = StepByStep(flow, ledger, run_id="e1", capture_id="one")
        first.all_steps()
        context = StepByStep(flow, ledger, run_id=run_id, capture_id="one").ctx
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
            database.execute("UPDATE flowctx_step SET payload = 'x' WHERE step = 'c'")
        run = RunRecord(workflow="flow", context=context, steps=("a", "b", "c"))
        assert recorded_envelope(ledger, run, "b") == first.envelope("b")
        with pytest.raises(PayloadError, match="e1 is damaged"):
            recorded_envelope(ledger, run, "c")


def test_the_last_of_those_that_continued_a_run_is_found(flow, ledger):
    """A run that was continued twice goes on in the last one; one that was not is itself."""
    StepByStep(flow, ledger, run_id="e1").all_steps()
    assert latest_continuation(ledger, ledger.get_run("e1")).run_id == "e1"
    StepByStep(flow, ledger, run_id="e2", resume_from="e1").all_steps()
    StepByStep(flow, ledger, run_id="e3", resume_from="e2").all_steps()
    assert latest_continuation(ledger, ledger.get_run("e1")).run_id == "e3"


def test_a_continuation_that_is_forgotten_leads_nowhere(flow, ledger):
    """Where the ledger does not know the run that goes on, the one that is known stands."""
    StepByStep(flow, ledger, run_id="e1").all_steps()
    StepByStep(flow, ledger, run_id="e2", resume_from="e1").all_steps()
    known = ledger.get_run("e1")
    assert latest_continuation(MemoryLedger(), known) is known


@pytest.mark.parametrize("funds", [["A"], ["A", "B"]])
def test_an_instance_is_not_the_run_without_a_partition(ledger, funds):
    """Under one id, what comes after all instances has a run of its own, whether there is one of them or several."""
    by_fund, undivided = Workflow("flow", partitions=PartitionScheme(fund=funds)), Workflow("flow")
    for flow in (by_fund, undivided):
        flow.step(name="a")(lambda ctx: None)
    for fund in funds:
        run(by_fund, partition=fund, run_id="r", ledger=ledger)
    assert find_run(ledger, "r", "flow", None) is None
    run(undivided, run_id="r", ledger=ledger)
    assert find_run(ledger, "r", "flow", None).context.partition is None
    assert find_run(ledger, "r", "flow", by_fund.partition_key("A")).context.partition == {"fund": "A"}
