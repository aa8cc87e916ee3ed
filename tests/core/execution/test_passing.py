"""Which exceptions pass through a step, and which are its failure."""

import asyncio

import pytest

from flowctx import ErrorCategory, Step, StepStatus, WorkflowContext
from flowctx.core.execution.execute import execute


def run(function):
    return execute(Step(name="load", function=function), WorkflowContext.new(batch_id="b"))


def raising(exc):
    def function(ctx):
        raise exc

    return function


class Panic(BaseException):
    """What a library raises that is written in Rust: an error, and no Exception."""


class TaskDeferred(BaseException):
    """Named as what an engine raises that runs this process."""

    __module__ = "airflow.sdk.exceptions"


class AirflowTaskTimeout(BaseException):
    """Named as what an engine raises when the time is up that it gives a step."""

    __module__ = "airflow.sdk.exceptions"


@pytest.mark.parametrize(
    "stop",
    [
        KeyboardInterrupt(),
        SystemExit(),
        GeneratorExit(),
        asyncio.CancelledError(),
        pytest.skip.Exception("a test"),
        TaskDeferred(),
        BaseExceptionGroup("several", [Panic(), KeyboardInterrupt()]),
    ],
    ids=lambda stop: type(stop).__name__,
)
def test_interrupts_pass_through(stop):
    """Ctrl-C ends the run, not the step, and so does what is said to whoever runs it."""
    with pytest.raises(type(stop)):
        run(raising(stop))


@pytest.mark.parametrize("panic", [Panic("no Int256"), BaseExceptionGroup("several", [Panic("no Int256")])])
def test_a_panic_is_a_failure(panic):
    """An exception that is no Exception, and that nobody waits for, is the step's, without the secrets in its text."""
    outcome = run(raising(panic))
    assert (outcome.result.status, outcome.result.category) == (StepStatus.FAILED, ErrorCategory.INTERNAL)
    assert outcome.exception is panic
    secret = run(raising(Panic("postgresql://me:hunter2@db"))).exception
    assert (isinstance(secret, Panic), str(secret)) == (True, "postgresql://me:***@db")


def test_a_step_whose_time_is_up_has_failed():
    """The timeout that an engine has for a step is its failure, which a retry may mend."""
    result = run(raising(AirflowTaskTimeout("Timeout, PID: 7"))).result
    assert (result.status, result.category) == (StepStatus.FAILED, ErrorCategory.TIMEOUT)
    assert result.error == "AirflowTaskTimeout: Timeout, PID: 7"
