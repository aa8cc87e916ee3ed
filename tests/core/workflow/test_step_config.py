"""The configuration of steps that the caller of a run sets."""

from datetime import date

import pytest

from flowctx import ContextError, StepResult, Workflow, resume, run
from flowctx.core.workflow.run_request import RunRequest
from flowctx.core.workflow.step_config import step_config_of
from flowctx.ledger.memory import MemoryLedger

flow = Workflow("configured")


@flow.step(config={"limit": 3, "since": date(2012, 1, 3)})
def gate(ctx, config):
    """Return what it is configured with, or fail for a limit of 0."""
    return StepResult.fail("no limit") if not config["limit"] else dict(config)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"gat": {"limit": 4}}, "names step 'gat', which workflow 'configured' does not have; did you mean 'gate'?"),
        ({"gate": {"limmit": 4}}, r"step_config\['gate'\] sets 'limmit'.*did you mean 'limit'?"),
        ({"gate": {"limit": "abc"}}, r"step_config\['gate'\]\['limit'\] is 'abc'; it must be a whole number"),
        ({"gate": {"api_token": "hunter2"}}, r"step_config\['gate'\] sets a secret"),
        ({"gate": 4}, "it must be an object of steps"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(wanted, words):
    """A slip, another type and a secret are one sentence each."""
    with pytest.raises(ContextError, match=words):
        run(flow, step_config=wanted)


def test_values_are_read_as_the_types_of_the_step():
    """Text is read as the type of the step's own value; a name of no likeness is taken."""
    wanted = {"gate": {"limit": "4", "since": "2012-10-26", "other": True}}
    assert step_config_of(flow, wanted)["step_config"]["gate"] == {
        "limit": 4,
        "since": date(2012, 10, 26),
        "other": True,
    }
    assert (step_config_of(flow, None), step_config_of(None, {"any": {"x": "1"}})) == (
        {},
        {"step_config": {"any": {"x": "1"}}},
    )


def test_it_travels_in_conf_and_in_tags():
    """JSON in ``conf``, its text in a tag; both come back as they were."""
    request = RunRequest(step_config={"gate": {"since": date(2012, 10, 26)}})
    assert request.to_conf() == {"step_config": {"gate": {"since": {"$date": "2012-10-26"}}}}
    tags = request.to_tags()
    assert RunRequest.parse(request.to_conf().get) == request
    assert RunRequest.parse(lambda name: tags.get(f"flowctx/{name}")) == request


def test_a_run_that_goes_on_keeps_it():
    """A resumed run has the configuration that it was started with, and it is recorded with the step."""
    ledger = MemoryLedger()
    first = run(flow, step_config={"gate": {"limit": 0}}, ledger=ledger)
    again = resume(first.run_id, flow, ledger=ledger)
    (record,) = ledger.steps(ledger.get_run(first.run_id).key)
    assert (first.status, again.status, record.config["limit"]) == ("failed", "failed", 0)
