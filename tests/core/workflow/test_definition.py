"""Workflow, Step and RetryPolicy."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flowctx import (
    ContextError,
    Daily,
    PartitionError,
    PartitionKey,
    PartitionScheme,
    RetryPolicy,
    Step,
    UnknownPartition,
    Workflow,
    WorkflowContext,
    WorkflowError,
)


def chain(*names):
    flow = Workflow("flow")
    for name in names:
        flow.step(name)(lambda ctx, config: None)
    return flow


def test_a_step_follows_the_one_before_it():
    """Without after=, steps are a chain."""
    assert {name: step.after for name, step in chain("a", "b", "c").steps.items()} == {
        "a": (),
        "b": ("a",),
        "c": ("b",),
    }


def test_the_decorator_returns_the_function():
    """A step can still be called and tested as the plain function it is."""
    flow = Workflow("flow")

    @flow.step()
    def double(ctx, config):
        return {"n": ctx.params["n"] * 2}

    assert double(WorkflowContext.new(params={"n": 2}), {}) == {"n": 4}
    assert flow["double"].function is double


def test_branches_and_joins():
    """after=[] starts a branch; names and functions may both be given."""
    flow = chain("a", "b")

    @flow.step(after=[])
    def other(ctx):
        return None

    flow.step("join", after=["b", other, "b"])(lambda ctx: None)
    assert (flow["other"].after, flow["join"].after) == ((), ("b", "other"))
    assert flow.ancestors("join") == ("a", "b", "other")


def test_a_step_may_take_the_context_alone():
    """One parameter is enough when there is no config to read."""
    flow = Workflow("flow")
    flow.step("one")(lambda ctx: {"params": ctx.params})
    flow.step("two", config={"x": 1})(lambda ctx, config: {"x": config["x"]})
    ctx = WorkflowContext.new(params={"p": 1})
    assert flow["one"].call(ctx, {}) == {"params": {"p": 1}}
    assert flow["two"].call(ctx, flow["two"].configured({"x": 2})) == {"x": 2}


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda f: f.step("fetch")(print), "has a step 'fetch' already; pass another name="),
        (lambda f: f.step("x", after=["fetsh"])(lambda ctx: None), "did you mean 'fetch'"),
        (lambda f: f.step("x", after=["later"])(lambda ctx: None), "declare it above; there"),
        (lambda f: f.step("x", after=["x"])(lambda ctx: None), "not declared above it"),
        (lambda f: f.step("x", after=[print])(lambda ctx: None), "not a step declared above"),
        (lambda f: f.step("has-dash")(lambda ctx: None), "use up to 100 letters, digits and '_'"),
        (lambda f: f.step("a.b")(lambda ctx: None), "cannot name a step"),
        (lambda f: f.step("x" * 101)(lambda ctx: None), "cannot name a step"),
        (
            lambda f: f.step()(lambda ctx: None),
            r"a lambda cannot name a step; pass name=, as in @workflow\.step\(name='fetch'\)",
        ),
        (lambda f: f.step("context")(lambda ctx: None), "Dagster reserves it; use another, such as 'context_step'"),
        (
            lambda f: f.step("x")(lambda: None),
            r"\(\), which takes no context; write it as \(ctx, config\)",
        ),
        (lambda f: f.step("x")(lambda a, b, c: None), "write it as"),
        (lambda f: f.step("x")("text"), "must be a function"),
        (lambda f: f.step("x", config={"a": {1}})(lambda ctx: None), "config of step 'x' cannot be"),
        (lambda f: f.step("x", config=[1])(lambda ctx: None), "must be a dict"),
        (lambda f: f.step("x", retries=-1)(lambda ctx: None), "retries=-1 must be an int from 0"),
        (lambda f: f.step("x", when=True)(lambda ctx: None), "must be a function of the context"),
        (lambda f: f.step(lambda ctx: None), "with parentheses"),
    ],
)
def test_wrong_steps_are_refused_where_they_are_declared(declare, message):
    """Nothing is declared by a declaration that fails."""
    flow = chain("fetch")
    with pytest.raises(WorkflowError, match=message):
        declare(flow)
    assert list(flow.steps) == ["fetch"]


def test_a_function_that_is_several_steps_is_named_by_its_step():
    """Neither ``after=`` nor an input takes one of them; by name each can be said."""
    flow = Workflow("flow")

    def load(ctx):
        return {}

    flow.step("fx", after=[])(load)
    read = flow.output(load)
    assert read.step_name == "fx"
    flow.step("eq", after=[])(load)
    words = "function 'load' is several steps of workflow 'flow': fx, eq; say which by name"
    with pytest.raises(WorkflowError, match=words):
        flow.step("join", after=[load])(lambda ctx: {})
    with pytest.raises(WorkflowError, match=words):
        _ = read.step_name
    flow.step("join", after=["fx", "eq"])(lambda ctx: {})
    assert flow["join"].after == ("fx", "eq")


def test_coroutines_and_generators_are_refused():
    """A step is a plain function that returns."""

    async def coroutine(ctx):
        return None

    def generator(ctx):
        yield

    for function in (coroutine, generator):
        with pytest.raises(WorkflowError, match="plain function that returns"):
            Step(name="x", function=function)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a/b", None, "class"])
def test_wrong_workflow_names_are_refused(name):
    """A name must suit both engines."""
    with pytest.raises(WorkflowError, match="cannot name a workflow"):
        Workflow(name)


def test_an_unknown_step_lists_those_there_are():
    """The error names the workflow and its steps."""
    with pytest.raises(WorkflowError, match="'flow' has no step 'x'; it has a, b"):
        chain("a", "b")["x"]


def test_params_are_defaults():
    """A run's parameters go on top of the workflow's."""
    flow = Workflow("flow", params={"a": 1, "b": 1}, extra_params=True)
    assert flow.params_with({"b": 2, "c": 3}) == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(WorkflowError, match="params of workflow 'bad'"):
        Workflow("bad", params={"a": object()})


SCHEME = PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-09"), tier=["A", "B"])
KEY = PartitionKey(date="2026-01-05", tier="A")


@pytest.mark.parametrize("given", [KEY, {"date": "2026-01-05", "tier": "A"}, "tier=A,date=2026-01-05", "2026-01-05|A"])
def test_a_partition_may_be_given_in_several_forms(given):
    """A key, a dict, named and positional text mean the same."""
    assert Workflow("flow", partitions=SCHEME).partition_key(given) == KEY


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (None, ContextError, "is partitioned, and no partition was given; name one in the form date=...,tier=..."),
        ({"date": "2026-01-05", "tier": "C"}, UnknownPartition, "C"),
        ({"date": "2026-02-05", "tier": "A"}, UnknownPartition, "2026-02-05"),
        ({"date": "2026-01-05"}, PartitionError, "tier"),
        (5, PartitionError, "must be a PartitionKey, a dict"),
    ],
)
def test_a_wrong_partition_is_refused(given, error, message):
    """The message says what the workflow has."""
    with pytest.raises(error, match=message):
        Workflow("flow", partitions=SCHEME).partition_key(given)


@pytest.mark.parametrize("partitions", [Daily(start="2026-01-05"), {"date": Daily(start="2026-01-05")}, ["A", "B"]])
def test_partitions_are_a_scheme(partitions):
    """Its dimensions have names."""
    with pytest.raises(WorkflowError, match="name its dimensions, as in PartitionScheme"):
        Workflow("flow", partitions=partitions)


def test_an_unpartitioned_workflow_takes_any_key_or_none():
    """Its runs may still say which partition they are about."""
    flow = Workflow("flow")
    assert flow.partition_key(None) is None
    assert flow.partition_key("date=2026-01-05|tier=A") == KEY


def test_waits_grow_up_to_the_longest():
    """Each wait is the backoff times the one before, and none is longer than max_delay."""
    policy = RetryPolicy(retries=9, delay=timedelta(seconds=10), max_delay=timedelta(seconds=35))
    assert [policy.wait(n).total_seconds() for n in (1, 2, 3, 9, 10**6)] == [10, 20, 35, 35, 35]
    assert replace(policy, backoff=3.0).wait(10**6) == timedelta(seconds=35)
    assert RetryPolicy(retries=1).wait(1) == timedelta(0)


def test_jitter_only_adds():
    """A wait with jitter is between the wait and its share more, and no longer than max_delay either."""
    policy = RetryPolicy(delay=timedelta(seconds=10), jitter=0.5)
    assert all(10 <= policy.wait(1).total_seconds() <= 15 for _ in range(50))
    longest = RetryPolicy(delay=timedelta(seconds=10), max_delay=timedelta(seconds=10), jitter=1.0)
    assert {longest.wait(n).total_seconds() for n in range(1, 50)} == {10}


@pytest.mark.parametrize(
    "fields",
    [{"retries": True}, {"retries": 1.5}, {"delay": 5}, {"delay": timedelta(-1)}, {"backoff": 0.5}, {"jitter": 2}],
)
def test_wrong_policies_are_refused(fields):
    """A policy of the wrong kind is an error where it is made."""
    with pytest.raises(WorkflowError):
        RetryPolicy(**fields)
