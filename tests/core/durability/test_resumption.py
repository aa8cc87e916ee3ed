"""How an interrupted run goes on: what is kept, what runs again, and what is refused."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import ArtifactRef, PayloadError, StepResult, StepStatus, Workflow, WorkflowChanged, WorkflowError
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.durability.resumption import (
    effective_updates,
    envelopes,
    failure_of,
    order_of,
    plan_resume,
    run_status,
)
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import make_context
from flowctx.testing.clock import NOON
from step_by_step import StepByStep

STATUSES = st.sampled_from([StepStatus.OK, StepStatus.SKIPPED, StepStatus.FAILED])


def first(ctx):
    return {"n": 1}


def changed(ctx):
    return {"n": 1.0}


def second(ctx):
    return {"n": 2}


def third(ctx):
    return {"n": 3}


def chain(params=None, **steps):
    """Return a workflow of steps one after the other."""
    flow = Workflow("flow", params=params or {"x": 1})
    for name, function in steps.items():
        flow.step(name=name)(function)
    return flow


ABC = chain(a=first, b=second, c=third)


def run_of(flow=ABC, **context):
    context = {"workflow": "flow", "params": flow.params, **context}
    return RunRecord(workflow="flow", context=make_context(**context), steps=tuple(flow.steps))


def record(name, status="ok", flow=ABC, **fields):
    step = flow[name]
    return StepRecord(
        step=name, status=StepStatus(status), after=step.after, version=step.code_version, started_at=NOON, **fields
    )


def test_complete_steps_are_kept():
    """What is ok or skipped is not run again; the first step that failed is, with all after it."""
    plan = plan_resume(ABC, run_of(), [record("a"), record("b", "failed", error="no")])
    assert (plan.completed, list(plan.records), plan.complete(ABC)) == (("a",), ["a"], False)
    checkpoint = plan.context.checkpoint
    assert (checkpoint.completed, checkpoint.failed, checkpoint.error) == (("a",), "b", "no")
    assert (checkpoint.attempt, checkpoint.resumed_from) == (2, "run-1")


@given(st.lists(STATUSES, max_size=3))
def test_a_step_is_kept_only_with_all_before_it(statuses):
    """The steps that are kept are those up to the first one that is not complete."""
    records = [record(name, how) for name, how in zip("abc", statuses, strict=False)]
    kept = plan_resume(ABC, run_of(), records).completed
    done = [record.complete for record in records]
    assert kept == tuple("abc"[: done.index(False) if False in done else len(done)])


def test_a_step_may_be_run_again_with_all_after_it():
    """``from_step`` runs again although it is complete, and so does what follows it; what is before it is kept."""
    records = [record(name) for name in "abc"]
    plan = plan_resume(ABC, replace(run_of(), status=RunStatus.OK), records)
    assert (plan.complete(ABC), replace(plan, run=run_of()).complete(ABC)) == (True, False)
    assert plan_resume(ABC, run_of(), records, from_step="b").completed == ("a",)
    with pytest.raises(WorkflowError, match="no step 'x'"):
        plan_resume(ABC, run_of(), records, from_step="x")


def test_only_the_branch_of_a_step_runs_again():
    """A step that does not follow ``from_step`` is kept."""
    flow = chain(a=first, b=second)
    flow.step(name="other", after=["a"])(lambda ctx: {})
    records = [record(name, flow=flow) for name in ("a", "b", "other")]
    assert plan_resume(flow, run_of(flow), records, from_step="b").completed == ("a", "other")


def test_new_parameters_win_over_the_run_s():
    """A parameter given anew replaces the run's, and is remembered with the attempt that it was given at."""
    flow = chain(params={"x": 1, "y": 3}, a=first)
    plan = plan_resume(flow, run_of(params={"x": 1, "y": 2}), [], params={"x": 5})
    assert plan.context.params == {"x": 5, "y": 2}
    assert plan.context.metadata["resumed_with"] == {"x": 2}


def test_new_parameters_win_over_what_steps_wrote():
    """What a complete step wrote stands, but for the parameters that the caller gave after it had run."""
    ctx = make_context(metadata={"resumed_with": {"x": 2}})
    assert effective_updates(ctx, record("a", updates={"x": 7, "y": 8}, run_attempt=1)) == {"y": 8}
    assert effective_updates(ctx, record("a", updates={"x": 7, "y": 8}, run_attempt=2)) == {"x": 7, "y": 8}


