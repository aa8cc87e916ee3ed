"""How a run of an engine continues another one, or itself."""

import pytest

from flowctx import StepResult, UnknownRun, Workflow
from flowctx.core.durability.continuation import EngineRerun, plan_rerun, with_engine
from flowctx.core.durability.recorded import find_run
from flowctx.core.durability.records import RunRecord
from flowctx.core.durability.run_plan import plan_run
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import make_context
from step_by_step import StepByStep


@pytest.fixture
def flow():
    flow = Workflow("flow", params={"x": 1, "broken": True})
    flow.step(name="a")(lambda ctx: StepResult.ok({"x": ctx.params["x"]}, context_updates={"cursor": 7}))
    flow.step(name="b")(lambda ctx: 1 / 0 if ctx.params["broken"] else {"cursor": ctx.params["cursor"]})
    return flow


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def failed(flow, ledger):
    """A run ``e1`` whose second step failed."""
    run = StepByStep(flow, ledger, run_id="e1", params={"x": 5}, batch_id="batch")
    run.all_steps()
    return run


def test_a_run_that_continues_another_takes_over_who_it_is(flow, ledger, failed):
    """Its capture, idempotency key and parameters are those of the first run, the run id is its own."""
    ctx = StepByStep(flow, ledger, run_id="e2", resume_from="e1", params={"broken": False}).open().context
    old = failed.ctx
    assert (ctx.run_id, ctx.capture_id, ctx.idempotency_key) == ("e2", old.capture_id, old.idempotency_key)
    assert (ctx.params, ctx.batch_id) == ({"x": 5, "broken": False}, failed.ctx.batch_id)
    assert (ctx.checkpoint.resumed_from, ctx.checkpoint.completed) == ("e1", ("a",))


def test_a_parameter_that_keeps_its_value_is_not_new(flow, ledger, failed):
    """Only what differs from the first run is taken for new; what complete steps wrote then stands."""
    run = StepByStep(flow, ledger, run_id="e2", resume_from="e1", params={"x": 5, "broken": False})
    assert run.open().context.metadata["resumed_with"] == {"broken": 2}
    assert run.all_steps()["b"] == {"cursor": 7}


def test_the_first_step_alone_makes_the_plan(flow, ledger, failed):
    """Every step of a run may open it; the ones after the first find it begun, and count no further attempt."""
    run = StepByStep(flow, ledger, run_id="e2", resume_from="e1")
    assert [run.open().run.attempt for _ in range(3)] == [2, 2, 2]


def test_a_run_does_not_continue_itself(flow, ledger, failed):
    """A run that names itself is the run that it is."""
    assert StepByStep(flow, ledger, run_id="e1", resume_from="e1").open().run.attempt == 1


def test_a_run_that_nobody_remembers_is_not_continued(flow, ledger):
    """An unknown run is an error, not a fresh start."""
    with pytest.raises(UnknownRun):
        StepByStep(flow, ledger, resume_from="nope").open()


def record_of(run):
    return RunRecord(workflow="flow", context=run.ctx)


def test_an_engine_that_runs_a_step_again_keeps_the_others(flow, ledger, failed):
    """After a re-execution, what the engine does not run stays as it was, whatever has changed about the workflow."""
    again = StepByStep(flow, ledger, run_id="e2")
    plan = plan_rerun(ledger, flow, record_of(again), None, EngineRerun(run_id="e1", steps=lambda: ["b"]))
    assert (plan.completed, plan.context.checkpoint.completed) == (("a",), ("a",))
    assert (plan.context.run_id, plan.context.params) == ("e2", again.ctx.params)


def test_a_step_that_the_engine_runs_again_is_not_kept(flow, ledger, failed):
    """What the engine says it runs, runs, complete or not."""
    how = EngineRerun(run_id="e1", steps=lambda: ["a", "b"])
    again = StepByStep(flow, ledger, run_id="e2")
    assert plan_rerun(ledger, flow, record_of(again), None, how).completed == ()


@pytest.mark.parametrize(("version", "kept"), [(None, ("a",)), ("2", ())])
def test_from_failure_an_engine_runs_what_is_not_complete(flow, ledger, failed, version, kept):
    """A step that is complete is kept, although the engine runs it, unless it is another one by now."""
    changed = Workflow("flow")
    changed.step(name="a", version=version or flow["a"].code_version)(lambda ctx: {})
    changed.step(name="b")(lambda ctx: {})
    how = EngineRerun(run_id="e1", steps=lambda: ["a", "b"], from_failure=True)
    assert plan_rerun(ledger, changed, record_of(StepByStep(flow, ledger, run_id="e2")), None, how).completed == kept


def test_an_engine_s_own_run_is_planned_once(flow, ledger, failed):
    """A run that a step has begun already is not planned again, unless what is recorded is from before the rerun."""
    steps = {"run_id": "e1", "steps": lambda: ["b"]}
    run, known = record_of(failed), ledger.get_run("e1")
    assert plan_rerun(ledger, flow, run, known, EngineRerun(**steps)) is None
    outdated = EngineRerun(**steps, outdated=lambda run: True)
    assert plan_rerun(ledger, flow, run, known, outdated).completed == ("a",)


@pytest.mark.parametrize(("again", "kept"), [(["a", "b"], ()), (["b"], ("a",))])
def test_a_resumed_run_that_an_engine_runs_again_stays_who_it_is(ledger, failed, flow, again, kept):
    """What the engine runs again may have changed, the rest stays; it is of the same capture, with its parameters."""
    StepByStep(flow, ledger, run_id="e2", resume_from="e1", params={"broken": False}).all_steps()
    changed = Workflow("flow", params={"x": 1, "added": 3})
    changed.step(name="a", version=None if "b" in kept else flow["a"].code_version)(lambda ctx: {})
    changed.step(name="b")(lambda ctx: {"changed": True})
    ctx = make_context(workflow="flow", run_id="e3", params={"x": 1, "added": 3})
    request, how = RunRequest(resume_from="e2"), EngineRerun(run_id="e2", steps=lambda: again)
    plan = plan_run(ledger, changed, ctx, request=request, rerun=how, redo="re-execute").resume
    assert (plan.completed, plan.run.run_id) == (kept, "e2")
    assert (plan.context.capture_id, plan.context.params) == (failed.ctx.capture_id, {"x": 5, "added": 3})


def test_a_run_that_was_not_recorded_has_nothing_to_keep(flow, ledger):
    """Where the first run had no ledger, the rerun begins anew."""
    how = EngineRerun(run_id="nope", steps=lambda: ["b"])
    assert plan_rerun(ledger, flow, record_of(StepByStep(flow, ledger)), None, how) is None


def test_a_run_is_found_or_not(flow, ledger, failed):
    """What the ledger does not remember is ``None``, not an error."""
    assert find_run(ledger, "e1", "flow", None).run_id == "e1"
    assert find_run(ledger, "e1", "other", None) is None


def test_a_step_says_where_it_runs_itself():
    """The engine in the metadata is that of the step that runs now; all else is as the run began."""
    begun = make_context(params={"x": 5}, metadata={"engine": {"name": "airflow"}, "calendar": {"name": "XNYS"}})
    seen = with_engine(begun, make_context(metadata={"engine": {"name": "dagster"}}))
    assert (seen.params, seen.metadata["engine"]) == ({"x": 5}, {"name": "dagster"})
    assert seen.metadata["calendar"] == {"name": "XNYS"}
    assert with_engine(begun, make_context()).metadata == begun.metadata
