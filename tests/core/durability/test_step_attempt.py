"""One attempt at a step, as both engines make it: what it returns, what is handed on, and what is recorded."""

from __future__ import annotations

import logging
import tempfile
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import (
    ErrorCategory,
    QualityMetrics,
    RetryPolicy,
    StepResult,
    StepStatus,
    Workflow,
)
from flowctx import run as run_here
from flowctx.artifacts import PathArtifactStore
from flowctx.core.data.plain import ArtifactRef
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.run_plan import ENGINE_LEASE
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import FakeClock
from step_by_step import AwayLedger, StepByStep
from strategies import KEYS, TEXT


@pytest.fixture
def ledger():
    return MemoryLedger()


class EngineStop(BaseException):
    """What an engine raises to stop a task."""


@pytest.fixture
def calls():
    return []


@pytest.fixture
def flow(calls):
    """``load`` does as its parameter ``load`` says, and ``use`` after it takes what it left."""
    flow = Workflow("flow", params={"load": "ok"}, extra_params=True)

    @flow.step(retries=RetryPolicy(retries=1))
    def load(ctx, config):
        calls.append("load")
        ways = {
            "ok": lambda: StepResult.ok({"rows": 3}, context_updates={"cursor": 7}),
            "large": lambda: {"text": "x" * 1000},
            "fail": lambda: StepResult.fail("no rows", category="DATA_QUALITY", output={"found": 0}),
            "fail large": lambda: StepResult.fail("no rows", category="DATA_QUALITY", output={"text": "x" * 1000}),
            "break": lambda: 1 / 0,
            "stop": lambda: (_ for _ in ()).throw(EngineStop()),
        }
        return ways[config.get("load", ctx.params["load"])]()

    @flow.step()
    def use(ctx):
        calls.append("use")
        if ctx.params.get("broken"):
            return StepResult.fail("broken")
        return {"rows": ctx.get_output("load", "rows", 0), "cursor": ctx.params.get("cursor")}

    return flow


def test_a_step_sees_what_those_before_it_left(flow):
    """The output and the parameters of one step are there for the next, through JSON, without any ledger."""
    run = StepByStep(flow)
    run.attempt("load")
    made = run.attempt("use")
    assert made.outcome.result.output == {"rows": 3, "cursor": 7}
    assert made.ctx.step_outputs == {"load": {"rows": 3}}


def test_what_is_recorded_is_how_the_step_ended(flow, ledger):
    """The ledger has the status, output, parameters, configuration, predecessors and attempts of a step."""
    run = StepByStep(flow, ledger)
    run.attempt("load", config={"limit": 5})
    record = run.record("load")
    assert (record.status, record.output, record.updates) == (StepStatus.OK, {"rows": 3}, {"cursor": 7})
    assert (record.config, record.after, record.attempts) == ({"limit": 5}, (), 1)
    run.attempt("use")
    assert run.record("use").after == ("load",)


def test_the_configuration_of_the_attempt_reaches_the_step(flow):
    """What an engine says on top of the step's own configuration is what the step is called with."""
    made = StepByStep(flow).attempt("load", config={"load": "fail"})
    assert made.outcome.result.error == "no rows"


def test_the_last_step_ends_the_run(flow, ledger):
    """On an engine nobody else knows when a run is over: its last step says so."""
    run = StepByStep(flow, ledger)
    run.attempt("load")
    assert ledger.get_run("e1").status is RunStatus.RUNNING
    run.attempt("use")
    assert ledger.get_run("e1").status is RunStatus.OK


@pytest.mark.parametrize("how", ["ok", "break"])  # which is tried again
def test_a_long_step_leaves_its_run_the_whole_lease(how):
    """Whatever comes after it has six hours to begin; the end of the run itself leaves no lease."""
    clock = FakeClock()
    flow, ledger = Workflow("flow"), MemoryLedger(clock)

    @flow.step(retries=1)
    def load(ctx):
        clock.advance(timedelta(hours=5))
        return {"n": 1} if how == "ok" else 1 / 0

    flow.step("use")(lambda ctx: clock.advance(timedelta(hours=5)))
    run = StepByStep(flow, ledger, capture_id="c")
    run.attempt("load", clock=clock)
    found = ledger.list_runs()[0]
    assert (found.last_seen_at, found.lease_until) == (clock.now(), clock.now() + ENGINE_LEASE)
    assert [capture.lease_until for capture in ledger.captures()] == [found.lease_until]
    if how == "ok":
        run.attempt("use", clock=clock)
        assert (ledger.list_runs()[0].status, ledger.list_runs()[0].lease_until) == (RunStatus.OK, None)


