"""Inputs are declared, and what cannot be one is refused when its workflow is first used."""

import pytest

from flowctx import Daily, Input, Monthly, PartitionKey, PartitionScheme, Workflow, WorkflowError
from flowctx.core.workflow.definition import check_workflow
from flowctx.core.workflow.inputs import inputs_of


def daily(name, **dimensions):
    """A workflow of days, with one step."""
    flow = Workflow(name, partitions=PartitionScheme(date=Daily(start="2026-01-05"), **dimensions))
    flow.step(name="value")(lambda ctx: {"nav": 1})
    return flow


def reading(flow, item, function=lambda ctx, *, other: None, step="total"):
    """Declare a step of a workflow that reads an input."""
    flow.step(name=step, after=[], inputs={"other": item})(function)
    return flow


def test_an_input_may_be_of_a_step_that_is_declared_later():
    """A step names itself, or one below it, by name or as its function."""
    flow = Workflow("nav", partitions=PartitionScheme(date=Daily(start="2026-01-05")))

    @flow.step(inputs={"yesterday": flow.output("second").previous()})
    def first(ctx, *, yesterday):
        return yesterday

    @flow.step(inputs={"window": flow.output(first).previous(5)})
    def second(ctx, *, window):
        return None

    check_workflow(flow)
    found = [(step, name, item.step_name) for step, name, item in inputs_of(flow)]
    assert found == [("first", "yesterday", "second"), ("second", "window", "first")]


def test_a_step_stays_a_function_that_a_test_calls():
    """The keyword is passed by whoever calls it."""
    flow = daily("nav")
    reading(flow, flow.output("value").previous(), lambda ctx, *, other: {"n": other["nav"] + 1})
    assert flow["total"].function(None, other={"nav": 1}) == {"n": 2}
    assert flow["total"].execute(None, other={"nav": 1}).output == {"n": 2}


def test_a_step_may_have_configuration_beside_inputs():
    """The configuration stays the second argument, or goes by its name."""
    flow = daily("nav")
    item = flow.output("value").previous()
    reading(flow, item, lambda ctx, config, other: {"n": config["k"] + other}, "second")
    reading(flow, item, lambda ctx, other, *, config: {"n": config["k"] + other}, "by_name")
    reading(flow, item, lambda ctx, other: {"n": other}, "alone")
    assert flow["second"].call(None, {"k": 1}, {"other": 2}) == {"n": 3}
    assert flow["by_name"].call(None, {"k": 1}, {"other": 2}) == {"n": 3}
    assert flow["alone"].call(None, {}, {"other": 2}) == {"n": 2}


