"""What the recorder writes down of a run whose steps each know only the run's context, as on an engine."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

import pytest

from flowctx import LedgerUnavailable, StepResult, Superseded, UnknownRun, Workflow, resume
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.run_ledgers import run_ledger
from flowctx.core.durability.run_plan import begin_run, plan_run
from flowctx.core.execution.envelope import Envelope
from flowctx.core.execution.execute import execute
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import make_context
from flowctx.testing.clock import NOON
from step_by_step import AwayLedger, StepByStep


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def calls():
    return []


@pytest.fixture
def flow(calls):
    flow = Workflow("flow", params={"x": 1}, extra_params=True)

    @flow.step()
    def a(ctx):
        calls.append("a")
        return StepResult.ok({"n": 1}, context_updates={"cursor": 7})

    @flow.step()
    def b(ctx):
        calls.append("b")
        return (
            StepResult.fail("no") if ctx.params.get("broken", True) else {"n": ctx.params["cursor"] + ctx.params["x"]}
        )

    flow.step(name="c")(lambda ctx: {"total": ctx.get_output("a", "n") + ctx.get_output("b", "n")})
    return flow


def begun(ledger, flow, ctx, *, strict=True, **how):
    """Begin to record a run, as a step of it does."""
    recorded_in = run_ledger(ledger, strict=strict)
    return begin_run(recorded_in, plan_run(recorded_in, flow, ctx, **how))


def test_an_engine_records_each_step(flow, ledger):
    """The first step begins the run, each is recorded, and the last one ends it."""
    engine = StepByStep(flow, ledger, run_id="e1", params={"broken": False})
    engine.attempt("a")
    assert ledger.get_run("e1").status is RunStatus.RUNNING
    engine.attempt("b")
    engine.attempt("c")
    found = ledger.get_run("e1")
    assert (found.status, [r.step for r in ledger.steps(found.key)]) == (RunStatus.OK, ["a", "b", "c"])


def test_a_run_goes_on_on_another_engine(flow, ledger, calls):
    """A run that failed on one engine goes on in another's run: same outputs, parameters and capture."""
    StepByStep(flow, ledger, run_id="e1").all_steps()
    assert ledger.get_run("e1").status is RunStatus.FAILED
    other = StepByStep(flow, ledger, run_id="e2", resume_from="e1", params={"broken": False})
    outputs = other.all_steps()
    assert calls == ["a", "b", "b"]
    assert outputs["c"] == {"total": 9}
    found = ledger.get_run("e2")
    assert (found.status, found.context.capture_id) == (RunStatus.OK, ledger.get_run("e1").context.capture_id)
    assert (found.context.checkpoint.completed, found.context.checkpoint.resumed_from) == (("a",), "e1")


def test_a_run_of_an_engine_goes_on_here(flow, ledger, calls):
    """A run that failed on an engine is resumed in this process, and again on an engine, with the same capture."""
    StepByStep(flow, ledger, run_id="e1").all_steps()
    here = resume("e1", flow, params={"broken": True}, ledger=ledger)
    assert (here.run_id, here["a"].status, here["b"].status) == ("e1", "ok", "failed")
    assert here.context.metadata["engine"] == {"name": "local"}
    last = StepByStep(flow, ledger, run_id="e2", resume_from="e1", params={"broken": False})
    outputs = last.all_steps()
    assert calls == ["a", "b", "b", "b"]
    assert (outputs["c"], ledger.get_run("e2").attempt) == ({"total": 9}, 3)


def test_a_resumed_run_keeps_the_parameters_of_the_first(flow, ledger):
    """A parameter that is not given anew stays what it was in the run that is continued, not the workflow's default."""
    StepByStep(flow, ledger, run_id="e1", params={"x": 5}).all_steps()
    other = StepByStep(flow, ledger, run_id="e2", resume_from="e1", params={"broken": False})
    assert other.all_steps()["b"] == {"n": 12}


