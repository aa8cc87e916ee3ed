"""How the functions of steps are called."""

from __future__ import annotations

import functools

import pytest

from flowctx import StepResult, Workflow, WorkflowError, run
from flowctx.core.workflow.definition import Step

CONFIG = {"table": "trades"}


def returned(function, name="only"):
    """Return the output of a step with a configuration."""
    flow = Workflow("called")
    flow.step(name=name, config=CONFIG)(function)
    return run(flow).raise_for_failure().context.get_output(name)


def plain(ctx, config):
    return {"config": config}


def alone(ctx):
    return {"config": None}


def default(ctx, table="prices"):
    return {"config": None, "table": table}


def default_config(ctx, config=None):
    return {"config": config}


def any_name(ctx, settings):
    return {"config": settings}


def by_name(ctx, *, config):
    return {"config": config}


def third(ctx, table="prices", config=None):
    return {"config": config, "table": table}


def both(ctx, config, table="prices"):
    return {"config": config, "table": table}


def keywords(ctx, **others):
    return {"config": None, "others": others}


def anything(*args):
    return {"config": args[1]}


class Loader:
    """Steps may be methods and objects."""

    def method(self, ctx, table="prices"):
        return {"config": None, "table": table}

    def __call__(self, ctx, config):
        return {"config": config}


@pytest.mark.parametrize(
    ("function", "output"),
    [
        (plain, {"config": CONFIG}),
        (alone, {"config": None}),
        (default, {"config": None, "table": "prices"}),
        (default_config, {"config": CONFIG}),
        (any_name, {"config": CONFIG}),
        (by_name, {"config": CONFIG}),
        (third, {"config": CONFIG, "table": "prices"}),
        (both, {"config": CONFIG, "table": "prices"}),
        (keywords, {"config": None, "others": {}}),
        (anything, {"config": CONFIG}),
        (Loader().method, {"config": None, "table": "prices"}),
        (Loader(), {"config": CONFIG}),
        (functools.partial(both, table="trades"), {"config": CONFIG, "table": "trades"}),
        (functools.partial(third, table="trades"), {"config": CONFIG, "table": "trades"}),
    ],
)
def test_a_function_is_called_as_it_is_written(function, output):
    """The configuration goes where it belongs, and every other parameter keeps its default."""
    assert returned(function) == output


def not_filled(ctx, config, table):
    return None


def keyword_not_filled(ctx, *, table):
    return None


def no_context():
    return None


def only_config(config):
    return None


def swapped(config, ctx):
    return None


def second_context(settings, ctx):
    return None


def text(ctx, table: str):
    return None


def a_list(ctx, symbols: list[str]):
    return None


def wrong_config(ctx, config: int):
    return None


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (not_filled, "nothing fills table"),
        (keyword_not_filled, "nothing fills table"),
        (no_context, "takes no context"),
        (only_config, "the context comes first"),
        (swapped, "the context comes first"),
        (second_context, "the context comes first"),
        (text, "'table' would be the configuration, a dict"),
        (a_list, "'symbols' would be the configuration"),
        (wrong_config, "'config' would be the configuration"),
    ],
)
def test_what_nothing_can_fill_is_refused_when_declared(function, words):
    """A parameter that would be filled with what it is not, or not at all, is an error before any run."""
    with pytest.raises(WorkflowError, match=words):
        Workflow("refused").step(name="only")(function)


@pytest.mark.parametrize("condition", [lambda: True, lambda ctx, config: True, 3])
def test_a_condition_takes_the_context_alone(condition):
    """``when=`` that cannot be called with the context is refused when declared."""
    with pytest.raises(WorkflowError, match="when= of step 'only'"):
        Workflow("refused").step(name="only", when=condition)(alone)


def test_a_step_can_be_called_by_hand():
    """A step object of one's own is checked likewise."""
    assert Step(name="loaded", function=default).call(None, {})["table"] == "prices"
    with pytest.raises(WorkflowError, match="nothing fills"):
        Step(name="loaded", function=not_filled)
    assert StepResult.ok({}).status == "ok"
