"""What a caller may say of a run, read and written alike for every engine."""

from __future__ import annotations

from dataclasses import fields
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import ContextError, PartitionError, PartitionKey, PartitionScheme, Workflow, WorkflowError, run
from flowctx.core.workflow.run_request import NO_REQUEST, RESERVED_NAMES, RunRequest, check_param_names
from flowctx.testing import make_context

TEXTS = st.none() | st.text(min_size=1, max_size=20)
KEYS = st.none() | st.builds(PartitionKey, tier=st.text("abc|=%", min_size=1, max_size=9))


@st.composite
def requests(draw):
    """Draw any request."""
    names = ("batch_id", "trace_id", "capture_id", "idempotency_key", "resume_from")
    values = {name: draw(TEXTS) for name in names}
    if values["resume_from"] is not None:
        values |= {"from_step": draw(TEXTS), "accept_changes": draw(st.booleans()), "take_over": draw(st.booleans())}
    return RunRequest(
        **values,
        partition=draw(KEYS),
        as_of_date=draw(st.none() | st.dates()),
        on_captured=draw(st.sampled_from(["recapture", "skip"])),
    )


@given(requests())
def test_a_request_survives_conf_and_tags(request):
    """What is written as conf or as tags is read as the same request."""
    tags = {name.removeprefix("flowctx/"): value for name, value in request.to_tags().items()}
    assert RunRequest.parse(request.to_conf().get) == request
    assert RunRequest.parse(tags.get).partition_key(None) == request.partition
    assert RunRequest.parse({**tags, "partition": request.partition}.get) == request


def test_nothing_said_is_an_ordinary_run():
    """What is not said has its default, and is not written."""
    assert RunRequest.parse({}.get) == NO_REQUEST
    assert (NO_REQUEST.to_conf(), NO_REQUEST.to_tags()) == ({}, {})


def test_reserved_names_are_the_fields():
    """The names that no parameter may have are those of its fields."""
    assert tuple(field.name for field in fields(RunRequest)) == RESERVED_NAMES
    assert len(RESERVED_NAMES) == 12


@pytest.mark.parametrize("value", [True, "true"])
def test_a_request_may_be_text(value):
    """Tags are text, and conf is JSON."""
    found = RunRequest.parse({"resume_from": "r", "from_step": "s", "accept_changes": value}.get)
    assert found == RunRequest(resume_from="r", from_step="s", accept_changes=True)


def test_text_is_read_by_the_scheme():
    """A partition as text has the order of the scheme's dimensions."""
    scheme = PartitionScheme(tier=["T1"], venue=["NYSE"])
    assert RunRequest(partition="T1|NYSE").partition_key(scheme) == PartitionKey(venue="NYSE", tier="T1")


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"resume_from": 3}, r"conf\['resume_from'\] is 3; it must be text"),
        ({"batch_id": ""}, "leave it out if there is none"),
        ({"from_step": "load"}, "from_step='load' is for a run that continues another; add resume_from"),
        ({"take_over": True}, "take_over=True is for a run that continues another; add resume_from"),
        ({"accept_changes": "true"}, "accept_changes=True is for a run that continues another; add resume_from"),
        ({"on_captured": "maybe"}, "is 'maybe'; it must be 'recapture' or 'skip'"),
        ({"on_captured": ["skip"]}, "it must be 'recapture' or 'skip'"),
        ({"accept_changes": "yes"}, "it must be 'true' or 'false'"),
        ({"as_of_date": "26/10/2012"}, "write it as YYYY-MM-DD"),
        ({"as_of_date": 20121026}, "write it as YYYY-MM-DD"),
        ({"partition": 3}, "it must be an object of dimensions"),
    ],
)
def test_what_cannot_be_is_refused(conf, words):
    """A wrong value is named, with what it can be."""
    with pytest.raises(ContextError, match=words):
        RunRequest.parse(conf.get, "conf")


@pytest.mark.parametrize("name", RESERVED_NAMES)
def test_an_empty_value_is_refused(name):
    """What a variable of the shell that is not set leaves behind is no value; what a form leaves out is none said."""
    with pytest.raises(ContextError, match=rf"conf\['{name}'\] is ''; "):
        RunRequest.parse({name: ""}.get, "conf")
    assert RunRequest.parse({name: None}.get, "conf") == NO_REQUEST


@pytest.mark.parametrize("name", RESERVED_NAMES)
def test_no_parameter_has_a_reserved_name(name):
    """A parameter whose name says who a run is is refused, whoever passes it and where it is declared."""
    with pytest.raises(ContextError, match=f"params has {name}, which say who the run is"):
        check_param_names([name, "limit"])
    with pytest.raises(WorkflowError, match=name):
        Workflow("flow", params={name: "x"})
    flow = Workflow("flow")
    flow.step("only")(lambda ctx: None)
    with pytest.raises(ContextError, match=name):
        run(flow, params={name: "x"})


def test_a_date_may_be_text_wherever_it_is_given():
    """Run and make_context take a date and its ISO text alike, and refuse another writing in one sentence."""
    flow = Workflow("dated")
    flow.step("only")(lambda ctx: {"day": ctx.as_of_date})
    assert run(flow, as_of_date="2026-01-09").context.as_of_date == date(2026, 1, 9)
    made = make_context(partition="date=2026-01-09,fund=GROWTH", as_of_date="2026-01-09")
    assert (made.partition["fund"], made.as_of_date) == ("GROWTH", date(2026, 1, 9))
    with pytest.raises(ContextError, match="as_of_date is '09/01/2026'; write it as YYYY-MM-DD"):
        run(flow, as_of_date="09/01/2026")
    with pytest.raises(PartitionError, match="write a key as 'date="):
        make_context(partition="2026-01-09|GROWTH")
