"""Runs that a ledger remembers: continued, replayed, captured once."""

from __future__ import annotations

from datetime import date

import pytest

from flowctx import (
    CaptureHeld,
    CheckpointState,
    ContextError,
    LedgerError,
    PartitionError,
    PartitionScheme,
    StepResult,
    UnknownRun,
    Workflow,
    WorkflowChanged,
    WorkflowError,
    replay,
    resume,
    run,
)
from flowctx.artifacts import PathArtifactStore
from flowctx.core.data.plain import ArtifactRef
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.ledger.memory import MemoryLedger


@pytest.fixture
def ledger():
    return MemoryLedger()


class Source:
    """What the steps read from outside: broken at first, so that the run fails."""

    def __init__(self):
        self.broken, self.calls, self.seen = True, [], {}


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def flow(source):
    """Three steps, the second of which fails while the source is broken."""
    flow = Workflow("flow", params={"limit": 3}, extra_params=True)

    @flow.step()
    def fetch(ctx):
        source.calls.append("fetch")
        return StepResult.ok({"rows": [1, 2]}, context_updates={"cursor": 7, "limit": 5})

    @flow.step(config={"factor": 2})
    def check(ctx, config):
        source.calls.append("check")
        source.seen["check"] = ctx
        if source.broken:
            return StepResult.fail("too bad", category="DATA_QUALITY")
        return {"sum": sum(ctx.get_output("fetch", "rows")) * config["factor"], **ctx.params}

    @flow.step()
    def load(ctx):
        source.calls.append("load")
        return {"outputs": sorted(ctx.step_outputs)}

    return flow


@pytest.fixture
def failed(flow, ledger):
    """The id of a run that failed at its second step."""
    result = run(flow, ledger=ledger)
    assert result["check"].status == "failed"
    return result.run_id


def test_each_step_is_recorded(flow, ledger, source):
    """A run and each of its steps are in the ledger when it ends."""
    source.broken = False
    result = run(flow, ledger=ledger)
    found = ledger.get_run(result.run_id)
    assert (found.status, found.steps) == (RunStatus.OK, ("fetch", "check", "load"))
    assert [(r.step, r.after, r.output) for r in ledger.steps(found.key)] == [
        (name, flow[name].after, result.context.step_outputs[name]) for name in flow.steps
    ]


def test_complete_steps_are_not_run_again(flow, ledger, source, failed):
    """A resumed run runs what is not complete, with every output and update of what is."""
    source.broken = False
    result = resume(failed, flow, ledger=ledger)
    assert source.calls == ["fetch", "check", "check", "load"]
    assert result.run_id == failed
    assert result.context.step_outputs["check"] == {"sum": 6, "limit": 5, "cursor": 7}
    assert result.context.step_outputs["load"] == {"outputs": ["check", "fetch"]}
    assert [str(entry.status) for entry in result.steps] == ["ok", "ok", "ok"]


def test_a_resumed_run_equals_an_undisturbed_one(flow, ledger, source, failed):
    """Outputs, parameters and capture id of a resumed run equal those of one that was not disturbed."""
    source.broken = False
    resumed, whole = resume(failed, flow, ledger=ledger), run(flow, run_id=failed, ledger=MemoryLedger())
    assert resumed.outputs_digest == whole.outputs_digest
    assert resumed.context.params == whole.context.params
    assert resumed.context.capture_id == whole.context.capture_id


def test_the_checkpoint_says_what_happened(flow, ledger, source, failed):
    """A resumed run's context says what is complete, what failed and why, and which attempt this is."""
    assert source.seen["check"].checkpoint is None
    resume(failed, flow, ledger=ledger)
    assert source.seen["check"].checkpoint == CheckpointState(
        completed=("fetch",), failed="check", error="too bad", attempt=2, resumed_from=failed
    )
    resume(failed, flow, ledger=ledger)
    assert source.seen["check"].checkpoint.attempt == 3


def test_parameters_given_anew_win(flow, ledger, source, failed):
    """A parameter given at resumption wins over the run's own, and over what a complete step wrote."""
    source.broken = False
    result = resume(failed, flow, params={"cursor": 9, "new": 1}, ledger=ledger)
    assert result.context.step_outputs["check"] == {"sum": 6, "limit": 5, "cursor": 9, "new": 1}
    assert result.context.params == {"limit": 5, "cursor": 9, "new": 1}


def test_a_step_that_runs_again_writes_over_what_was_given(flow, ledger, source, failed):
    """What was given at an earlier resumption does not win over a step that has run since."""
    resume(failed, flow, params={"cursor": 9}, ledger=ledger)
    source.broken = False
    result = resume(failed, flow, from_step="fetch", ledger=ledger)
    assert result.context.step_outputs["check"]["cursor"] == 7


