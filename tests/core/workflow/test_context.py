"""WorkflowContext: what it refuses, stores and shares."""

import copy
import dataclasses
import json
import pickle
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import (
    CheckpointState,
    ContextError,
    PartitionKey,
    PayloadError,
    PayloadVersionError,
    PlainDataError,
    WorkflowContext,
)
from strategies import AWARE, plain_dicts

IDS = st.text(min_size=1, max_size=8)
CHECKPOINTS = st.builds(
    CheckpointState,
    completed=st.lists(st.text(max_size=4), max_size=3).map(tuple),
    failed=st.none() | st.text(max_size=4),
    error=st.none() | st.text(max_size=4),
    attempt=st.integers(1, 9),
    resumed_from=st.none() | IDS,
)
PARTITIONS = st.builds(PartitionKey, date=st.dates(), tier=st.sampled_from(["OTC", "a|b", "../x"]))
CONTEXTS = st.builds(
    WorkflowContext,
    run_id=IDS,
    trace_id=IDS,
    batch_id=st.none() | IDS,
    started_at=AWARE.filter(lambda t: 2 < t.year < 9998),
    params=plain_dicts(),
    step_outputs=st.dictionaries(st.text("abc", min_size=1, max_size=3), plain_dicts(), max_size=3),
    metadata=plain_dicts(),
    checkpoint=st.none() | CHECKPOINTS,
    partition=st.none() | PARTITIONS,
    as_of_date=st.none() | st.dates(),
    capture_id=st.none() | IDS,
    idempotency_key=st.none() | IDS,
)


@given(CONTEXTS)
def test_storing_loses_nothing(ctx):
    """from_dict(json.loads(json.dumps(to_dict()))) is the same context, whatever is in it."""
    assert WorkflowContext.from_dict(json.loads(json.dumps(ctx.to_dict(), allow_nan=False))) == ctx


@given(CONTEXTS)
def test_pickle_and_copy(ctx):
    """A pickled context is equal; a copy of an immutable thing is the thing."""
    assert pickle.loads(pickle.dumps(ctx)) == ctx
    assert copy.deepcopy(ctx) is ctx
    assert copy.copy(ctx) is ctx


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(WorkflowContext)])
def test_no_field_can_be_set(field):
    """Setting any field raises."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(WorkflowContext(), field, None)


@pytest.mark.parametrize("field", ["params", "step_outputs", "metadata"])
def test_no_field_can_be_changed_inside(field):
    """Data fields are read-only at every depth, and say so."""
    ctx = WorkflowContext(**{field: {"a": {"b": [1]}}})
    for change in (
        lambda data: data.update(x=1),
        lambda data: data["a"].pop("b"),
        lambda data: data["a"]["b"].append(2),
    ):
        with pytest.raises(TypeError, match="copy it first"):
            change(getattr(ctx, field))


def test_what_the_caller_passed_is_not_tied_to_the_context():
    """Changing the caller's own dict afterwards changes nothing."""
    params = {"a": [1]}
    ctx = WorkflowContext.new(params=params)
    params["a"].append(2)
    assert ctx.params == {"a": [1]}


def test_versions_share_what_did_not_change():
    """Deriving a context copies no output and no nested parameter."""
    ctx = WorkflowContext.new(params={"big": [1] * 100}).with_step_output("a", {"rows": [1]})
    derived = ctx.with_step_output("b", {}).with_updates({"x": 1})
    assert derived.step_outputs["a"] is ctx.step_outputs["a"]
    assert derived.params["big"] is ctx.params["big"]
    assert derived.metadata is ctx.metadata


