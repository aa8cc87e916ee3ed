"""How a run begins: planned from what is remembered, then begun at once."""

from dataclasses import replace

import pytest

from flowctx import AlreadyCaptured, RunAlive, StepResult, Superseded, Workflow
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.resumption import plan_resume
from flowctx.core.durability.run_plan import begin_run, plan_next_attempt, plan_run
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import make_context
from step_by_step import StepByStep


@pytest.fixture
def flow():
    flow = Workflow("flow", params={"x": 1})
    flow.step(name="a")(lambda ctx: {})
    flow.step(name="b")(lambda ctx: StepResult.fail("no"))
    flow.step(name="c")(lambda ctx: {})
    return flow


@pytest.fixture
def ledger():
    return MemoryLedger()


CTX = make_context(workflow="flow")


def test_a_plan_writes_nothing(flow, ledger):
    """Until a run begins, the ledger does not know of it."""
    plan = plan_run(ledger, flow, CTX, import_path="flows:flow")
    assert ledger.list_runs() == []
    assert (plan.run.steps, plan.run.selected, plan.run.import_path) == (("a", "b", "c"), (), "flows:flow")
    assert (plan.order, plan.resume) == ({"a": (), "b": ("a",), "c": ("b",)}, None)


@pytest.mark.parametrize(("selected", "part"), [(["b", "a"], ("a", "b")), ("abc", ()), ([], ()), (["x"], ())])
def test_a_part_is_less_than_all(flow, ledger, selected, part):
    """The steps of a part are in the workflow's order; all of them, or none, are no part."""
    assert plan_run(ledger, flow, CTX, selected=selected).run.selected == part


def test_loose_steps_have_a_name_and_no_order(ledger):
    """Where there is no workflow, the engine's name for the run stands for it."""
    plan = plan_run(ledger, "dag", CTX)
    assert (plan.run.workflow, plan.run.steps, plan.order) == ("dag", (), {})


def test_every_step_may_begin_the_run(flow, ledger):
    """Who comes later finds the run begun, and sees what its own engine says."""
    begun = [begin_run(ledger, plan_run(ledger, flow, ctx)) for ctx in (CTX, replace(CTX, params={"x": 2}))]
    assert [recorder.run.attempt for recorder in begun] == [1, 1]
    assert [recorder.context.params for recorder in begun] == [{}, {"x": 2}]
    assert len(ledger.list_runs()) == 1


def test_two_steps_may_plan_the_same_continuation(flow, ledger):
    """The one that begins first wins, and the other finds the run begun."""
    StepByStep(flow, ledger, run_id="e1").all_steps()
    ctx = make_context(workflow="flow", run_id="e2")
    plans = [plan_run(ledger, flow, ctx, request=RunRequest(resume_from="e1")) for _ in range(2)]
    begun = begin_run(ledger, plans[0]).run
    assert begin_run(ledger, plans[1]).run == begun
    assert begin_run(ledger, plan_run(ledger, flow, ctx, request=RunRequest(resume_from="e1"))).run == begun
    other = replace(ctx, run_id="e3")
    with pytest.raises(Superseded):
        begin_run(
            ledger,
            replace(plans[1], run=replace(plans[1].run, context=other), resume=replace(plans[1].resume, context=other)),
        )


def test_a_request_says_what_becomes_of_a_captured_partition(flow, ledger):
    """With ``skip`` a run whose partition is captured does not begin; without it there is a new capture."""
    whole = Workflow("whole")
    whole.step(name="a")(lambda ctx: {})
    StepByStep(whole, ledger, run_id="e1").all_steps()
    ctx = make_context(workflow="whole", run_id="e2")
    with pytest.raises(AlreadyCaptured):
        begin_run(ledger, plan_run(ledger, whole, ctx, request=RunRequest(on_captured="skip")))
    assert begin_run(ledger, plan_run(ledger, whole, ctx)).run.status is RunStatus.RUNNING


def next_attempt(flow, ledger, **how):
    run = ledger.get_run("e1")
    return plan_next_attempt(flow, plan_resume(flow, run, ledger.steps(run.key)), **how)


def test_the_next_attempt_is_for_one_alone(flow, ledger):
    """Of two who resume a run, the one that begins first has it; the other is told."""
    StepByStep(flow, ledger, run_id="e1").all_steps()
    plans = [next_attempt(flow, ledger) for _ in range(2)]
    recorder = begin_run(ledger, plans[0])
    assert (recorder.run.attempt, recorder.context.checkpoint.completed) == (2, ("a",))
    with pytest.raises(Superseded):
        begin_run(ledger, plans[1])


def test_the_next_attempt_is_where_the_first_was(flow, ledger):
    """Unless it is said anew, the workflow is imported from where it was."""
    ctx = make_context(workflow="flow", run_id="e1", params={"x": 1})
    first = begin_run(ledger, plan_run(ledger, flow, ctx, import_path="flows:flow"))
    ledger.finish(first.run, RunStatus.FAILED)
    assert begin_run(ledger, next_attempt(flow, ledger)).run.import_path == "flows:flow"


def test_a_run_that_is_alive_is_taken_over_only_if_that_is_said(flow, ledger):
    """Somebody who is at a run keeps it, unless the caller wants to have it; then the first one is stopped."""
    first = begin_run(ledger, plan_run(ledger, flow, make_context(workflow="flow", run_id="e1", params={"x": 1})))
    with pytest.raises(RunAlive, match="take_over=True"):
        begin_run(ledger, next_attempt(flow, ledger))
    begin_run(ledger, next_attempt(flow, ledger, take_over=True))
    with pytest.raises(Superseded):
        ledger.finish(first.run, RunStatus.OK)
