"""Running a workflow here: what every engine must do as well."""

from __future__ import annotations

import gc
import traceback
import weakref
from datetime import timedelta

import pytest

from flowctx import (
    ContextError,
    PartitionScheme,
    RetryPolicy,
    RunFailed,
    StepResult,
    UnknownPartition,
    Workflow,
    WorkflowError,
    resume,
    run,
)
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import FakeClock


@pytest.fixture
def flow():
    return Workflow("flow", params={"limit": 3})


def statuses(result):
    return {entry.name: str(entry.status) for entry in result.steps}


def test_a_step_sees_all_outputs_and_updates_before_it(flow):
    """A step sees the outputs and updates of all steps before it, not only of the one before."""
    flow.step(name="a")(lambda ctx: StepResult.ok({"n": 1}, context_updates={"cursor": 7}))
    flow.step(name="b")(lambda ctx: {"n": 2})
    flow.step(name="c")(lambda ctx: {"sum": ctx.get_output("a", "n") + ctx.get_output("b", "n"), **ctx.params})
    ctx = run(flow, params={"limit": 4}).context
    assert ctx.step_outputs["c"] == {"sum": 3, "cursor": 7, "limit": 4}
    assert ctx.params == {"limit": 4, "cursor": 7}


def test_a_run_leaves_nothing_to_the_garbage_collector(flow):
    """What the steps saw is freed with the result: nothing that a run makes refers to itself."""
    seen = []
    for name in ("a", "b", "c"):
        flow.step(name=name, retries=1)(lambda ctx: seen.append(weakref.ref(ctx)))
    gc.disable()
    try:
        run(flow, params={"limit": 4})
        assert [ref() for ref in seen] == [None, None, None]
    finally:
        gc.enable()


class Panic(BaseException):
    """What a library raises that is written in Rust."""


def test_a_panic_is_tried_again_and_what_cleans_up_runs(flow):
    """An exception that is no Exception does not come out of the run, which is recorded as failed by it."""
    ledger = MemoryLedger()

    @flow.step(retries=1)
    def load(ctx):
        raise Panic("no Int256")

    flow.step(name="clean", run_if="always")(lambda ctx: {})
    result = run(flow, params={"limit": 4}, ledger=ledger, clock=FakeClock())
    assert statuses(result) == {"load": "failed", "clean": "ok"}
    assert (result["load"].attempts, result["load"].error) == (2, "Panic: no Int256")
    [record] = ledger.list_runs()
    assert "Panic: no Int256" in ledger.steps(record.key, ["load"])[0].traceback


def test_a_skip_cascades(flow):
    """The steps after one that skips are skipped for the same reason; another branch runs."""
    flow.step(name="a")(lambda ctx: StepResult.skip("nothing traded"))
    flow.step(name="b")(lambda ctx: {})
    flow.step(name="c", after=[])(lambda ctx: {})
    result = run(flow)
    assert statuses(result) == {"a": "skipped", "b": "skipped", "c": "ok"}
    assert (result["b"].error, result.status) == ("nothing traded", "ok")


def test_a_failure_stops_what_follows_it(flow):
    """The steps after a failed one are not run, and the result says which step failed and why."""
    flow.step(name="a")(lambda ctx: StepResult.fail("too bad", category="DATA_QUALITY"))
    flow.step(name="b")(lambda ctx: {})
    result = run(flow)
    assert statuses(result) == {"a": "failed", "b": "not_run"}
    with pytest.raises(RunFailed, match="failed at step 'a' .*too bad"):
        result.raise_for_failure()


@pytest.mark.parametrize("stored", [False, True])
def test_the_cause_of_a_failure_is_what_the_step_raised(flow, stored):
    """Whoever reads the failure sees the lines of the step that raised, with a ledger and without, and when resumed."""
    ledger = MemoryLedger() if stored else None

    @flow.step()
    def divide(ctx):
        return {"share": 1 / 0}

    results = [first := run(flow, ledger=ledger)]
    if ledger is not None:
        results.append(resume(first.run_id, flow, ledger=ledger))
    for result in results:
        with pytest.raises(RunFailed) as caught:
            result.raise_for_failure()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert "divide" in {frame.name for frame in traceback.extract_tb(caught.value.__cause__.__traceback__)}


