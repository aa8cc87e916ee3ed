"""A context beside steps refuses to be asked for outputs, and is equal to one without."""

import pickle

import pytest

from flowctx import MissingKey, WorkflowContext
from flowctx.core.workflow.run_context import beside_steps

CTX = WorkflowContext.new(params={"n": 1})


@pytest.mark.parametrize("made", [lambda ctx: ctx, lambda ctx: pickle.loads(pickle.dumps(ctx))], ids=["here", "sent"])
@pytest.mark.parametrize("ask", [lambda ctx: ctx.get_output("a", "n", 0), lambda ctx: ctx.step_outputs["a"]])
def test_an_output_is_no_answer(made, ask):
    """Neither None nor a default: whether there is one is not known there; what to do instead is said."""
    with pytest.raises(MissingKey, match="no output of step 'a' here: workflow_context.. has none, .*; take the task"):
        ask(made(beside_steps(CTX, "take the task")))


def test_it_is_stored_and_compared_as_one_without_outputs():
    """Its payloads are those of the context that it was made of."""
    ctx = beside_steps(CTX, "take the task")
    assert ctx == CTX
    assert ctx.to_dict() == CTX.to_dict()
    assert ctx.to_bytes() == CTX.to_bytes()
    assert WorkflowContext.from_bytes(ctx.to_bytes()) == CTX
    assert not ctx.step_outputs
    assert ctx.with_step_output("a", {"n": 1}).get_output("a", "n") == 1
