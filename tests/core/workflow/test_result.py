"""StepResult, ErrorCategory and QualityMetrics."""

import json

import pytest

from flowctx import ErrorCategory, PlainDataError, QualityMetrics, StepResult, StepStatus


def test_ok_is_frozen_plain_data():
    """Output and updates are normalised and read-only."""
    result = StepResult.ok(output={"rows": (1, 2)}, context_updates={"done": True})
    assert (result.status, result.output, result.context_updates) == (StepStatus.OK, {"rows": [1, 2]}, {"done": True})
    with pytest.raises(TypeError, match="copy it first"):
        result.output["rows"].append(3)


def test_ok_may_be_empty():
    """A step need not hand on anything."""
    assert StepResult.ok().output == {}


@pytest.mark.parametrize("category", [ErrorCategory.TIMEOUT, "TIMEOUT"])
def test_fail_takes_a_category_or_its_name(category):
    """Both are the same."""
    result = StepResult.fail("too slow", category=category, output={"seen": 3})
    assert (result.status, result.error, result.category) == (StepStatus.FAILED, "too slow", ErrorCategory.TIMEOUT)
    assert result.output == {"seen": 3}


@pytest.mark.parametrize(
    ("category", "retryable"),
    [
        ("TRANSIENT", True),
        ("TIMEOUT", True),
        ("DEPENDENCY", True),
        ("INTERNAL", True),
        ("CONFIGURATION", False),
        ("DATA_QUALITY", False),
    ],
)
def test_which_failures_are_tried_again(category, retryable):
    """CommandError data and wrong configuration fail at once."""
    assert ErrorCategory(category).retryable is retryable


def test_skip_has_a_reason():
    """The reason travels as the error text."""
    result = StepResult.skip("did not trade")
    assert (result.status, result.error) == (StepStatus.SKIPPED, "did not trade")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepResult.ok([1]), "output is a list; it must be a dict"),
        (lambda: StepResult.ok({"x": {1}}), r"output\['x'\] is a set"),
        (lambda: StepResult.ok(context_updates={"x": open}), r"context_updates\['x'\]"),
        (lambda: StepResult.ok(quality={"rows": 1}), "quality is a dict; pass QualityMetrics"),
        (lambda: StepResult.fail(""), "say in words why the step failed"),
        (lambda: StepResult.fail("x", category="BAD"), "must be one of TRANSIENT, TIMEOUT"),
        (lambda: StepResult.skip(""), "say in words why there is nothing to do"),
        (lambda: QualityMetrics(counts={"rows": 1.5}), r"counts\['rows'\] is 1.5; it must be an int"),
        (lambda: QualityMetrics(rates={"null": "x"}), "must be a number"),
        (lambda: QualityMetrics(passed=1), r"use bool\(...\)"),
        (lambda: QualityMetrics(reasons=[1]), "must hold text"),
    ],
)
def test_what_cannot_be_a_result_is_refused(make, message):
    """The message says what and why."""
    with pytest.raises(PlainDataError, match=message):
        make()


def test_one_reason_may_be_text():
    """A single reason need not be wrapped."""
    assert QualityMetrics(passed=False, reasons="nulls").reasons == ("nulls",)


def test_quality_as_a_dict():
    """Its dict is plain and complete."""
    quality = QualityMetrics(counts={"rows": 2}, rates={"null": 0.5}, passed=False, reasons=("nulls",))
    assert quality.to_dict() == {"counts": {"rows": 2}, "rates": {"null": 0.5}, "passed": False, "reasons": ["nulls"]}
    unknown = StepResult.ok(quality=QualityMetrics(rates={"null": float("nan")}))
    assert json.loads(json.dumps(unknown.to_dict(), allow_nan=False))["quality"]["rates"] == {"null": {"$float": "nan"}}