def test_whether_one_output_arrives_is_a_matter_of_construction():
    """One partition arrives as its output; what may be several does not, even where there happens to be one."""
    nav, desk = daily("nav", fund=["A"]), daily("desk")
    rates = Workflow("rates")
    rates.step(name="value")(lambda ctx: None)
    month = Workflow("month", partitions=PartitionScheme(month=Monthly(start="2026-01-01")))
    single = {
        "own date": nav.output("value").is_single(nav.partitions),
        "the date before": nav.output("value").previous().is_single(nav.partitions),
        "one date before, as several": nav.output("value").previous(1).is_single(nav.partitions),
        "no partitions": rates.output("value").is_single(nav.partitions),
        "every fund": nav.output("value").is_single(desk.partitions),
        "one fund": nav.output("value").where(fund="A").is_single(desk.partitions),
        "every day of a month": desk.output("value").is_single(month.partitions),
    }
    assert [name for name, one in single.items() if one] == ["own date", "the date before", "no partitions", "one fund"]
    key = desk.partitions.key(date="2026-01-05")
    assert list(nav.output("value").partitions(desk.partitions, key)) == [PartitionKey(date="2026-01-05", fund="A")]
    assert list(rates.output("value").partitions(desk.partitions, key)) == [None]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda nav, desk: reading(desk, nav.output("valu")), "has no step 'valu'; did you mean 'value'"),
        (lambda nav, desk: reading(desk, nav.output(print)), "has no step 'print'; it has value"),
        (lambda nav, desk: reading(desk, nav.output("value").where(fnd="A")), "did you mean 'fund'"),
        (lambda nav, desk: reading(desk, desk.output("total")), "is itself of the same date; .*after='total'"),
        (lambda nav, desk: reading(desk, desk.output("value")), r"is step 'value' of the same date; .*\.previous\(\)"),
        (
            lambda nav, desk: reading(Workflow("plain"), nav.output("value")),
            "cannot be read from workflow 'nav': its date has no end",
        ),
        (
            lambda nav, desk: reading(
                Workflow("tiers", partitions=PartitionScheme(tier=["T1"])),
                daily_less("funds").output("value"),
            ),
            "have none in common",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_when_the_workflow_is_first_used(make, words):
    """One sentence names the input, the step and the workflow, and says what to do."""
    nav, desk = daily("nav", fund=["A", "B"]), daily("desk")
    with pytest.raises(WorkflowError, match=words):
        check_workflow(make(nav, desk))


def daily_less(name):
    """A workflow without dates."""
    flow = Workflow(name, partitions=PartitionScheme(fund=["A", "B"]))
    flow.step(name="value")(lambda ctx: None)
    return flow


def test_a_cycle_across_workflows_is_refused():
    """Three workflows that read each other's same date wait for ever; the message shows the way round."""
    a, b, c = daily("a"), daily("b"), daily("c")
    reading(a, b.output("value"))
    reading(b, c.output("value"))
    reading(c, a.output("value"))
    with pytest.raises(WorkflowError, match="in a circle: b reads c reads a reads b"):
        check_workflow(b)


def test_a_cycle_that_goes_back_in_time_is_none():
    """Yesterday's total may go into today's value."""
    nav, desk = daily("nav", fund=["A"]), daily("desk")
    reading(nav, desk.output("value").previous())
    reading(desk, nav.output("value"))
    assert check_workflow(desk) is desk


def test_a_cycle_through_a_workflow_without_dates_is_refused():
    """It has no yesterday: what it reads of all dates waits for it."""
    nav = Workflow("nav", partitions=PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-09"), fund=["A"]))
    nav.step(name="value")(lambda ctx: None)
    table = daily_less("table")
    reading(nav, table.output("value"))
    reading(table, nav.output("value"))
    with pytest.raises(WorkflowError, match="in a circle"):
        check_workflow(nav)


def test_two_workflows_of_one_name_are_refused():
    """The ledger could not tell them apart."""
    desk = daily("desk")
    reading(desk, daily("desk").output("value").previous())
    with pytest.raises(WorkflowError, match="two workflows .* are called 'desk'"):
        check_workflow(desk)


@pytest.mark.parametrize(
    ("inputs", "function", "words"),
    [
        (["other"], lambda ctx, *, other: None, "must be a dict"),
        ({"other": "nav"}, lambda ctx, *, other: None, r"pass what workflow\.output\('step'\) returns"),
        ({"config": Input}, lambda ctx, *, config: None, "cannot be that of an input"),
        ({"a-b": Input}, lambda ctx: None, "cannot be that of an input"),
        ({"other": None}, lambda ctx: None, "has no parameter of that name; write it as"),
        ({"other": None}, lambda other: None, "does not take by name after the context"),
        ({"other": None}, lambda ctx, other, /: None, "does not take by name after the context"),
    ],
)
def test_names_that_cannot_be_are_refused_when_declared(inputs, function, words):
    """An input is a keyword argument that the function has, and neither the context nor the configuration."""
    flow = daily("nav")
    if isinstance(inputs, dict) and None in inputs.values():
        inputs = {"other": flow.output("value").previous()}
    with pytest.raises(WorkflowError, match=words):
        flow.step(name="total", inputs=inputs)(function)


@pytest.mark.parametrize("declared", [None, "other"])
def test_an_input_as_a_default_is_refused(declared):
    """The function would get the declaration, and not what it reads."""
    flow = daily("nav")
    yesterday = flow.output("value").previous()
    inputs = {declared: yesterday} if declared else None
    with pytest.raises(WorkflowError, match=r"of 'navs', and would get that .* as \(ctx, \*, navs\)"):
        flow.step(name="total", inputs=inputs)(lambda ctx, navs=yesterday, *, other=None: None)


@pytest.mark.parametrize("n", [0, -1, True, 2.5, "20"])
def test_a_look_back_is_a_number_of_dates(n):
    """Anything else is refused where it is written."""
    with pytest.raises(WorkflowError, match="how many dates to go back"):
        daily("nav").output("value").previous(n)


def test_where_needs_values():
    """A dimension without values would read nothing."""
    with pytest.raises(WorkflowError, match="has no values"):
        daily("nav", fund=["A"]).output("value").where(fund=[])


def test_workflows_without_partitions_have_no_date_before():
    """There is nothing to go back in, nor to choose from."""
    rates, desk = Workflow("rates"), daily("desk")
    rates.step(name="value")(lambda ctx: None)
    with pytest.raises(WorkflowError, match=r"it has no partitions; leave out \.previous\(\)"):
        check_workflow(reading(desk, rates.output("value").previous()))


def test_an_input_shows_what_it_reads():
    """Its representation is what people see in errors."""
    nav = daily("nav", fund=["A", "B"])
    item = nav.output("value").previous(20).where(fund=["A", "B"]).optional()
    assert repr(item) == "<Input: value of nav, the 20 dates before, fund=A|B, optional>"
