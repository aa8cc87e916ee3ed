"""What has become of a run's parameters by the time it goes on."""

from dataclasses import dataclass
from datetime import date
from enum import Enum

import pytest

from flowctx import Workflow, WorkflowChanged
from flowctx.core.durability.param_changes import param_changes, params_now
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.durability.resumption import plan_resume
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import make_context
from flowctx.testing.records import a_step
from step_by_step import StepByStep


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Typed:
    limit: float = 1
    since: date | None = None


def flow_of(params, **how):
    flow = Workflow("flow", params=params, **how)
    flow.step(name="a", version="1")(lambda ctx: {"params": dict(ctx.params)})
    flow.step(name="b", version="1", after=["a"])(lambda ctx: {"params": dict(ctx.params)})
    return flow


def run_with(params, **context):
    return RunRecord(workflow="flow", context=make_context(workflow="flow", params=params, **context), steps=("a", "b"))


@pytest.mark.parametrize(
    ("before", "now", "changes", "params"),
    [
        ({"x": 1}, {"x": 2}, [], {"x": 1}),
        ({"x": 1}, {"y": 7}, ["parameter 'y' was added", "parameter 'x' was removed"], {"y": 7}),
        ({"x": 1}, {"x": "one"}, ["parameter 'x' was an int and is a str now"], {"x": "one"}),
        ({"x": "2026-01-09"}, {"x": date(2026, 1, 2)}, ["parameter 'x' was a str and is a date now"], None),
        ({"x": None}, {"x": 2}, ["parameter 'x' was None and is an int now"], {"x": 2}),
        ({"x": 1}, {"x": None}, [], {"x": 1}),
        ({"x": "blue"}, {"x": Colour.RED}, [], {"x": "blue"}),
        ({"x": "green"}, {"x": Colour.RED}, ["parameter 'x' has a value that it cannot have now"], {"x": "red"}),
        ({"x": [1]}, {"x": [2, 3]}, [], {"x": [1]}),
        ({"x": 1}, {}, [], {"x": 1}),
        ({"limit": 2.5, "since": date(2026, 1, 2)}, Typed, [], {"limit": 2.5, "since": date(2026, 1, 2)}),
    ],
)
def test_what_has_changed(before, now, changes, params):
    """What was added, removed or has another type is a change; another default is none: the run keeps its value."""
    flow, run = flow_of(now), run_with(before)
    assert list(param_changes(flow, run, [])) == changes
    assert params_now(flow, run, []) == (dict(flow.params_with(None)) if params is None else params)


def test_other_parameters_are_no_change_where_they_are_taken():
    """Names that a workflow takes beside its own, that steps have written, or that a DAG of one's own has, stay."""
    run, both = run_with({"x": 1, "y": 2}), {"x": 1, "y": 2}
    for flow, records, known in (
        (flow_of({"x": 0}, extra_params=True), [], ()),
        (flow_of({"x": 0}), [a_step(updates={"y": 5})], ()),
        (flow_of({"x": 0}), [], ("y",)),
    ):
        assert list(param_changes(flow, run, records, known=known)) == []
        assert params_now(flow, run, records, known) == both
    own = run_with(both, metadata={"engine": {"name": "airflow", "dag_id": "of_my_own"}})
    assert list(param_changes(flow_of({"x": 0}), own, [])) == []


def test_a_run_does_not_go_on_with_other_parameters():
    """Before anything runs, all that has changed is named, together with steps that have."""
    flow, run = flow_of({"y": 7}), run_with({"x": 1})
    with pytest.raises(WorkflowChanged) as caught:
        plan_resume(flow, run, [a_step("a", version="0")])
    assert str(caught.value).splitlines()[1:] == [
        "  - the code of step 'a' changed: it ran as 0 and is 1 now;",
        "  - parameter 'y' was added;",
        "  - parameter 'x' was removed;",
        f"resume with accept_changes=True (flowctx resume {run.run_id} --accept-changes) keeps what the complete steps "
        "recorded and takes the parameters as they are declared now; "
        "from_step='a' beside it (--from-step a) runs it and what follows it again",
    ]
    in_one_line = " ".join(str(caught.value).split())
    assert "is 1 now; - parameter 'y' was added; - parameter 'x' was removed; resume with" in in_one_line
    assert plan_resume(flow, run, [], accept_changes=True).context.params == {"y": 7}
    assert plan_resume(flow, run, [], accept_changes=True, params={"y": 8}).context.params == {"y": 8}
    both = plan_resume(flow, run, [a_step("a", version="0")], accept_changes=True, from_step="a")
    assert (both.completed, both.context.params) == ((), {"y": 7})


def test_a_parameter_that_is_given_is_no_change():
    """Whoever gives the value of a new parameter knows of it."""
    flow = flow_of({"x": 1, "y": 7})
    assert plan_resume(flow, run_with({"x": 2}), [], params={"y": 8}).context.params == {"x": 2, "y": 8}


def test_what_is_complete_is_not_asked_for_its_parameters():
    """A run of which nothing is left to run is returned as it is."""
    done = [a_step("a"), a_step("b", after=("a",))]
    flow = flow_of({"y": 7})
    assert plan_resume(flow, run_with({"x": 1}), done).context.params == {"x": 1}
    with pytest.raises(WorkflowChanged):
        plan_resume(flow, run_with({"x": 1}), done, from_step="b")


@pytest.mark.parametrize("accept", [False, True])
def test_a_step_of_a_resumed_run_sees_the_parameters_that_there_are(accept):
    """A run that continues another refuses them as well when they change between its own steps, or takes them."""
    ledger, before = MemoryLedger(), flow_of({"x": 1})
    first = StepByStep(before, ledger, run_id="e1")
    first.open()
    ledger.finish(ledger.get_run("e1"), RunStatus.FAILED, "died")
    StepByStep(before, ledger, run_id="e2", resume_from="e1", accept_changes=accept).attempt("a")
    second = StepByStep(flow_of({"y": 7}), ledger, run_id="e2", resume_from="e1", accept_changes=accept)
    second.payloads["a"] = '{"flowctx": "1.0", "step": "a", "status": "ok", "output": {}}'
    made = second.attempt("b")
    if accept:
        assert made.outcome.result.output == {"params": {"y": 7}}
    else:
        assert made.outcome.result.error.startswith("WorkflowChanged: workflow 'flow' has changed since run e2 ran")
