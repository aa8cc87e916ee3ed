"""What happened in a run: its steps, how it ended, and what is said of a failure."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import QualityMetrics, RunFailed, RunResult, StepResult, StepRun, StepStatus
from flowctx.core.workflow.run_result import failure_before
from flowctx.testing import make_context

STATUSES = st.sampled_from(list(StepStatus))


def entry(name, status="ok", **fields):
    return StepRun(name=name, status=StepStatus(status), **fields)


def result(*entries, **context):
    return RunResult.of("flow", make_context(**context), entries)


def test_a_step_that_ran_has_what_its_result_has():
    """Status, reason, category and quality are those of the result; attempts and time are the engine's."""
    quality = QualityMetrics(counts={"rows": 3})
    ended = StepResult.fail("no rows", category="DATA_QUALITY", quality=quality)
    made = StepRun.of("load", ended, 2, timedelta(seconds=5))
    assert (made.status, made.error, made.category) == ("failed", "no rows", "DATA_QUALITY")
    assert (made.quality, made.attempts, made.duration) == (quality, 2, timedelta(seconds=5))


@pytest.mark.parametrize("before", [[], [entry("a")], [entry("a"), entry("b")]])
def test_a_step_after_steps_that_are_ok_is_started(before):
    """Nothing keeps it from running."""
    assert StepRun.not_started("load", before) is None


def test_a_skip_is_passed_on_with_its_reason():
    """A step after a skipped one is skipped for the same reason, and was not tried."""
    made = StepRun.not_started("use", [entry("a"), entry("b", "skipped", error="no rows")])
    assert (made.name, made.status, made.error, made.attempts) == ("use", "skipped", "no rows", 0)


@pytest.mark.parametrize("cause", ["failed", "not_run"])
def test_a_failure_goes_before_a_skip(cause):
    """A step after a failed one is not run, whatever else was skipped, and the message names the one that failed."""
    made = StepRun.not_started("use", [entry("a", "skipped", error="x"), entry("b", cause)])
    assert (made.status, made.error) == ("not_run", failure_before("b"))


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["ok", "skipped", "failed", "not_run"], "failed"),
        (["ok", "skipped"], "ok"),
        (["skipped", "skipped"], "skipped"),
        ([], "ok"),
        (["ok", "not_run"], "ok"),
    ],
)
def test_a_run_ends_as_its_steps_do(statuses, status):
    """One failure fails the run; a run in which something ran to its end is not a skipped one."""
    assert result(*(entry(str(i), how) for i, how in enumerate(statuses))).status == status


@given(st.lists(STATUSES))
def test_a_run_raises_if_and_only_if_a_step_failed(statuses):
    """Nothing but a failed step makes a run raise; otherwise it returns itself."""
    run = result(*(entry(str(i), how) for i, how in enumerate(statuses)))
    if StepStatus.FAILED in statuses:
        with pytest.raises(RunFailed, match=f"at step '{statuses.index(StepStatus.FAILED)}'"):
            run.raise_for_failure()
    else:
        assert run.raise_for_failure() is run


def test_a_failure_names_step_run_and_partition():
    """Who is called at night finds the step, why it failed, the run and the partition in one line."""
    run = result(
        entry("load", "failed", error="no rows", category="DATA_QUALITY"), run_id="r1", partition={"date": "2026-01-09"}
    )
    with pytest.raises(RunFailed) as caught:
        run.raise_for_failure()
    assert str(caught.value) == (
        "workflow 'flow' failed at step 'load' (DATA_QUALITY): no rows [run r1, partition date=2026-01-09]"
    )


def test_steps_are_found_by_name():
    """A step that is not there is an error that lists those that are."""
    run = result(entry("a"), entry("b"))
    assert (run["b"].name, run.run_id) == ("b", "run-1")
    with pytest.raises(KeyError, match="no step 'c' in this run; it has a, b"):
        run["c"]


def test_equal_outputs_have_equal_digests():
    """The digest is of the outputs alone: not of the run, and not of the order in which they were made."""
    one = result(run_id="r1", step_outputs={"a": {"n": 1}, "b": {"n": 2}})
    same = result(run_id="r2", step_outputs={"b": {"n": 2}, "a": {"n": 1}})
    assert one.outputs_digest == same.outputs_digest != result(step_outputs={"a": {"n": 1}}).outputs_digest