def test_a_retryable_failure_is_tried_again(flow):
    """A step that fails in a way that may pass is tried again after the policy's waits."""
    clock, calls = FakeClock(), []

    @flow.step(retries=RetryPolicy(retries=3, delay=timedelta(seconds=10)))
    def a(ctx):
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("reset")
        return {"n": len(calls)}

    result = run(flow, clock=clock)
    assert (result["a"].attempts, result["a"].status) == (3, "ok")
    assert [wait.total_seconds() for wait in clock.slept] == [10, 20]
    assert result["a"].duration == timedelta(seconds=30)


def test_a_failure_that_cannot_pass_is_not_tried_again(flow):
    """CommandError data stays wrong: the step is not tried again."""
    flow.step(name="a", retries=3)(lambda ctx: StepResult.fail("bad", category="DATA_QUALITY"))
    assert run(flow)["a"].attempts == 1


def test_branches_that_disagree_are_a_conflict(flow):
    """Two branches that write one parameter differently fail the step that joins them, naming both."""
    flow.step(name="a", after=[])(lambda ctx: StepResult.ok(context_updates={"x": 1}))
    flow.step(name="b", after=[])(lambda ctx: StepResult.ok(context_updates={"x": 2}))
    flow.step(name="c", after=["a", "b"])(lambda ctx: {})
    result = run(flow)
    assert statuses(result) == {"a": "ok", "b": "ok", "c": "failed"}
    assert "'a' and 'b' both wrote the parameter 'x'" in result["c"].error


def test_the_run_is_for_a_partition_of_the_scheme():
    """A partitioned workflow runs for a key of its scheme, given in any form, and for no other."""
    flow = Workflow("flow", partitions=PartitionScheme(tier=["T1", "T2"]))
    flow.step(name="a")(lambda ctx: {"tier": ctx.partition.tier})
    for key in ({"tier": "T1"}, "tier=T1", "T1", flow.partitions[0]):
        assert run(flow, partition=key).context.step_outputs["a"] == {"tier": "T1"}
    with pytest.raises(UnknownPartition):
        run(flow, partition="T9")
    with pytest.raises(ContextError, match="is partitioned"):
        run(flow)


def test_a_workflow_without_steps_does_not_run(flow):
    """A workflow without steps is an error that says how to declare one."""
    with pytest.raises(WorkflowError, match="has no steps; declare some"):
        run(flow)
    flow.step(name="a")(lambda ctx: None)
    run(flow)
    with pytest.raises(WorkflowError, match="has no steps; declare some"):
        run(flow.with_partitions(PartitionScheme(tier=["T1"])), partition="T1")


@pytest.mark.parametrize("ledger", [None, "memory://"])
def test_an_id_may_be_a_text_that_is_shown_as_another(flow, ledger):
    """As a member of an enum of texts is: it is the text as which it compares."""

    class Shown(str):
        __slots__ = ()

        def __str__(self):
            return "Ids.FIRST"

    flow.step(name="a")(lambda ctx: None)
    ctx = run(flow, run_id=Shown("first"), batch_id=Shown("first"), trace_id=Shown("first"), ledger=ledger).context
    assert ctx.run_id == ctx.batch_id == ctx.trace_id == "first"


@pytest.mark.parametrize("ledger", [None, "memory://"])
@pytest.mark.parametrize("name", ["run_id", "batch_id", "trace_id"])
@pytest.mark.parametrize("value", ["", 7])
def test_an_id_that_is_none_is_told_to_be_left_out(flow, ledger, name, value):
    """With a ledger or without one."""
    flow.step(name="a")(lambda ctx: None)
    with pytest.raises(ContextError, match=f"{name} is {value!r}; it must be text and not empty: leave it out"):
        run(flow, ledger=ledger, **{name: value})


def test_a_chain_of_a_thousand_steps_runs(flow):
    """A chain of any length is no recursion."""
    for number in range(1000):
        flow.step(name=f"s{number}")(lambda ctx: {"n": len(ctx.step_outputs)})
    assert run(flow).context.get_output("s999", "n") == 999
