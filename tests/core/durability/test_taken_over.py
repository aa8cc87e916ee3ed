"""What a run that continues another is about: the same, as far as there is one answer."""

from __future__ import annotations

from datetime import date

import pytest

from flowctx import Daily, PartitionScheme, StepResult, UnknownRun, Workflow, run
from flowctx.core.durability.taken_over import taken_over
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger import open_ledger

SCHEME = PartitionScheme(date=Daily(start="2026-01-01"), fund=["G", "I"])


@pytest.fixture
def ledger():
    """A ledger of this test's own."""
    return open_ledger("memory://")


def failing(name, **how):
    """Return a workflow whose only step fails."""
    flow = Workflow(name, params={"limit": 1, "other": 1}, **how)
    flow.step("load")(lambda ctx: StepResult.fail("down", category="INTERNAL"))
    return flow


def taken(ledger, flow, partition=None, **how):
    """Return what run ``new`` takes over of run ``old``; it is given another limit."""
    request = RunRequest(resume_from="old", **how)
    return taken_over(ledger, flow, "new", partition, request, params={"limit": 3}, new_params=["limit", "fund"])


def test_it_is_about_the_same_with_what_is_given_anew(ledger):
    """Date, batch, capture and parameters are those of the run that goes on; the subject of another name is its own."""
    flow = failing("same")
    old = run(flow, params={"other": 2}, as_of_date="2026-01-09", batch_id="B", run_id="old", ledger=ledger).context
    found = taken(ledger, flow)
    assert found.context.params == {"limit": 3, "other": 2}
    asked = found.request(RunRequest(resume_from="old"), of_workflow=True)
    assert (asked.as_of_date, asked.batch_id, asked.capture_id) == (date(2026, 1, 9), "B", old.capture_id)
    assert asked.idempotency_key == old.idempotency_key
    assert found.request(RunRequest(resume_from="old"), of_workflow=False).idempotency_key is None


def test_that_there_is_no_business_date_is_taken_over(ledger):
    """The run that goes on has none either, whatever its caller or its engine says: its steps have none."""
    flow = failing("undated")
    run(flow, run_id="old", ledger=ledger)
    found, request = taken(ledger, flow), RunRequest(resume_from="old", as_of_date=date(2026, 1, 9))
    assert found.request(request, of_workflow=True).as_of_date is None
    assert found.metadata == {"as_of_source": "none"}


def test_parameters_are_as_the_workflow_declares_them_where_changes_are_accepted(ledger):
    """One that is gone is left out, as the steps have it."""
    run(failing("changed"), params={"other": 2}, run_id="old", ledger=ledger)
    flow = Workflow("changed", params={"limit": 1, "added": 5})
    flow.step("load")(lambda ctx: None)
    assert taken(ledger, flow, accept_changes=True).context.params == {"limit": 3, "added": 5}


def test_of_several_instances_what_they_share_is_taken_over(ledger):
    """Their batch is, their date if it is one, and the capture of none of them."""
    flow = failing("shared", partitions=SCHEME)
    for fund in ("G", "I"):
        run(flow, partition=f"2026-01-08|{fund}", batch_id="B", run_id="old", ledger=ledger)
    day = taken(ledger, flow, PartitionKey(date="2026-01-08")).request(RunRequest(resume_from="old"), of_workflow=True)
    assert (day.batch_id, day.as_of_date, day.capture_id) == ("B", date(2026, 1, 8), None)
    run(flow, partition="2026-01-09|G", batch_id="B", run_id="old", ledger=ledger)
    every = taken(ledger, flow).request(RunRequest(resume_from="old"), of_workflow=True)
    assert (every.batch_id, every.as_of_date) == ("B", None)


def test_an_unknown_run_is_refused(ledger):
    """There is nothing to be about."""
    with pytest.raises(UnknownRun, match="remembers no run 'old'"):
        taken(ledger, failing("unknown"))