def test_from_step_runs_it_and_what_follows_again(flow, ledger, source):
    """A complete step can be run again, with all that follow it and nothing else."""
    source.broken = False
    done = run(flow, ledger=ledger).run_id
    resume(done, flow, from_step="check", ledger=ledger)
    assert source.calls == ["fetch", "check", "load", "check", "load"]
    with pytest.raises(WorkflowError, match="no step 'nope'"):
        resume(done, flow, from_step="nope", ledger=ledger)


def test_a_complete_run_is_returned_as_it_is(flow, ledger, source):
    """Resuming a run that is complete runs nothing and returns what happened."""
    source.broken = False
    done = run(flow, ledger=ledger)
    again = resume(done.run_id, flow, ledger=ledger)
    assert again.context.step_outputs == done.context.step_outputs
    assert again.context.params == done.context.params
    assert len(source.calls) == 3
    assert ledger.get_run(done.run_id).attempt == 1


def test_a_complete_run_has_its_large_outputs(tmp_path):
    """What is kept in files beside the ledger comes with a run that is complete."""
    flow, url = Workflow("flow"), f"sqlite:///{tmp_path / 'ledger.db'}"
    flow.step(name="large")(lambda ctx: {"text": "x" * 100_000})
    done = run(flow, ledger=url)
    assert resume(done.run_id, flow, ledger=url).context.get_output("large", "text") == "x" * 100_000


def test_a_run_that_ended_with_a_skip_is_complete(ledger):
    """A run whose steps were skipped has nothing left to run."""
    flow = Workflow("flow")
    flow.step(name="a")(lambda ctx: StepResult.skip("nothing to do"))
    flow.step(name="b")(lambda ctx: {})
    done = run(flow, ledger=ledger)
    assert resume(done.run_id, flow, ledger=ledger).status == "skipped"
    assert ledger.get_run(done.run_id).attempt == 1


def test_a_skipped_step_is_not_asked_again(ledger, source):
    """A step that found nothing to do is complete: a resumed run does not ask it again."""
    flow = Workflow("flow")
    flow.step(name="a")(lambda ctx: source.calls.append("a") or StepResult.skip("nothing to do"))
    flow.step(name="b")(lambda ctx: {})
    flow.step(name="c", after=[])(lambda ctx: StepResult.fail("no") if source.broken else {})
    failed = run(flow, ledger=ledger).run_id
    source.broken = False
    result = resume(failed, flow, ledger=ledger)
    assert [str(entry.status) for entry in result.steps] == ["skipped", "skipped", "ok"]
    assert source.calls == ["a"]


def changed(*, fetch=None, names=("fetch", "check", "load"), source=None):
    """Return another version of the workflow."""
    flow = Workflow("flow", params={"limit": 3})
    for name in names:
        flow.step(name=name, version=fetch if name == "fetch" else "1")(lambda ctx: {"new": 1})
    return flow


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: changed(fetch="2"), "the code of step 'fetch' changed: it ran as 1 and is 2 now"),
        (lambda: changed(fetch="1", names=("load", "check")), "step 'fetch' was removed"),
        (
            lambda: changed(fetch="1", names=("first", "fetch", "check")),
            "followed no step when it ran and follows first",
        ),
    ],
)
def test_a_changed_workflow_is_explained_before_anything_runs(ledger, make, why):
    """A complete step that was changed, removed, renamed or moved is named, with the remedy, and nothing runs."""
    first = Workflow("flow")
    first.step(name="fetch", version="1")(lambda ctx: {"old": 1})
    first.step(name="check", version="1")(lambda ctx: StepResult.fail("no"))
    run_id = run(first, ledger=ledger).run_id
    with pytest.raises(WorkflowChanged, match=why) as caught:
        resume(run_id, make(), ledger=ledger)
    assert "accept_changes=True" in str(caught.value)
    assert ledger.get_run(run_id).attempt == 1


def test_a_renamed_step_is_known_again(flow, ledger, failed):
    """A complete step under another name is known by its code, and can be run again under that name."""
    renamed = Workflow("flow")
    renamed.step(name="get")(flow["fetch"].function)
    with pytest.raises(WorkflowChanged, match=r"step 'fetch' was renamed to 'get';\nfrom_step='get' .* runs it"):
        resume(failed, renamed, ledger=ledger)
    assert resume(failed, renamed, from_step="get", ledger=ledger)["get"].status == "ok"


def test_changes_can_be_accepted_or_run_again(ledger):
    """What a changed step recorded is kept when that is accepted; or the step is run again."""
    first = changed(fetch="1")
    run_id = run(first, ledger=ledger).run_id
    second = changed(fetch="2", names=("fetch", "check", "load", "more"))
    kept = resume(run_id, second, accept_changes=True, ledger=ledger)
    assert (kept["fetch"].attempts, ledger.steps(ledger.get_run(run_id).key, ["fetch"])[0].version) == (1, "1")
    resume(run_id, second, from_step="fetch", ledger=ledger)
    assert ledger.steps(ledger.get_run(run_id).key, ["fetch"])[0].version == "2"