def test_a_last_step_that_its_engine_tries_again_ends_the_run_again(flow, ledger, calls):
    """An engine that has not heard that the last step is complete opens the run again, and leaves it as it was."""
    run = StepByStep(flow, ledger)
    run.attempt("load")
    run.attempt("use")
    made = run.attempt("use", number=2)
    assert (made.carried, calls, ledger.get_run("e1").status) == (True, ["load", "use"], RunStatus.OK)


def test_a_step_after_a_skipped_one_is_not_called(flow, ledger, calls):
    """Where the engine leaves cascading to the attempt, the step is skipped for the same reason, and recorded so."""
    run = StepByStep(flow, ledger)
    run.attempt("load")
    made = run.attempt("use", skipped="no rows today")
    assert (made.outcome.result.status, made.outcome.result.error) == (StepStatus.SKIPPED, "no rows today")
    assert (calls, run.record("use").status) == (["load"], StepStatus.SKIPPED)
    assert made.envelope.status is StepStatus.SKIPPED


def test_a_capture_that_another_run_writes_is_refused(flow, ledger, calls):
    """While another run holds the capture, no step of this one is called, and trying again may help."""
    StepByStep(flow, ledger, run_id="e1", capture_id="one").attempt("load")
    made = StepByStep(flow, ledger, run_id="e2", capture_id="one").attempt("load")
    result = made.outcome.result
    assert (made.ctx, calls) == (None, ["load"])
    assert (result.status, result.category) == (StepStatus.FAILED, ErrorCategory.DEPENDENCY)
    assert result.error.startswith("CaptureHeld: ")


def test_a_captured_partition_is_skipped_if_that_is_asked_for(flow, ledger, calls):
    """With ``on_captured="skip"``, a refused run is a skipped one: nothing is called, and no run is recorded."""
    StepByStep(flow, ledger, run_id="e1").all_steps()
    calls.clear()
    made = StepByStep(flow, ledger, run_id="e2", on_captured="skip").attempt("load")
    assert (made.ctx, made.outcome.result.status, calls) == (None, StepStatus.SKIPPED, [])
    assert [run.run_id for run in ledger.list_runs()] == ["e1"]


def test_a_step_of_which_the_engine_has_not_heard_is_handed_on(flow, ledger, calls):
    """A process that dies after the record and before it says so has its step tried again: it is complete."""
    run = StepByStep(flow, ledger)
    run.attempt("load")
    again = run.attempt("load", number=2)
    assert (calls, again.carried) == (["load"], True)
    assert run.attempt("use").outcome.result.output == {"rows": 3, "cursor": 7}
    assert run.attempt("load", number=3, runs_anyway=True, first_number=3).carried is False  # asked for


def test_a_step_that_is_complete_is_not_called_again(flow, ledger, calls):
    """A run that continues another takes over its complete steps: their outputs and parameters, not a new record."""
    StepByStep(flow, ledger, run_id="e1", params={"broken": True}).all_steps()
    calls.clear()
    run = StepByStep(flow, ledger, run_id="e2", resume_from="e1", params={"broken": False})
    made = run.attempt("load")
    assert (made.outcome.result.output, calls) == ({"rows": 3}, [])
    assert run.record("load").run_attempt == 1
    assert run.attempt("use").outcome.result.output == {"rows": 3, "cursor": 7}


def test_a_complete_step_whose_output_is_gone_fails(flow, ledger, calls, tmp_path):
    """If the artifact of a complete step is gone, the step fails and says so; it is not called in silence."""
    store = PathArtifactStore(str(tmp_path))
    large = {"store": store, "limit": 10, "params": {"load": "large", "broken": True}}
    StepByStep(flow, ledger, run_id="e1", **large).all_steps()
    calls.clear()
    for file in tmp_path.rglob("*.json"):
        file.unlink()
    made = StepByStep(flow, ledger, run_id="e2", resume_from="e1", **large).attempt("load")
    assert (made.outcome.result.category, calls) == (ErrorCategory.DEPENDENCY, [])
    assert made.outcome.result.error.startswith("ArtifactError: ")


