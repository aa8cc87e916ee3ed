"""One step of a remembered run, run again on exactly what it saw."""

import pytest

from flowctx import StepResult, Workflow, WorkflowError
from flowctx.artifacts import PathArtifactStore
from flowctx.core.durability.replay import replay_step
from flowctx.ledger.memory import MemoryLedger
from step_by_step import StepByStep


@pytest.fixture
def world():
    """What the step ``b`` reads beside its context."""
    return {"factor": 2}


@pytest.fixture
def flow(world):
    flow = Workflow("flow", params={"n": 3})
    flow.step(name="a")(lambda ctx: StepResult.ok({"n": ctx.params["n"]}, context_updates={"n": 100}))

    @flow.step(name="b")
    def b(ctx, config):
        if world["factor"] is None:
            raise ValueError("no factor")
        return {"n": ctx.get_output("a", "n") * world["factor"] + config.get("add", 0), "param": ctx.params["n"]}

    return flow


@pytest.fixture
def ledger():
    return MemoryLedger()


def replayed(flow, ledger, name, **how):
    return replay_step(ledger, flow, ledger.get_run("e1"), name, **how)


def test_a_step_sees_what_it_saw(flow, ledger):
    """Outputs, parameters and configuration are those of the run, and the same code makes no difference."""
    run = StepByStep(flow, ledger)
    run.attempt("a")
    run.attempt("b", config={"add": 1})
    made = replayed(flow, ledger, "b")
    assert made.result.output == {"n": 7, "param": 100}
    assert (made.context.step_outputs, made.diff, made.exception) == ({"a": {"n": 3}}, "", None)
    assert (made.run.run_id, made.recorded.step) == ("e1", "b")


def test_the_difference_is_shown(flow, ledger, world):
    """What is returned now and was not then is a diff, then before now; the ledger stays as it was."""
    StepByStep(flow, ledger).all_steps()
    before = ledger.steps(ledger.get_run("e1").key)
    world["factor"] = 5
    diff = replayed(flow, ledger, "b").diff.splitlines()
    assert diff[:2] == ["--- recorded", "+++ replayed"]
    assert ('-    "n": 6,' in diff, '+    "n": 15,' in diff) == (True, True)
    assert ledger.steps(ledger.get_run("e1").key) == before


def test_an_exception_is_a_difference_too(flow, ledger, world):
    """A step that raises now is shown as the failure that it would be."""
    StepByStep(flow, ledger).all_steps()
    world["factor"] = None
    made = replayed(flow, ledger, "b")
    assert isinstance(made.exception, ValueError)
    assert '+  "error": "ValueError: no factor",' in made.diff


def test_a_step_that_never_ran_can_be_run(flow, ledger):
    """If all before it is complete, a step runs for the first time, with nothing to compare."""
    StepByStep(flow, ledger).attempt("a")
    made = replayed(flow, ledger, "b")
    assert (made.result.output["n"], made.recorded, made.diff) == (6, None, "")


def test_a_step_whose_predecessor_is_missing_is_refused(flow, ledger):
    """The message says which step is missing, and which ones can be replayed."""
    StepByStep(flow, ledger).open()
    with pytest.raises(WorkflowError, match="did not get as far as step 'b': step 'a' before it is not complete"):
        replayed(flow, ledger, "b")
    with pytest.raises(WorkflowError, match="no step 'x'"):
        replayed(flow, ledger, "x")


def test_a_step_sees_the_attempt_that_it_ran_in(flow, ledger, world):
    """In a resumed run, a step that ran before is replayed with the parameters of its own attempt."""
    world["factor"] = None
    StepByStep(flow, ledger).all_steps()
    world["factor"] = 2
    StepByStep(flow, ledger, run_id="e2", resume_from="e1", params={"n": 50}).all_steps()
    made = replay_step(ledger, flow, ledger.get_run("e2"), "a")
    assert (made.context.params["n"], made.diff) == (3, "")


def test_outputs_in_the_store_are_read(flow, ledger, tmp_path):
    """An output that became an artifact is there for the replay, and for the comparison."""
    store = PathArtifactStore(str(tmp_path))
    StepByStep(flow, ledger, store=store, limit=0).all_steps()
    made = replayed(flow, ledger, "b", store=store)
    assert (made.context.get_output("a", "n"), made.diff) == (3, "")


def test_the_function_may_be_called_by_a_debugger(flow, ledger):
    """Whoever calls the function gets it with its arguments; the result is the same."""
    StepByStep(flow, ledger).all_steps()
    called = []

    def invoke(function, *args):
        called.append((function, len(args)))
        return function(*args)

    made = replayed(flow, ledger, "b", invoke=invoke)
    assert (called, made.diff) == ([(flow["b"].function, 2)], "")
