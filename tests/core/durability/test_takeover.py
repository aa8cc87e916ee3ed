"""A run in the way of another is asked for at its engine, and taken over if it is over."""

import pytest

from flowctx import CaptureHeld, RunAlive, StepResult, Workflow
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.run_plan import plan_run
from flowctx.core.durability.takeover import begin_or_take_over
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import make_context
from step_by_step import StepByStep


@pytest.fixture
def flow():
    flow = Workflow("flow")
    flow.step(name="a")(lambda ctx: {})
    flow.step(name="b")(lambda ctx: StepResult.ok())
    return flow


@pytest.fixture
def ledger(flow):
    """A ledger in which run ``e1`` has begun and holds the capture ``one``."""
    ledger = MemoryLedger()
    StepByStep(flow, ledger, run_id="e1", capture_id="one").attempt("a")
    return ledger


def begin(flow, ledger, end_of, run_id="e2", capture_id="one", **request):
    ctx = make_context(workflow="flow", run_id=run_id, capture_id=capture_id)
    return begin_or_take_over(ledger, ledger, plan_run(ledger, flow, ctx, request=RunRequest(**request)), end_of)


def test_a_capture_whose_holder_is_over_is_taken_over(flow, ledger):
    """The run that held it ends as its engine says, and the new one begins at once."""
    begun = begin(flow, ledger, lambda run: RunStatus.FAILED)
    assert (begun.run.run_id, ledger.get_run("e2").status) == ("e2", RunStatus.RUNNING)
    before = ledger.get_run("e1")
    why = "it died; its engine says that it is over; step 'b' had not ended"
    assert (before.status, before.error) == (RunStatus.FAILED, why)


def test_a_capture_whose_holder_goes_on_is_refused(flow, ledger):
    """Where the engine says that it goes on, or cannot know, the new run does not begin and the other is left alone."""
    asked = []
    with pytest.raises(CaptureHeld):
        begin(flow, ledger, lambda run: asked.append(run.run_id))
    assert (asked, ledger.get_run("e1").status) == (["e1"], RunStatus.RUNNING)


def test_all_that_are_over_are_taken_over(flow, ledger):
    """However many dead runs are in the way, all are ended, and the new one begins at the first call."""
    for number in ("two", "three"):
        StepByStep(flow, ledger, run_id=number, capture_id=number).attempt("a")
    begun = begin(flow, ledger, lambda run: RunStatus.FAILED, "e9", "nine", on_captured="skip")
    assert begun.run.run_id == "e9"
    assert {run.run_id: str(run.status) for run in ledger.list_runs()} == {
        "e9": "running", "e1": "failed", "two": "failed", "three": "failed",
    }  # fmt: skip


def test_one_that_goes_on_among_the_dead_is_left_alone(flow, ledger):
    """The dead are ended, the living run keeps its capture, and the new one is refused."""
    for number in ("two", "three"):
        StepByStep(flow, ledger, run_id=number, capture_id=number).attempt("a")
    with pytest.raises(CaptureHeld, match="run two"):
        begin(
            flow,
            ledger,
            lambda run: None if run.run_id == "two" else RunStatus.FAILED,
            "e9",
            "nine",
            on_captured="skip",
        )
    assert {run.run_id: str(run.status) for run in ledger.list_runs()} == {
        "e1": "failed", "two": "running", "three": "failed",
    }  # fmt: skip


def test_a_run_that_is_over_can_be_continued(flow, ledger):
    """A run that is to go on in another one is asked for too, with its steps."""
    with pytest.raises(RunAlive):
        begin(flow, ledger, lambda run: None, resume_from="e1")
    begun = begin(flow, ledger, lambda run: RunStatus.CANCELED, resume_from="e1")
    assert begun.context.checkpoint.completed == ("a",)


def test_nobody_is_asked_where_nothing_is_in_the_way(flow):
    """A run that can begin begins."""
    begun = begin(flow, MemoryLedger(), lambda run: pytest.fail("it was asked"))
    assert begun.run.run_id == "e2"


def test_without_a_ledger_nobody_can_be_asked(flow, ledger):
    """What the run is recorded in says no, and there is no ledger to look into."""
    ctx = make_context(workflow="flow", run_id="e2", capture_id="one")
    with pytest.raises(CaptureHeld):
        begin_or_take_over(ledger, None, plan_run(ledger, flow, ctx), lambda run: RunStatus.FAILED)
