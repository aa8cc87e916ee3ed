"""How workflows, contexts and results show themselves, and how a slip in a step's name is heard."""

from __future__ import annotations

import json

import pytest

from flowctx import Daily, PartitionScheme, StepResult, Workflow, WorkflowContext, run
from flowctx.core.workflow.definition import Step


@pytest.fixture
def flow():
    flow = Workflow("shown", partitions=PartitionScheme(tier=["A", "B"]), params={"note": "<b>"})
    flow.step("fetch", config={"url": "<x>"})(lambda ctx: {"rows": [1] * 1000})
    flow.step("check", when=lambda ctx: True)(lambda ctx: StepResult.fail("too <few>", "DATA_QUALITY"))
    flow.step("load")(lambda ctx: None)
    return flow


def test_a_workflow_draws_itself(flow):
    """Each step is a box, one with a condition a rhomb, and each order an arrow."""
    assert flow.to_mermaid().splitlines() == [
        "flowchart LR",
        "    fetch[fetch]",
        "    check{check}",
        "    fetch --> check",
        "    load[load]",
        "    check --> load",
    ]


def test_a_drawing_shows_what_is_read_and_what_runs_anyway():
    """Inputs stand before the step that reads them, with a dotted line; a rule stands on its arrow."""
    desk = Workflow("desk")
    desk.step("total")(lambda ctx: None)
    flow = Workflow("month")
    flow.step("load", inputs={"days": desk.output("total")})(lambda ctx, *, days: None)
    flow.step("clean", run_if="always")(lambda ctx: None)
    assert flow.to_mermaid().splitlines()[2:] == [
        "    desk_total_input([desk: total]) -. days .-> load",
        "    clean[clean]",
        "    load -- always --> clean",
    ]


def test_what_is_shown_in_a_terminal_is_short(flow):
    """A result and a context say in a line what matters, however large the outputs are."""
    result = run(flow, partition="A", batch_id="b")
    assert repr(result) == "<RunResult of shown for tier=A: failed; fetch ok, check failed, load not_run>"
    assert f"<WorkflowContext of run {result.run_id}, partition tier=A, batch_id b" in repr(result.context)
    assert len(repr(result.context)) < 300


def test_what_is_shown_in_a_notebook_is_escaped(flow):
    """Tables in HTML have every text of the user's escaped."""
    result = run(flow, partition="A")
    for value in (flow, result, result.context):
        html = value._repr_html_()
        assert html.startswith("<table>")
        assert "<x>" not in html
        assert "<few>" not in html
        assert "<b>" not in html


def test_what_is_shown_has_no_secrets():
    """Parameters and configuration of secret names, and passwords in URLs, are hidden in terminals and notebooks."""
    flow = Workflow("shown", params={"api_token": "hunter2-p", "url": "https://me:hunter2-u@db/x", "limit": 7})
    flow.step("fetch", config={"db_password": "hunter2-c", "limit": 8})(lambda ctx: None)
    context = run(flow).context
    shown = [repr(context), context._repr_html_(), flow._repr_html_(), repr(flow["fetch"]), repr(flow.parameters)]
    assert not [text for text in shown if "hunter2" in text]
    assert all("***" in text for text in shown)
    assert "'limit': 7" in shown[0]
    assert "'limit': 8" in shown[3]
    assert repr(flow["fetch"]).startswith("Step(name='fetch', function=<function")


def test_a_selection_shows_its_first_keys_and_the_last():
    """In a notebook a selection is a table, as short for a million keys as for twelve."""
    days = PartitionScheme(venue=["<x>"], date=Daily(start="2012-01-01", end="2012-12-31"))
    html = days.select("date=2012-01")._repr_html_()
    assert "<caption>selection of 31 keys</caption><thead><tr><th>venue</th><th>date</th></tr>" in html
    assert html.count("<tr>") == 1 + 10 + 1 + 1
    assert html.endswith("<tr><td>&lt;x&gt;</td><td>2012-01-31</td></tr></tbody></table>")
    assert "…" not in days.select("date=2012-01-01..2012-01-11")._repr_html_()
    assert "selection of 0 keys" in days.select("date=2012-01")[:0]._repr_html_()


def test_a_result_says_which_steps_ended_how(flow):
    """Names of the steps that are done and that failed, the first that failed, when it began and how long it took."""
    result = run(flow, partition="A")
    assert (result.completed_steps, result.failed_steps, result.error_step) == (["fetch"], ["check"], "check")
    assert result.started_at == result.context.started_at
    assert result.duration == sum((step.duration for step in result.steps), result.duration * 0)


def test_a_step_result_is_a_dict():
    """``to_dict`` is JSON-ready, and ``success`` says whether the step is done."""
    done = StepResult.ok({"rows": 3})
    assert json.loads(json.dumps(done.to_dict()))["output"] == {"rows": 3}
    assert (done.success, StepResult.fail("no").success, StepResult.skip("none").success) == (True, False, False)


def test_a_step_can_be_executed_by_itself():
    """A step called on a context returns its result, whatever its function returns; what it raises is raised."""
    step = Step(name="only", function=lambda ctx, config: {"n": config["n"]}, config={"n": 1})
    assert step.execute(WorkflowContext.new(), {"n": 2}).output == {"n": 2}
    with pytest.raises(KeyError):
        Step(name="only", function=lambda ctx, config: {"n": config["n"]}).execute(WorkflowContext.new())


def test_a_slip_in_a_step_s_name_is_heard():
    """An output of a step that there is not is the default, and a warning says which may have been meant."""
    flow = Workflow("slips")
    flow.step("fetch")(lambda ctx: {"rows": 3})
    flow.step("other", after=[])(lambda ctx: {"seen": ctx.get_output("fetch", "rows", 0)})
    flow.step("load", after=["fetch"])(lambda ctx: {"rows": ctx.get_output("fech", "rows", 7)})
    with pytest.warns(UserWarning, match="get_output") as heard:
        result = run(flow).raise_for_failure()
    assert result.context.get_output("load") == {"rows": 7}
    (warning,) = heard
    assert str(warning.message) == "get_output('fech'): the workflow has no such step; did you mean 'fetch'?"
    assert warning.filename == __file__