@pytest.mark.parametrize(
    ("flow", "what", "remedy"),
    [
        (
            chain(a=changed, b=second, c=third),
            "the code of step 'a' changed: it ran as",
            "from_step='a' (--from-step a) runs it",
        ),
        (chain(b=second, a=first, c=third), "step 'a' followed no step when it ran and follows b now", "from_step='a'"),
        (chain(z=first, b=second, c=third), "step 'a' was renamed to 'z'", "from_step='z'"),
        (chain(b=second, c=third), "step 'a' was removed", "accept_changes=True"),
    ],
)
def test_a_changed_workflow_is_refused(flow, what, remedy):
    """A complete step that is not what it was stops the run; the message says what changed and what to do."""
    with pytest.raises(WorkflowChanged, match=what) as caught:
        plan_resume(flow, run_of(), [record("a")])
    assert remedy in str(caught.value)


def test_changes_may_be_accepted():
    """With ``accept_changes``, or where the changed step runs again, the run goes on."""
    mended = chain(a=changed, b=second, c=third)
    assert plan_resume(mended, run_of(), [record("a")], accept_changes=True).completed == ("a",)
    assert plan_resume(mended, run_of(), [record("a")], from_step="a").completed == ()


def test_a_step_that_failed_may_have_changed():
    """Mending the step that failed is what resuming is for."""
    assert plan_resume(
        chain(a=first, b=changed, c=third), run_of(), [record("a"), record("b", "failed")]
    ).completed == ("a",)


def test_a_run_of_another_workflow_is_refused():
    """A run goes on in its own workflow only."""
    with pytest.raises(WorkflowError, match="run run-1 is one of workflow 'flow', not of 'other'"):
        plan_resume(Workflow("other"), run_of(), [])


@given(st.lists(STATUSES, max_size=3))
def test_a_run_is_over_when_no_step_can_run(statuses):
    """A chain goes on while all that ended is ok; it fails with the first failure, and a skip ends it without one."""
    ended = list(itertools.takewhile(lambda how: how is StepStatus.OK, statuses))
    last = statuses[len(ended)] if len(ended) < len(statuses) else StepStatus.OK
    expected = RunStatus.RUNNING if len(ended) < 3 else RunStatus.OK
    if last is StepStatus.FAILED:
        expected = RunStatus.FAILED
    if last is StepStatus.SKIPPED:
        expected = RunStatus.OK if ended else RunStatus.SKIPPED
    found = dict(zip("abc", statuses[: len(ended) + 1], strict=False))
    assert run_status(order_of(ABC), found) is expected


def test_an_order_is_of_all_steps():
    """Each step is there, with those that it follows directly."""
    assert order_of(ABC) == {"a": (), "b": ("a",), "c": ("b",)}


def test_what_steps_handed_on_is_rebuilt():
    """From records in any order, each step's envelope is what it handed on when it ran."""
    flow = chain(a=first)
    flow.step(name="b")(lambda ctx: StepResult.ok({"n": 1}, context_updates={"y": 2}))
    flow.step(name="c")(lambda ctx: {"y": ctx.params["y"]})
    run = StepByStep(flow, MemoryLedger())
    run.all_steps()
    found = run.ledger.get_run("e1")
    made = envelopes(found.context, reversed(run.ledger.steps(found.key)))
    assert made == {name: run.envelope(name) for name in "abc"}


def test_what_did_not_end_well_is_not_rebuilt():
    """A step that failed hands nothing on, nor does a step after one that is missing."""
    ctx = run_of().context
    assert envelopes(ctx, [record("a", "failed"), record("b")]) == {}
    assert list(envelopes(ctx, [record("a"), record("c")])) == ["a"]


def test_records_that_follow_one_another_in_a_circle_are_refused():
    """What no workflow could have written is damaged."""
    made = [StepRecord(step=n, status=StepStatus.OK, after=(m,), started_at=NOON) for n, m in ("ab", "ba")]
    with pytest.raises(PayloadError, match="run run-1 follow one another in a circle"):
        envelopes(run_of().context, made)


def test_an_artifact_stays_where_it_is():
    """Rebuilding what was handed on does not open large outputs."""
    ref = ArtifactRef(uri="x", digest="0" * 64, size=3)
    assert envelopes(run_of().context, [record("a", output=ref)])["a"].output == ref


def test_a_failure_names_its_step_once():
    """The step is named, whether its message does so already or not; without a message there is still a name."""
    assert failure_of("a", "no rows") == failure_of("a", "step 'a': no rows") == "step 'a': no rows"
    assert failure_of("a", None) == "step 'a': "