def test_a_change_to_a_step_that_is_not_complete_is_no_change(flow, ledger, failed):
    """Mending the step that failed is what resuming is for."""
    mended = Workflow("flow")
    mended.step(name="fetch", version=flow["fetch"].code_version)(flow["fetch"].function)
    mended.step(name="check")(lambda ctx: {"mended": True})
    assert resume(failed, mended, ledger=ledger).context.step_outputs["check"] == {"mended": True}


def test_a_run_of_another_workflow_is_not_found(ledger, failed):
    """A run is resumed with its own workflow."""
    with pytest.raises(UnknownRun):
        resume(failed, changed_name(), ledger=ledger)


def changed_name():
    other = Workflow("other")
    other.step(name="fetch")(lambda ctx: {})
    return other


def test_an_empty_partition_is_not_any(ledger):
    """Where one run id serves several, it is said which is meant, or left out."""
    tiers = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2"]))
    tiers.step(name="fail")(lambda ctx: StepResult.fail("no rows"))
    run(tiers, partition="T1", run_id="r1", ledger=ledger)
    for call in (
        lambda: resume("r1", tiers, partition="", ledger=ledger),
        lambda: replay("r1", "fail", tiers, partition="", ledger=ledger),
    ):
        with pytest.raises(PartitionError, match="the value of tier is empty"):
            call()
    assert resume("r1", tiers, ledger=ledger).context.partition == tiers.partition_key("T1")


def test_without_a_ledger_nothing_can_be_resumed(flow):
    """Without a ledger, the error says how to name one."""
    with pytest.raises(LedgerError, match="pass ledger= or set FLOWCTX_LEDGER_URL"):
        resume("r1", flow)


def test_the_environment_may_name_the_ledger(flow, monkeypatch, tmp_path):
    """A run is recorded in the ledger that FLOWCTX_LEDGER_URL names."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    failed = run(flow).run_id
    assert resume(failed, flow)["fetch"].status == "ok"


def test_a_workflow_is_found_where_it_was(ledger):
    """A run is resumed without naming its workflow, which is imported from where it was."""
    from durable_flow import flow as importable

    done = run(importable, params={"effects": "/dev/null"}, ledger=ledger)
    assert ledger.get_run(done.run_id).import_path == "durable_flow:flow"
    assert resume(done.run_id, ledger=ledger).outputs_digest == done.outputs_digest


def test_a_workflow_that_cannot_be_found_is_asked_for(ledger, failed):
    """Where the ledger does not know the workflow's place, the error says what to pass."""
    with pytest.raises(WorkflowError, match="--workflow module:name"):
        resume(failed, ledger=ledger)


def test_a_run_id_is_used_once(flow, ledger, failed):
    """A run id that the ledger knows is not begun again by accident."""
    with pytest.raises(LedgerError, match="continue it with resume"):
        run(flow, run_id=failed, ledger=ledger)


# -- captures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiers(source):
    flow = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2"]))
    flow.step(name="a")(lambda ctx: source.calls.append(str(ctx.partition)) or {"capture": ctx.capture_id})
    return flow


def test_a_partition_is_captured_again_on_purpose(tiers, ledger):
    """Each new capture of a partition is a revision, and the superseded one stays readable."""
    first, second = (run(tiers, partition="T1", batch_id=batch, ledger=ledger) for batch in ("b1", "b2"))
    found = ledger.captures(workflow="tiers", partition=first.context.partition)
    assert [(c.revision, c.key.capture_id, c.run_id) for c in found] == [
        (1, "T1|b1", first.run_id),
        (2, "T1|b2", second.run_id),
    ]
    assert ledger.steps(ledger.get_run(first.run_id).key)[0].output == {"capture": "T1|b1"}


def test_a_partition_is_not_captured_twice_by_accident(tiers, ledger, source):
    """With ``skip``, a partition that is captured is left alone, and the result says by which run."""
    first = run(tiers, partition="T1", ledger=ledger)
    result = run(tiers, partition="T1", on_captured="skip", ledger=ledger)
    assert (result.status, source.calls) == ("skipped", ["tier=T1"])
    assert f"is captured already by run {first.run_id}" in result["a"].error
    assert run(tiers, partition="T2", on_captured="skip", ledger=ledger).status == "ok"


def test_a_capture_that_is_being_written_is_left_alone(ledger):
    """While one run of a batch writes a capture, another one of the same batch is refused."""
    flow = Workflow("flow")
    refused = []

    @flow.step()
    def a(ctx):
        with pytest.raises(CaptureHeld, match=f"being written by run {ctx.run_id}") as caught:
            run(flow, batch_id="b1", as_of_date=date(2012, 1, 3), ledger=ledger)
        refused.append(caught)

    assert run(flow, batch_id="b1", as_of_date=date(2012, 1, 3), ledger=ledger).status == "ok"
    assert len(refused) == 1


