"""When a step is started, given how those before it ended."""

import pytest

from flowctx import StepStatus
from flowctx.core.workflow.cascade import Before, RunIf, cascaded_status

OK, FAILED, SKIPPED, NOT_RUN, TOLERATED = (
    StepStatus(name) for name in ("ok", "failed", "skipped", "not_run", "tolerated")
)


@pytest.mark.parametrize(
    ("before", "ok", "not_failed"),
    [
        ([OK, TOLERATED], None, None),
        ([OK, SKIPPED], SKIPPED, None),
        ([SKIPPED, FAILED], NOT_RUN, NOT_RUN),
        ([TOLERATED, NOT_RUN], NOT_RUN, NOT_RUN),
        ([], None, None),
    ],
)
def test_what_comes_before_decides_by_the_rule(before, ok, not_failed):
    """A failure stops all but a clean-up, a skip those that ask for ok; an optional failure stops none."""
    assert cascaded_status(before) is ok
    assert cascaded_status(before, RunIf.NOT_FAILED) is not_failed
    assert cascaded_status(before, RunIf.ALWAYS) is None


def test_the_rule_stays_with_the_steps():
    """Some of the steps before one keep its rule; as a tuple they are what they are."""
    before = Before.of(["a", "b"], RunIf.ALWAYS)
    assert (before.among({"b"}), before.among({"b"}).run_if) == (("b",), RunIf.ALWAYS)
