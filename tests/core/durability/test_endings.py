"""The end of a run that could not say so itself."""

from dataclasses import replace

import pytest

from flowctx import StepResult, StepStatus, Workflow
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.records import RunStatus
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing.records import a_run, a_step
from step_by_step import StepByStep


@pytest.fixture
def flow():
    flow = Workflow("flow", params={"a": "ok"})
    ways = {"ok": StepResult.ok, "fail": lambda: StepResult.fail("no rows"), "skip": lambda: StepResult.skip("none")}
    flow.step(name="a", retries=1)(lambda ctx: ways[ctx.params["a"]]())
    flow.step(name="b")(lambda ctx: {})
    return flow


@pytest.fixture
def ledger():
    return MemoryLedger()


def ended(ledger, status, error=None):
    """End run ``e1`` as its engine says, and return what the ledger says of it then."""
    returned = end_run(ledger, ledger.get_run("e1"), status, error)
    found = ledger.get_run("e1")
    assert returned in (found.status, None)
    return found.status, found.error


@pytest.mark.parametrize(
    ("status", "words"),
    [(RunStatus.FAILED, "out of memory; step 'b' had not ended"), (RunStatus.CANCELED, "out of memory")],
)
def test_a_run_that_was_stopped_ends_as_its_engine_says(flow, ledger, status, words):
    """It failed or was canceled, for the reason that the engine gives; of one that died, the step is told."""
    StepByStep(flow, ledger).attempt("a")
    assert ended(ledger, status, "out of memory") == (status, words)


def test_what_its_steps_recorded_comes_first(flow, ledger):
    """A step that failed, and was to be tried again, is why the run failed, whatever the engine says."""
    StepByStep(flow, ledger, params={"a": "fail"}).attempt("a")
    assert ended(ledger, RunStatus.CANCELED, "stopped") == (RunStatus.FAILED, "step 'a': no rows")


def test_a_run_whose_engine_was_content_is_partial(flow, ledger):
    """Where the engine has no more to do and a step has not run, the run is no whole one."""
    StepByStep(flow, ledger).attempt("a")
    assert ended(ledger, RunStatus.OK)[0] is RunStatus.PARTIAL


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (RunStatus.FAILED, "killed; steps 'b' and 'c' had not ended, or were skipped"),
        (
            RunStatus.OK,
            "steps 'b' and 'c' are not recorded: they have not run, or not since a step before them, were skipped, "
            "or the ledger was away",
        ),
    ],
)
def test_what_an_engine_skips_without_a_word_is_not_called_unfinished(flow, ledger, status, words):
    """Airflow skips what follows a step that was skipped, so that nothing is recorded of it: the other step died."""
    flow.step(name="c", after=())(lambda ctx: {})
    StepByStep(flow, ledger, params={"a": "skip"}).attempt("a")
    assert ended(ledger, status, "killed" if status is RunStatus.FAILED else None)[1] == words


def test_a_run_that_has_ended_is_left_alone(flow, ledger):
    """How a run ended is said once."""
    StepByStep(flow, ledger).all_steps()
    assert end_run(ledger, ledger.get_run("e1"), RunStatus.FAILED, "late") is None
    assert ledger.get_run("e1").status is RunStatus.OK


def test_a_run_that_goes_on_elsewhere_is_left_alone(flow, ledger):
    """After another run has taken over, an engine's late word changes nothing."""
    StepByStep(flow, ledger, run_id="e1").attempt("a")
    late = ledger.get_run("e1")
    StepByStep(flow, ledger, run_id="e2", resume_from="e1", take_over=True).attempt("a")
    assert end_run(ledger, late, RunStatus.FAILED, "late") is None
    assert ledger.get_run("e2").status is RunStatus.RUNNING


@pytest.mark.parametrize(
    ("selected", "how", "status"),
    [
        ((), "ok", RunStatus.OK),
        ((), "skipped", RunStatus.SKIPPED),
        (("a",), "ok", RunStatus.PARTIAL),
        (("a",), "skipped", RunStatus.PARTIAL),
    ],
)
def test_a_run_whose_steps_ended_well_has_ended_so_although_its_engine_failed(ledger, selected, how, status):
    """What failed is another op: none of its own steps is undone, and where all were skipped there is nothing."""
    run = ledger.begin(replace(a_run("e1", batch_id="b"), selected=selected))
    steps = selected or run.steps
    ledger.record(run, [a_step(name, status=StepStatus(how), error=f"{name} is {how}") for name in steps])
    assert end_run(ledger, ledger.get_run("e1"), RunStatus.FAILED, "another op", lambda run: {}) is status
    is_hole = status is RunStatus.SKIPPED
    assert ledger.get_run("e1").error == ("a is skipped" if is_hole else None)
    assert [one.is_hole for one in ledger.captures()] == ([] if selected else [is_hole])


@pytest.mark.parametrize("undone", [{}, None])
@pytest.mark.parametrize(
    ("how", "status", "words"),
    [("skipped", RunStatus.SKIPPED, "b is skipped"), ("ok", RunStatus.OK, "optional step 'a': a is tolerated")],
)
def test_a_run_that_its_engine_ends_says_why_as_one_that_ends_itself(ledger, undone, how, status, words):
    """That its optional step failed first is not why it was skipped, and is said of one that is ok."""
    run, statuses = ledger.begin(a_run("e1")), {"a": "tolerated", "b": how, "c": how}
    ledger.record(run, [a_step(name, status=StepStatus(s), error=f"{name} is {s}") for name, s in statuses.items()])
    assert end_run(ledger, ledger.get_run("e1"), RunStatus.OK, None, lambda run: undone) is status
    assert ledger.get_run("e1").error == words


@pytest.mark.parametrize("how", ["ok", "skipped"])
def test_a_part_whose_capture_another_run_has_is_partial(ledger, how):
    """It died before it could end, and has done the last of the steps; the other run says what the capture is."""
    part = ledger.begin(replace(a_run("e1", batch_id="b"), selected=("c",)))
    ledger.record(part, [a_step(name, status=how) for name in "abc"])
    ledger.begin(a_run("e2", batch_id="b"))
    status, error = ended(ledger, RunStatus.OK)
    assert (status, "is being written by run e2" in error) == (RunStatus.PARTIAL, True)