def test_an_output_over_the_limit_fails_the_step(flow, ledger):
    """Without a store, a step whose output is too large has failed: nothing of it is handed on or recorded."""
    run = StepByStep(flow, ledger, params={"load": "large"}, limit=100)
    made = run.attempt("load")
    result = made.outcome.result
    assert (result.status, result.category) == (StepStatus.FAILED, ErrorCategory.CONFIGURATION)
    assert "set FLOWCTX_ARTIFACTS_URL" in result.error
    assert (made.envelope.output, run.record("load").output) == ({}, {})


def test_an_output_over_the_limit_goes_to_the_store(flow, ledger, tmp_path):
    """With a store, only a reference is handed on and recorded, and the next step finds the output."""
    store = PathArtifactStore(str(tmp_path))
    run = StepByStep(flow, ledger, params={"load": "large"}, limit=100, store=store)
    made = run.attempt("load")
    assert isinstance(made.envelope.output, ArtifactRef)
    assert run.record("load").output == made.envelope.output
    assert run.attempt("use").ctx.get_output("load", "text") == "x" * 1000


def test_a_step_that_failed_keeps_its_own_words(flow, ledger):
    """A failed step whose output is too large has failed for its own reason, not for the size of its output."""
    run = StepByStep(flow, ledger, params={"load": "fail large"}, limit=100)
    made = run.attempt("load")
    assert (made.outcome.result.error, made.outcome.result.category) == ("no rows", ErrorCategory.DATA_QUALITY)
    assert (made.envelope.output, run.record("load").error) == ({}, "no rows")


def test_what_cannot_be_received_fails_the_step(ledger, calls):
    """Two branches that wrote one parameter differently fail the step that joins them, before it is called."""
    flow = Workflow("join")
    flow.step(name="left", after=[])(lambda ctx: StepResult.ok(context_updates={"x": 1}))
    flow.step(name="right", after=[])(lambda ctx: StepResult.ok(context_updates={"x": 2}))
    flow.step(name="both", after=["left", "right"])(lambda ctx: calls.append("both"))
    run = StepByStep(flow, ledger)
    run.all_steps()
    record = run.record("both")
    assert (calls, record.status, record.category) == ([], StepStatus.FAILED, ErrorCategory.CONFIGURATION)
    assert record.error.startswith("ContextConflict: steps 'left' and 'right'")


def test_a_run_that_cannot_begin_fails_its_step(flow, ledger, calls):
    """A run that is to continue an unknown one fails in its first step, with a message and no context."""
    made = StepByStep(flow, ledger, resume_from="nope").attempt("load")
    assert (made.ctx, calls) == (None, [])
    assert made.outcome.result.error.startswith("UnknownRun: ")
    assert not made.outcome.result.retryable


def test_the_engine_s_own_exceptions_pass_through(flow, ledger):
    """What the engine raises to stop a task reaches it, and no end of the step is recorded."""
    run = StepByStep(flow, ledger, params={"load": "stop"})
    with pytest.raises(EngineStop):
        run.attempt("load", reraise=(EngineStop,))
    assert run.record("load") is None


def test_an_exception_of_a_step_is_its_failure(flow, ledger):
    """What a step raises is returned and recorded as a failure, with the exception for the engine to show."""
    made = StepByStep(flow, ledger, params={"load": "break"}).attempt("load")
    assert made.outcome.result.error == "ZeroDivisionError: division by zero"
    assert isinstance(made.outcome.exception, ZeroDivisionError)


def test_a_failure_that_is_retried_leaves_the_run_open(flow, ledger):
    """The run goes on until the step is not tried again; then it has failed."""
    run = StepByStep(flow, ledger, params={"load": "break"})
    run.attempt("load", 1)
    assert ledger.get_run("e1").status is RunStatus.RUNNING
    run.attempt("load", 2)
    assert ledger.get_run("e1").status is RunStatus.FAILED