def test_started_at_is_kept_in_utc():
    """An aware time in another zone is the same moment in UTC."""
    zone = timezone(timedelta(hours=9))
    ctx = WorkflowContext(started_at=datetime(2026, 1, 10, 9, tzinfo=zone))
    assert ctx.started_at.isoformat() == "2026-01-10T00:00:00+00:00"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"started_at": datetime(2026, 1, 1)}, r"has no time zone; use datetime.now\(timezone.utc\)"),  # noqa: DTZ001
        ({"started_at": "now"}, "must be a datetime"),
        ({"run_id": ""}, "run_id='' must be text and not empty"),
        ({"trace_id": 5}, "trace_id=5 must be text"),
        ({"batch_id": 7}, "batch_id=7 must be text and not empty, or None"),
        ({"as_of_date": "2026-01-10"}, "use date.fromisoformat"),
        ({"as_of_date": datetime(2026, 1, 10, tzinfo=UTC)}, "is a datetime; say which day"),
        ({"partition": "date=2026-01-10"}, "must be a PartitionKey"),
        ({"checkpoint": {}}, "must be a CheckpointState"),
    ],
)
def test_fields_of_the_wrong_kind_are_refused(fields, message):
    """The message names the field, the value and the remedy."""
    with pytest.raises(ContextError, match=message):
        WorkflowContext(**fields)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WorkflowContext(params=[1]), "params is a list; it must be a dict"),
        (lambda: WorkflowContext(params={"a": {1}}), r"params\['a'\] is a set"),
        (lambda: WorkflowContext().with_step_output("f", [1]), "the output of step 'f' is a list"),
        (lambda: WorkflowContext().with_updates({"a": object()}), r"updates\['a'\]"),
    ],
)
def test_data_that_may_not_flow_is_refused(make, message):
    """The message names the path."""
    with pytest.raises(PlainDataError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("run_id"), "has no run_id"),
        (lambda p: p.update(started_at="noon"), "damaged"),
        (lambda p: p.update(started_at="2026-01-01T00:00:00"), "has no time zone"),
        (lambda p: p.update(params={"a": {"$date": "x"}}), r"params\['a'\] has a damaged \$date"),
        (lambda p: p.update(params=[1]), "damaged"),
        (lambda p: p.update(partition={"a": ""}), "is empty"),
        (lambda p: p.update(partition="a=1"), "damaged"),
        (lambda p: p.update(as_of_date="2026-13-01"), "damaged"),
        (lambda p: p.update(checkpoint={"attempt": 0}), "attempt=0"),
        (lambda p: p.update(format_version="x"), "has the version 'x', which is none"),
    ],
)
def test_damaged_payloads_are_refused(change, message):
    """The message says what is missing or damaged."""
    payload = WorkflowContext().to_dict()
    change(payload)
    with pytest.raises(PayloadError, match=message):
        WorkflowContext.from_dict(payload)


def test_a_newer_major_version_is_refused():
    """Both versions are named."""
    payload = {**WorkflowContext().to_dict(), "format_version": "2.0"}
    with pytest.raises(PayloadVersionError, match=r"version 2.0, this flowctx reads up to 1.0; upgrade flowctx"):
        WorkflowContext.from_dict(payload)


def test_a_newer_minor_version_and_unknown_fields_load():
    """What a newer writer added is ignored."""
    ctx = WorkflowContext.new(params={"a": 1})
    payload = {**ctx.to_dict(), "format_version": "1.7", "mood": "good"}
    assert WorkflowContext.from_dict(payload) == ctx


@pytest.mark.parametrize("payload", [None, [], "x", 5])
def test_what_is_no_payload_is_refused(payload):
    """The message says what was expected."""
    with pytest.raises(PayloadError, match="read it with json.loads first"):
        WorkflowContext.from_dict(payload)


def test_new_takes_a_key_as_partition():
    """A PartitionKey will do for the dict."""
    key = PartitionKey(date=date(2026, 1, 10))
    assert WorkflowContext.new(partition=key).partition is key


def test_a_context_has_its_key_or_says_that_it_has_none():
    """``ctx.key`` is the partition, and an error where there is none, so that no step has to handle ``None``."""
    assert WorkflowContext.new(partition={"date": "2026-01-09", "fund": "GROWTH"}).key.fund == "GROWTH"
    with pytest.raises(ContextError, match="has no partition, and something in it asked for"):
        _ = WorkflowContext.new().key