def test_a_step_that_an_engine_clears_runs_again(flow, ledger, calls):
    """A carried step is not run; cleared and run by the resumed run itself, it is not carried any more."""
    StepByStep(flow, ledger, run_id="e1").all_steps()
    other = StepByStep(flow, ledger, run_id="e2", resume_from="e1", params={"broken": False})
    other.attempt("a")
    recorder = begun(ledger, flow, other.ctx, request=RunRequest(resume_from="e1"))
    assert recorder.reused_result("a").context_updates == {"cursor": 7}
    result = execute(flow["a"], recorder.context).result
    envelope = Envelope(step="a", output=result.output)
    recorder.record(flow["a"], result, envelope, attempts=2, started_at=NOON, seconds=0)
    assert recorder.reused_result("a") is None


def test_the_run_that_is_continued_is_fenced_off(flow, ledger):
    """An engine that goes on with a run after another has taken it over is refused."""
    first = StepByStep(flow, ledger, run_id="e1")
    first.attempt("a")
    late = begun(ledger, flow, first.ctx)
    refused = StepByStep(flow, ledger, run_id="e2", resume_from="e1").attempt("a")
    assert "RunAlive" in str(refused)
    StepByStep(flow, ledger, run_id="e2", resume_from="e1", take_over=True).attempt("a")
    with pytest.raises(Superseded):
        late.record(flow["b"], StepResult.ok(), Envelope(step="b"), attempts=1, started_at=NOON, seconds=0)


def test_a_run_that_is_not_known_cannot_be_continued(flow, ledger):
    """An engine asked to continue an unknown run says so, whatever the setting."""
    with pytest.raises(UnknownRun):
        begun(ledger, flow, make_context(workflow="flow"), request=RunRequest(resume_from="nope"), strict=False)


def test_loose_steps_are_recorded_too(ledger, flow):
    """Steps of no workflow are recorded under the engine's name for the run, with what they follow."""
    ctx = make_context(workflow="dag")
    recorder = begun(ledger, "dag", ctx)
    recorder.record(flow["b"], StepResult.ok(), Envelope(step="b"), attempts=1, started_at=NOON, seconds=0, after=())
    found = ledger.get_run("run-1", workflow="dag")
    assert [(r.step, r.after) for r in ledger.steps(found.key)] == [("b", ())]


def test_a_run_gives_signs_of_life(flow, ledger):
    """While a block runs, the run's lease is renewed again and again."""
    recorder = begun(ledger, flow, make_context(workflow="flow"))
    first = ledger.get_run("run-1").last_seen_at
    with recorder.alive(timedelta(milliseconds=30)):
        while ledger.get_run("run-1").last_seen_at == first:
            time.sleep(0.005)


def test_without_a_ledger_nothing_is_recorded(flow):
    """Without a ledger, all calls do nothing."""
    recorder = begun(None, flow, make_context(workflow="flow"))
    recorder.record(flow["a"], StepResult.ok(), Envelope(step="a"), attempts=1, started_at=NOON, seconds=0)
    recorder.finish(RunStatus.OK)
    assert recorder.reused_result("a") is None


def test_a_strict_run_that_cannot_be_recorded_fails(flow):
    """Strict: no record, no run."""
    with pytest.raises(LedgerUnavailable):
        begun(AwayLedger("begin"), flow, make_context(workflow="flow"))


def test_a_lenient_run_that_cannot_be_recorded_goes_on(flow, caplog):
    """Lenient: the run goes on unrecorded, and the log says so."""
    caplog.set_level(logging.WARNING, "flowctx")
    recorder = begun(AwayLedger("begin"), flow, make_context(workflow="flow"), strict=False)
    recorder.record(flow["a"], StepResult.ok(), Envelope(step="a"), attempts=1, started_at=NOON, seconds=0)
    assert "run run-1 is not recorded: away" in caplog.text