def test_a_failed_run_leaves_its_capture_to_the_next(flow, ledger, failed):
    """A failed run's capture is released; resuming it takes it back."""
    assert ledger.captures(workflow="flow")[0].state is CaptureState.RELEASED


# -- artifacts and replay ---------------------------------------------------------------------------------------------


def test_a_large_output_becomes_an_artifact(ledger, source, monkeypatch, tmp_path):
    """With an artifact store, a large output is recorded as a reference, and is there when the run goes on."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(tmp_path))
    flow = Workflow("flow")
    flow.step(name="a")(lambda ctx: {"text": "x" * 100_000})
    flow.step(name="b")(lambda ctx: StepResult.fail("no") if source.broken else {"n": len(ctx.get_output("a", "text"))})
    failed = run(flow, ledger=ledger).run_id
    ref = ledger.steps(ledger.get_run(failed).key, ["a"])[0].output
    assert isinstance(ref, ArtifactRef)
    assert PathArtifactStore(str(tmp_path)).get(ref).startswith(b'{"text":"xxx')
    source.broken = False
    assert resume(failed, flow, ledger=ledger).context.step_outputs["b"] == {"n": 100_000}


def test_a_step_is_replayed_on_the_context_it_saw(flow, ledger, source, failed):
    """A replayed step sees what it saw, gives what it gave, and writes nothing."""
    before, seen = ledger.steps(ledger.get_run(failed).key), source.seen["check"]
    done = replay(failed, "check", flow, ledger=ledger)
    assert source.seen["check"] == seen
    assert (done.result.status, done.result.error, done.diff) == ("failed", "too bad", "")
    assert ledger.steps(ledger.get_run(failed).key) == before


def test_a_replay_of_a_resumed_run_sees_the_attempt_in_which_the_step_ran(flow, ledger, source, failed):
    """Each step is replayed on the context of its own attempt: with or without checkpoint and new parameters."""
    source.broken = False
    resume(failed, flow, params={"cursor": 9}, ledger=ledger)
    seen = source.seen["check"]
    assert replay(failed, "check", flow, ledger=ledger).context == seen
    assert seen.checkpoint.completed == ("fetch",)
    assert replay(failed, "fetch", flow, ledger=ledger).context.checkpoint is None


def test_a_replay_shows_what_has_changed(flow, ledger, source, failed):
    """A replayed step that gives something else shows the difference."""
    source.broken = False
    done = replay(failed, "check", flow, ledger=ledger)
    assert done.result.output == {"sum": 6, "limit": 5, "cursor": 7}
    assert '-  "error": "too bad",' in done.diff
    assert '+    "sum": 6' in done.diff


def test_a_step_that_was_never_reached_is_not_replayed(flow, ledger, failed):
    """A step whose predecessors are not complete has no context to be replayed on."""
    with pytest.raises(
        WorkflowError, match="did not get as far as step 'load': step 'check' before it is not complete"
    ):
        replay(failed, "load", flow, ledger=ledger)


def test_a_replay_may_be_called_through_a_debugger(flow, ledger, source, failed):
    """A caller is given the step's function and its arguments, as a debugger wants them."""
    done = replay(
        failed, "check", flow, ledger=ledger, invoke=lambda function, ctx, config: {"factor": config["factor"]}
    )
    assert done.result.output == {"factor": 2}
    assert source.calls == ["fetch", "check"]


def test_a_failed_run_names_its_step_once(ledger):
    """The run's error names the step that failed, whether or not the step's own message does so already."""
    for name, function in {"own": lambda ctx: {"x": {1}}, "plain": lambda ctx: StepResult.fail("too bad")}.items():
        flow = Workflow(name)
        flow.step("gate")(function)
        error = ledger.get_run(run(flow, ledger=ledger).context.run_id).error
        assert error.count("step 'gate': ") == 1
        assert error.startswith("step 'gate': ")


def test_a_run_without_a_place_for_its_outputs_has_failed(ledger, flow, source, monkeypatch):
    """Where the artifact store cannot be made, nobody holds the capture afterwards, and the run can go on."""
    source.broken = False
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", " ")
    with pytest.raises(ContextError, match="the artifact store needs a folder or URL"):
        run(flow, run_id="r1", batch_id="b", ledger=ledger)
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL")
    found = ledger.get_run("r1")
    assert (found.status, source.calls) == (RunStatus.FAILED, [])
    assert "the artifact store needs a folder or URL" in found.error
    assert resume("r1", flow, ledger=ledger).status == "ok"