def test_a_failure_that_is_not_retried_ends_the_run(flow, ledger):
    """Wrong data stays wrong: the first attempt ends the run, with the step named in its error."""
    StepByStep(flow, ledger, params={"load": "fail"}).attempt("load")
    found = ledger.get_run("e1")
    assert (found.status, found.error) == (RunStatus.FAILED, "step 'load': no rows")


def test_a_retry_goes_on_with_the_record_of_the_first_try(flow, ledger):
    """A step that was tried twice began with its first try, and its time is that of both."""
    run = StepByStep(flow, ledger, params={"load": "break"})
    run.attempt("load", 1)
    first = run.record("load")
    run.attempt("load", 2)
    second = run.record("load")
    assert (second.attempts, second.started_at) == (2, first.started_at)
    assert second.seconds > first.seconds


def test_a_try_after_a_clear_begins_anew(flow, ledger):
    """The hours for which nobody tried a step are none of its time; the tries are counted on."""
    run = StepByStep(flow, ledger, params={"load": "break"})
    run.attempt("load", 1)
    first = run.record("load")
    run.attempt("load", 2, first_number=2)
    cleared = run.record("load")
    assert (cleared.attempts, cleared.started_at > first.started_at) == (2, True)
    run.attempt("load", 3, first_number=2)
    assert run.record("load").started_at == cleared.started_at


def test_what_is_complete_since_a_clear_is_handed_on(flow, ledger, calls):
    """An engine that has not heard of it tries it again: it does not run, and what follows is to do."""
    run = StepByStep(flow, ledger)
    run.attempt("load")
    run.attempt("use")
    cleared = {"runs_anyway": True, "first_number": 2}
    assert not run.attempt("load", number=2, **cleared).carried
    made = run.attempt("load", number=3, **cleared)
    assert (made.carried, made.outcome.result.output, calls) == (True, {"rows": 3}, ["load", "use", "load"])
    assert run.record("use") is None
    assert not run.attempt("load", number=4, runs_anyway=True, first_number=4).carried  # cleared once more


def test_a_failure_since_a_clear_is_tried_again(flow, ledger, calls):
    """Only what is complete is handed on."""
    run = StepByStep(flow, ledger)
    run.attempt("load")
    cleared = {"runs_anyway": True, "first_number": 2}
    run.attempt("load", number=2, config={"load": "break"}, **cleared)
    assert not run.attempt("load", number=3, **cleared).carried
    assert run.record("load").status is StepStatus.OK


def test_a_complete_step_that_runs_again_does_not_count_until_it_is_done(ledger):
    """Nobody reads what it was, and another step that ends meanwhile does not end the run."""
    flow, seen = Workflow("flow"), []
    flow.step("beside")(lambda ctx: {})

    @flow.step(after=())
    def load(ctx):
        if run.record("load") is None and seen:
            run.attempt("beside", 2)
            seen.append(ledger.get_run("e1").status)
        seen.append([version.is_read for version in ledger.versions("flow", "load", [None])])
        return {}

    run = StepByStep(flow, ledger, capture_id="one")
    run.all_steps()
    run.attempt("load", 2, runs_anyway=True, first_number=2)
    assert seen == [[False], RunStatus.RUNNING, [False]]
    assert [version.is_read for version in ledger.versions("flow", "load", [None])] == [True]


def test_a_first_try_begins_anew(flow, ledger):
    """A step that an engine runs again from its first try does not go on with the record of before."""
    run = StepByStep(flow, ledger)
    run.attempt("load")
    first = run.record("load")
    run.attempt("load")
    assert run.record("load").started_at > first.started_at


def test_a_success_that_cannot_be_recorded_is_a_failure(flow):
    """Strict: what is not recorded is not handed on; the attempt fails, and a retry may succeed."""
    run = StepByStep(flow, AwayLedger("record"))
    made = run.attempt("load")
    assert (made.outcome.result.status, made.outcome.result.category) == (StepStatus.FAILED, ErrorCategory.TRANSIENT)
    assert (made.envelope.status, made.envelope.output) == (StepStatus.FAILED, {})


def test_a_failure_that_cannot_be_recorded_stays_the_step_s_own(flow, caplog):
    """A step that failed is not said to have failed for want of a ledger; the log says that it is not recorded."""
    caplog.set_level(logging.WARNING, "flowctx")
    made = StepByStep(flow, AwayLedger("record"), params={"load": "fail"}).attempt("load")
    assert (made.outcome.result.error, made.outcome.result.category) == ("no rows", ErrorCategory.DATA_QUALITY)
    assert "step load: its failure is not recorded: away" in caplog.text


