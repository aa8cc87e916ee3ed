"""What has changed about the complete steps of a run, and what is said of it to people at an engine."""

from dataclasses import replace

import pytest

from core.durability.test_resumption import ABC, chain, changed, first, record, run_of, second, third
from flowctx import WorkflowChanged
from flowctx.core.durability.changes import changes_since, refuse_changes_on_engine
from flowctx.core.durability.resumption import order_of

LOOKED_THROUGH = {"a": (), "b": ("a",), "c": ("a", "b")}


def texts(flow, *records, run=None, order=None):
    return [change.text for change in changes_since(flow, run or run_of(), records, order)]


def test_what_is_not_complete_may_change():
    """A step that failed, and what has not run, is not compared."""
    flow = chain(a=first, b=changed, d=third)
    assert texts(flow, record("a"), record("b", "failed")) == []


def test_a_dag_of_one_s_own_says_what_a_step_follows():
    """There a step may have passed over one before it that did not run; the workflow's own order goes before."""
    flow = chain(a=first, b=second, c=third)
    after_a = record("c", flow=chain(a=first, c=third))
    assert texts(flow, record("a"), after_a, order=LOOKED_THROUGH) == []
    assert texts(flow, record("a"), record("c"), order=LOOKED_THROUGH) == []
    assert texts(flow, record("a"), record("b"), after_a, order=LOOKED_THROUGH) == [
        "step 'c' followed a when it ran and follows b now"
    ]


@pytest.mark.parametrize("order", [None, order_of(ABC)])
def test_a_step_before_it_that_has_not_run_is_looked_through(order):
    """What somebody marked as done has no record: what follows it was made of what lies before, and has not moved."""
    after_a = record("c", flow=chain(a=first, c=third))
    known = run_of()
    known = replace(known, context=replace(known.context, metadata={"engine": {"name": "airflow"}}))
    assert texts(ABC, record("a"), after_a, run=known, order=order) == []
    assert texts(ABC, record("a"), record("b", "failed"), after_a, run=known, order=order) == [
        "step 'c' followed a when it ran and follows b now"
    ]


def test_a_step_that_is_put_before_a_complete_one_is_a_change():
    """A run that began without it did not pass it over."""
    flow = chain(a=first, x=changed, b=second, c=third)
    assert texts(flow, record("a"), record("b"), order=order_of(flow)) == [
        "step 'b' followed a when it ran and follows x now"
    ]


def test_a_step_of_the_dag_that_is_none_of_the_workflow_s_is_looked_through():
    """What a step of the workflow followed in the DAG alone is nothing that the workflow knows."""
    beside = record("c", flow=chain(a=first, beside=changed, c=third))
    assert texts(ABC, record("a"), record("b"), beside, order={**order_of(ABC)}) == []


@pytest.mark.parametrize(
    ("flow", "again", "what"),
    [
        (chain(a=changed, b=second, c=third), (), "clear a and all that follows, or the whole run; or let another run"),
        (chain(a=changed, b=second, c=third), (), "--on local, with --from-step a to run it and what follows it again"),
        (chain(z=first, b=second, c=third), ("z", "b"), "clear the whole run; or let another run go on with it"),
        (
            chain(b=second, c=third),
            ("b",),
            "--on local, with --accept-changes to keep what the complete steps recorded",
        ),
    ],
)
def test_the_error_says_what_to_do_on_an_engine(flow, again, what):
    """A step that is changed may run again; where one is gone, all of the run has to."""
    changes = list(changes_since(flow, run_of(), [record("a")]))
    with pytest.raises(WorkflowChanged) as told:
        refuse_changes_on_engine(flow, run_of(), changes, again, "clear")
    assert what in str(told.value)


def test_what_runs_again_may_change():
    """The engine runs it by the new code."""
    flow = chain(a=changed, b=second, c=third)
    refuse_changes_on_engine(flow, run_of(), list(changes_since(flow, run_of(), [record("a")])), ["a"], "clear")
