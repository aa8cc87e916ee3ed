"""A step by itself: what it refuses, and how a test calls it."""

import pytest

from flowctx import Step, StepResult, Workflow, WorkflowContext, WorkflowError
from flowctx.core.workflow.cascade import RunIf


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"run_if": "allways"}, "run_if='allways' of step 'clean' must be one of 'ok', 'not_failed', 'always'"),
        ({"optional": "yes"}, "optional='yes' of step 'clean' must be True or False"),
        ({"refresh": "no"}, "refresh='no' of step 'clean' must be True or False"),
    ],
)
def test_what_is_no_rule_is_refused_where_it_is_written(arguments, words):
    """A wrong word names the right ones when the step is declared, and the workflow whose step it is."""
    with pytest.raises(WorkflowError, match=f"workflow 'w': {words}"):
        Workflow("w").step("clean", **arguments)(lambda ctx: None)


def test_extra_params_is_a_truth_value():
    """A word is refused: "no" would be taken for true."""
    with pytest.raises(WorkflowError, match="extra_params='no' of workflow 'w' must be True or False"):
        Workflow("w", params={"a": 1}, extra_params="no")


def test_a_step_knows_what_it_follows_and_how():
    """The steps before it have its rule."""
    step = Step(name="clean", function=lambda ctx: None, after=("load",), run_if="always")
    assert (step.before, step.before.run_if, step.run_if) == (("load",), RunIf.ALWAYS, RunIf.ALWAYS)


def test_a_step_is_called_by_itself():
    """Its result is what the function returned, with configuration on top of its own."""
    step = Step(name="add", function=lambda ctx, config: {"n": config["a"] + config["b"]}, config={"a": 1, "b": 1})
    assert step.execute(WorkflowContext.new(), {"b": 2}) == StepResult.ok({"n": 3})
