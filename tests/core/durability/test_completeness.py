"""When a run is over, and whether what it leaves is whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import StepStatus, Workflow
from flowctx.core.durability.completeness import end_status, leads_on, status_when_over, steps_of_other_runs
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.durability.resumption import run_status
from flowctx.ledger.memory import MemoryLedger
from step_by_step import StepByStep

ORDER = {"a": (), "b": ("a",), "c": ("b",), "d": ("a",)}
OK, FAILED, SKIPPED = StepStatus.OK, StepStatus.FAILED, StepStatus.SKIPPED
STATUSES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([OK, FAILED, SKIPPED]))


@pytest.mark.parametrize(
    ("selected", "statuses", "status"),
    [
        ("a", {}, RunStatus.RUNNING),
        ("a", {"a": OK}, RunStatus.PARTIAL),
        ("a", {"a": FAILED}, RunStatus.FAILED),
        ("a", {"a": SKIPPED}, RunStatus.SKIPPED),
        ("cd", {"a": OK, "b": OK, "d": OK}, RunStatus.RUNNING),
        ("cd", {"a": OK, "b": OK, "c": OK, "d": OK}, RunStatus.OK),
        ("cd", {"c": OK, "d": OK}, RunStatus.PARTIAL),
        ("b", {"a": OK, "b": OK, "c": FAILED, "d": OK}, RunStatus.FAILED),
        ("", {"a": OK, "b": OK, "c": OK}, RunStatus.RUNNING),
        ("", {"a": OK, "b": OK, "c": OK, "d": OK}, RunStatus.OK),
    ],
)
def test_a_part_ends_as_partial(selected, statuses, status):
    """A run of some steps is over with them, and is whole only if other runs have done all the others."""
    assert end_status(ORDER, selected, statuses) is status


@given(STATUSES)
def test_a_run_of_all_steps_is_never_partial(statuses):
    """Without a selection, a run ends as its steps do."""
    assert end_status(ORDER, "", statuses) is run_status(ORDER, statuses)


@given(STATUSES)
def test_what_the_engine_calls_over_is_over(statuses):
    """Such a run does not go on: it failed if any step did, and is partial if a step that could have run did not."""
    status = status_when_over(ORDER, statuses)
    assert status is not RunStatus.RUNNING
    assert (status is RunStatus.FAILED) == (FAILED in statuses.values())
    if FAILED not in statuses.values():
        assert (status is RunStatus.PARTIAL) == (run_status(ORDER, statuses) is RunStatus.RUNNING)


@pytest.mark.parametrize(
    ("step", "statuses", "leads"),
    [
        ("a", {"a": OK}, True),
        ("a", {"a": OK, "b": OK, "d": OK}, True),
        ("a", dict.fromkeys("abcd", OK), False),
        ("a", {"a": SKIPPED}, False),
        ("a", {}, False),
        ("b", {"b": OK}, True),
        ("b", {"b": OK, "c": FAILED}, False),
        ("d", {"d": OK}, False),
    ],
)
def test_a_step_leads_on_while_others_after_it_are_to_run(step, statuses, leads):
    """Only a step that is ok has others to wait for, however far after it they are."""
    assert leads_on(ORDER, step, statuses) is leads


@pytest.fixture
def flow():
    flow = Workflow("flow")
    flow.step(name="a")(lambda ctx: {"n": 1})
    flow.step(name="b")(lambda ctx: {"n": 2})
    return flow


def test_other_runs_of_the_capture_have_done_steps_too(flow):
    """The steps that another run of the same capture completed count; those of another capture do not."""
    ledger = MemoryLedger()
    StepByStep(flow, ledger, run_id="e1", capture_id="one").attempt("a")
    StepByStep(flow, ledger, run_id="e2", capture_id="other").attempt("a")
    own = StepByStep(flow, ledger, run_id="e3", capture_id="one")
    run = RunRecord(workflow="flow", context=own.ctx)
    assert [record.step for record in steps_of_other_runs(ledger, run, ["a", "b"])] == ["a"]
    assert steps_of_other_runs(ledger, run, ["b"]) == []
