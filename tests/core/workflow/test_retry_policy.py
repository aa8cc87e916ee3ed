"""How often, and how long after a failure, a step is tried again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import RetryPolicy, WorkflowError
from flowctx.core.workflow.retry_policy import NO_RETRIES


def test_each_wait_is_a_multiple_of_the_one_before():
    """Waits grow by the factor until the longest; without a delay there is none."""
    policy = RetryPolicy(retries=9, delay=timedelta(seconds=10), backoff=3, max_delay=timedelta(minutes=2))
    assert [policy.wait(n).total_seconds() for n in (1, 2, 3, 4, 10_000)] == [10, 30, 90, 120, 120]
    assert RetryPolicy(retries=9).wait(5) == timedelta(0)


@given(st.integers(1, 5000), st.sampled_from([0, 0.25, 1]), st.integers(1, 10))
def test_no_wait_is_longer_than_it_may_be(attempt, jitter, backoff):
    """However often a step was tried, the wait is at least the first one and at most the longest, and its jitter."""
    policy = RetryPolicy(delay=timedelta(seconds=1), max_delay=timedelta(seconds=60), jitter=jitter, backoff=backoff)
    assert 1 <= policy.wait(attempt).total_seconds() <= 60 * (1 + jitter)


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"retries": -1}, "retries=-1 must be an int from 0"),
        ({"retries": True}, "retries=True must be an int"),
        ({"retries": "2"}, "retries='2' must be an int"),
        ({"delay": 5}, "delay=5 must be a timedelta from 0"),
        ({"max_delay": timedelta(-1)}, "max_delay="),
        ({"backoff": 0.5}, "backoff=0.5 must be a number from 1"),
        ({"backoff": "2"}, "backoff='2' must be a number from 1"),
        ({"backoff": float("nan")}, "backoff=nan must be a number from 1"),
        ({"backoff": float("inf")}, "backoff=inf must be a number from 1"),
        ({"jitter": "1"}, "jitter='1' between 0 and 1"),
        ({"jitter": 1.1}, "jitter=1.1 between 0 and 1"),
        ({"jitter": -0.1}, "jitter=-0.1"),
    ],
)
def test_wrong_policies_are_refused(fields, remedy):
    """The message names the field and what it may be."""
    with pytest.raises(WorkflowError, match=remedy):
        RetryPolicy(**fields)


def test_the_limits_themselves_are_allowed():
    """No retries, no growth and full jitter are policies too."""
    assert RetryPolicy(retries=0, backoff=1, jitter=1, delay=timedelta(0)).retries == 0
    assert NO_RETRIES.retries == 0