def test_a_lenient_run_goes_on_without_its_ledger(flow):
    """Lenient: a ledger that is away costs the record, not the step."""
    made = StepByStep(flow, AwayLedger("begin", "record"), strict=False).attempt("load")
    assert made.outcome.result.status is StepStatus.OK


@pytest.mark.parametrize("load", ["ok", "fail"])
def test_a_run_that_goes_on_elsewhere_stops_here(flow, ledger, load):
    """After another run has taken over, an attempt says so whatever its step did, and is not to be tried again."""
    late = StepByStep(flow, ledger, run_id="e1", params={"load": load})
    recorder = late.open()
    StepByStep(flow, ledger, run_id="e2", resume_from="e1", take_over=True).attempt("load")
    late.open = lambda: recorder
    made = late.attempt("load")
    assert made.outcome.result.error.startswith("Superseded: ")
    assert (made.outcome.result.retryable, made.envelope.output) == (False, {})


def test_what_cannot_be_kept_has_failed(flow, ledger, calls):
    """A step is complete before its output is kept, so that a retry only does that; after the last it has failed."""
    tries = []

    def keep(made):
        tries.append(dict(made.outcome.result.output))
        raise ConnectionError("https://me:hunter2@bucket is away")

    run = StepByStep(flow, ledger)
    run.attempt("load", keep=keep)
    assert (run.record("load").status, ledger.get_run("e1").status) == (StepStatus.OK, RunStatus.RUNNING)
    made = run.attempt("load", 2, keep=keep)
    assert (calls, tries) == (["load"], [{"rows": 3}] * 2)
    assert made.outcome.result.error == "its output could not be stored: ConnectionError: https://me:***@bucket is away"
    assert made.envelope.output == {}
    record, found = run.record("load"), ledger.get_run("e1")
    assert (record.status, record.output, record.category) == (StepStatus.FAILED, {}, ErrorCategory.TRANSIENT)
    assert (found.status, found.error) == (RunStatus.FAILED, f"step 'load': {record.error}")


def test_how_it_was_made_stays_where_it_cannot_be_kept(ledger):
    """What the step had read, found out about its data and taken, also where a retry only tries to keep its output."""
    source, flow, clock = Workflow("source"), Workflow("flow"), FakeClock()
    source.step("rows")(lambda ctx: {"n": 1})
    run_here(source, ledger=ledger)

    @flow.step(retries=1, inputs={"rows": source.output("rows")})
    def load(ctx, rows):
        clock.sleep(timedelta(seconds=5))
        return StepResult.ok(rows, quality=QualityMetrics(counts={"rows": 1}))

    def keep(made):
        raise ConnectionError("the bucket is away")

    run = StepByStep(flow, ledger)
    run.attempt("load", keep=keep, clock=clock)
    complete = run.record("load")
    made, record = run.attempt("load", 2, keep=keep, clock=clock), run.record("load")
    assert (record.status, record.attempts, record.seconds) == (StepStatus.FAILED, 2, 5)
    assert record.inputs == complete.inputs != {}
    assert record.quality == made.outcome.result.quality == QualityMetrics(counts={"rows": 1})


@settings(max_examples=20)
@given(st.dictionaries(KEYS, st.integers() | TEXT | st.dates() | st.lists(st.decimals(allow_nan=False))), st.booleans())
def test_the_next_step_sees_what_was_returned(output, large):
    """Whatever an output is, and wherever it is kept, the next step and the ledger have what the step returned."""
    flow = Workflow("flow")
    flow.step(name="load")(lambda ctx: output)
    flow.step(name="use")(lambda ctx: {"equal": ctx.get_output("load", default={}) == output})
    with tempfile.TemporaryDirectory() as folder:
        run = StepByStep(flow, MemoryLedger(), store=PathArtifactStore(folder), limit=0 if large else None)
        assert run.attempt("load").outcome.result.output == output
        assert run.attempt("use").outcome.result.output == {"equal": True}
        assert isinstance(run.record("load").output, ArtifactRef) is large
