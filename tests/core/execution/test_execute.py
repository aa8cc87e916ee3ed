"""Running one step."""

import logging
import sqlite3

import pytest

from flowctx import ErrorCategory, PlainDataError, QualityMetrics, Step, StepResult, StepStatus, WorkflowContext
from flowctx.core.execution.execute import categorize, execute

CTX = WorkflowContext.new(partition={"date": "2026-01-09"}, batch_id="b")


def run(function, **kwargs):
    return execute(Step(name="load", function=function, **kwargs), CTX)


def raising(exc):
    def function(ctx):
        raise exc

    return function


@pytest.mark.parametrize(
    ("returned", "output"),
    [(None, {}), ({"rows": 3}, {"rows": 3}), (StepResult.ok({"rows": 3}), {"rows": 3}), ({}, {})],
)
def test_what_a_step_may_return(returned, output):
    """A StepResult, a dict and None are all ok."""
    outcome = run(lambda ctx: returned)
    assert (outcome.result.status, outcome.result.output, outcome.exception) == (StepStatus.OK, output, None)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({1, 2}, "returned a set; a step returns a StepResult, a dict, a frame or None"),
        ([1], "returned a list"),
        ({"ids": {1}}, r"output\['ids'\] is a set, which cannot be passed on; use sorted"),
    ],
)
def test_what_a_step_may_not_return(returned, message):
    """It fails at once, naming the step, the path and the remedy."""
    outcome = run(lambda ctx: returned)
    assert outcome.result.category is ErrorCategory.CONFIGURATION
    assert outcome.result.error.startswith("step 'load': ")
    with pytest.raises(PlainDataError, match=message):
        raise outcome.exception


def test_an_open_file_may_not_be_returned(tmp_path):
    """The file is named by its path inside the output."""
    with (tmp_path / "f").open("w") as file:
        assert "output['file']" in run(lambda ctx: {"file": file}).result.error


class RequestsTimeout(OSError):
    """Named as the exception of a library that is not imported."""


RequestsTimeout.__module__, RequestsTimeout.__qualname__ = "requests.exceptions", "Timeout"


def chained():
    try:
        raise ConnectionResetError
    except ConnectionResetError as exc:
        error = ValueError("wrapped")
        error.__cause__ = exc
        return error


@pytest.mark.parametrize(
    ("exc", "category"),
    [
        (ConnectionResetError(), "TRANSIENT"),
        (TimeoutError(), "TIMEOUT"),
        (FileNotFoundError(), "DEPENDENCY"),
        (PermissionError(), "CONFIGURATION"),
        (ModuleNotFoundError(), "CONFIGURATION"),
        (PlainDataError("x"), "CONFIGURATION"),
        (RequestsTimeout(), "TIMEOUT"),
        (chained(), "TRANSIENT"),
        (sqlite3.OperationalError(), "INTERNAL"),
        (KeyError("x"), "INTERNAL"),
    ],
)
def test_an_exception_has_a_category(exc, category):
    """The type decides, by name for libraries that are not imported, else the cause."""
    assert categorize(exc) == category


def test_an_exception_is_a_failure():
    """Its type and text are the error, and the exception itself is kept."""
    error = KeyError("rows")
    outcome = run(raising(error))
    assert (outcome.result.status, outcome.result.error) == (StepStatus.FAILED, "KeyError: 'rows'")
    assert outcome.exception is error


def test_an_exception_that_cannot_be_shown_is_a_failure_too():
    """A broken __str__ does not hide which exception it was."""

    class Broken(Exception):
        def __str__(self):
            raise RuntimeError

    assert run(raising(Broken())).result.error == "Broken"


def test_the_engines_own_exceptions_pass_through():
    """What belongs to the engine is not turned into a failure."""

    class Deferred(Exception):
        pass

    with pytest.raises(Deferred):
        execute(Step(name="load", function=raising(Deferred())), CTX, reraise=(Deferred,))


def test_a_condition_that_does_not_hold_skips():
    """The function is not called."""
    outcome = run(raising(AssertionError()), when=lambda ctx: "no" in ctx.params)
    assert (outcome.result.status, outcome.result.error) == (
        StepStatus.SKIPPED,
        "the condition of step 'load' does not hold",
    )


def test_a_condition_that_raises_is_a_failure():
    """It is the step that fails."""
    assert (
        run(lambda ctx: None, when=lambda ctx: ctx.params["x"]).result.error == "MissingKey: no 'x' here; it is empty"
    )


def test_config_is_the_steps_own_with_the_callers_on_top():
    """A caller may override part of it."""
    step = Step(name="load", function=lambda ctx, config: dict(config), config={"a": 1, "b": 1})
    assert execute(step, CTX, {"b": 2}).result.output == {"a": 1, "b": 2}


def test_a_ring_of_causes_has_a_category():
    """Exceptions that name each other as their cause are no endless task."""
    one, other = ValueError("one"), KeyError("two")
    one.__cause__, other.__cause__ = other, one
    assert categorize(one) is ErrorCategory.INTERNAL


def test_reasons_of_quality_have_no_secrets(caplog):
    """What was not passed is told as errors are, in the result and in the log."""
    quality = QualityMetrics(passed=False, reasons=("\x1b[2J bad token hunter2hunter2",))
    step = Step(name="load", function=lambda ctx: StepResult.ok(quality=quality), config={"token": "hunter2hunter2"})
    assert execute(step, CTX).result.quality.reasons == ("\x1b[2J bad token ***",)
    assert caplog.messages[-1:] == ["step load: quality not passed: \\x1b[2J bad token ***"]


def test_the_log_says_which_run_step_and_partition(caplog):
    """Records carry the identity as structured extras."""
    with caplog.at_level(logging.INFO, logger="flowctx"):
        run(lambda ctx: StepResult.ok(quality=QualityMetrics(passed=False, reasons=("nulls",))))
        run(raising(ValueError("bad")))
    ok, quality, failed = caplog.records
    assert (ok.run_id, ok.step, ok.partition, ok.batch_id) == (CTX.run_id, "load", "date=2026-01-09", "b")
    assert "quality not passed: nulls" in quality.getMessage()
    assert (failed.levelname, "ValueError: " in failed.getMessage()) == ("WARNING", True)
