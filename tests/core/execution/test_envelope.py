"""What one step hands to the next."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import (
    ArtifactRef,
    ErrorCategory,
    PayloadError,
    PayloadVersionError,
    QualityMetrics,
    StepResult,
    StepStatus,
    WorkflowContext,
)
from flowctx.core.data.plain import FrozenDict, freeze
from flowctx.core.execution.envelope import Envelope, Update
from flowctx.core.execution.upstream import merge_upstream
from flowctx.testing import make_context
from strategies import plain_data, plain_dicts

ENVELOPES = st.builds(
    Envelope,
    step=st.text("abc", min_size=1),
    status=st.sampled_from([StepStatus.OK, StepStatus.FAILED, StepStatus.SKIPPED]),
    output=plain_dicts().map(freeze) | st.just(ArtifactRef(uri="u", digest="0" * 64, size=1)),
    quality=st.none() | st.builds(QualityMetrics, counts=st.just({"rows": 1}), rates=st.just({"null": 0.5})),
    error=st.none() | st.text(max_size=5),
    category=st.none() | st.sampled_from(ErrorCategory),
    updates=st.dictionaries(
        st.text(max_size=3) | st.text("$_", max_size=4),
        st.builds(Update, value=plain_data().map(freeze), by=st.just("s"), over=st.just(("r",))),
        max_size=2,
    ),
    prior=st.dictionaries(st.text("ab", min_size=1, max_size=3), st.none() | st.text(max_size=3), max_size=3),
)


def never(name, at):
    raise AssertionError(f"fetched {name}")


def after(*results, of=("a",), before=()):
    """Return the envelopes of steps ``of`` with ``results``, each after the envelopes ``before``."""
    _, inherited = merge_upstream(WorkflowContext(), before, never)
    return [inherited.envelope(name, result) for name, result in zip(of, results, strict=True)]


@given(ENVELOPES)
def test_a_payload_comes_back(envelope):
    """Storing an envelope as JSON loses nothing."""
    assert Envelope.from_payload(json.loads(json.dumps(envelope.to_payload(), allow_nan=False))) == envelope


def test_the_payload_is_stable():
    """Its form is what other workers, with other versions, read."""
    (envelope,) = after(StepResult.ok({"rows": 3}, context_updates={"done": True}))
    assert envelope.to_payload() == {
        "flowctx": "1.0",
        "step": "a",
        "status": "ok",
        "output": {"rows": 3},
        "updates": {"done": [True, "a"]},
    }


def test_a_parameter_may_have_any_name():
    """Names that an engine reserves are escaped, as in outputs; older payloads have them as they are."""
    (envelope,) = after(StepResult.ok({}, context_updates={"__id__": 1, "$a": 2}))
    payload = envelope.to_payload()
    assert payload["updates"] == {"$__id__": [1, "a"], "$$a": [2, "a"]}
    older = {**payload, "updates": {"__id__": [1, "a"], "$a": [2, "a"]}}
    assert Envelope.from_payload(payload) == Envelope.from_payload(older) == envelope


@pytest.mark.parametrize("payload", [None, 5, "x", [], {}, {"rows": 1}])
def test_what_is_no_envelope_is_refused(payload):
    """An ordinary task's output is not mistaken for a step's."""
    with pytest.raises(PayloadError, match="does the task before run a step"):
        Envelope.from_payload(payload)


def test_a_newer_envelope_is_refused():
    """Both versions are named."""
    with pytest.raises(PayloadVersionError, match=r"version 2.0, this flowctx reads up to 1.0"):
        Envelope.from_payload({"flowctx": "2.0", "step": "a"})


def test_an_older_envelope_loads():
    """Fields that a writer did not know of have their defaults; unknown ones are ignored."""
    envelope = Envelope.from_payload({"flowctx": "1.0", "step": "a", "output": {"n": 1}, "mood": "good"})
    assert (envelope.status, envelope.output) == (StepStatus.OK, {"n": 1})


@pytest.mark.parametrize(
    "damage",
    [
        {"step": {}},
        {"step": ""},
        {"step": None},
        {"step": "x" * 100_000, "status": "great"},
        {"status": "great"},
        {"status": []},
        {"output": []},
        {"output": ""},
        {"output": None},
        {"output": {"$date": "2026-01-09"}},
        {"output": {"a": {"$date": "x"}}},
        {"quality": {"rows": 1}},
        {"quality": []},
        {"error": ["no rows"]},
        {"category": "BAD"},
        {"category": {}},
        {"updates": {"k": 5}},
        {"updates": {"k": [1]}},
        {"updates": {"k": [1, None]}},
        {"updates": {"k": [1, "a", {}]}},
        {"updates": [1]},
        {"updates": []},
        {"prior": [1]},
        {"prior": [["a", 1]]},
        {"prior": [[[], None]]},
        {"prior": 5},
        {"prior": {"a": "b"}},
    ],
)
def test_damaged_envelopes_are_refused(damage):
    """One sentence names the step that wrote it and what to do, however long the payload is."""
    with pytest.raises(PayloadError, match=r"^what step \S+ handed on is damaged: .*; run that step again$") as caught:
        Envelope.from_payload({"flowctx": "1.0", "step": "a", **damage})
    assert len(str(caught.value)) < 500


_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just("x" * 5000)
    | st.sampled_from(["1.0", "ok", "failed", "\0", "\ud800", "$artifact", "9" * 5000, "1e400"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["$date", "$decimal", "$int", "$artifact", "$table", "$file", "uri"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def _with_junk(payload, path, junk):
    """Return a payload with something else at a path of its own."""
    at = payload
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = junk
    return payload


def _read(reader, payload):
    """Return what a reader makes of a payload; ``None`` if it refuses it, in few words."""
    refusals = []
    with contextlib.suppress(PayloadError):
        try:
            return reader(payload)
        except PayloadError as exc:
            refusals.append(str(exc))
            raise
    assert max(map(len, refusals)) < 1000
    return None


def _paths(value, before=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, inner in items for path in ((*before, key), *_paths(inner, (*before, key)))]


@given(ENVELOPES, st.data())
def test_whatever_stands_in_an_envelope_it_is_read_or_refused(envelope, data):
    """With anything at any place, an envelope is one that steps can use, or a short error of ours."""
    payload = json.loads(json.dumps(envelope.to_payload()))
    path = data.draw(st.sampled_from(_paths(payload)))
    payload = _with_junk(payload, path, data.draw(_JUNK))
    read = _read(Envelope.from_payload, payload)
    if read is None:
        return
    assert isinstance(read.step, str)
    assert isinstance(read.output, (FrozenDict, ArtifactRef))
    assert all(isinstance(name, str) for update in read.updates.values() for name in (update.by, *update.over))
    assert Envelope.from_payload(json.loads(json.dumps(read.to_payload()))).to_payload() == read.to_payload()


@given(_JUNK)
def test_no_junk_is_taken_for_an_envelope(junk):
    """Anything else that a task before may have handed on is a short error of ours."""
    with pytest.raises(PayloadError) as caught:
        Envelope.from_payload(junk)
    assert len(str(caught.value)) < 500


@given(st.data())
def test_whatever_stands_in_a_context_it_is_read_or_refused(data):
    """The same of contexts, as they stand in the ledger's rows."""
    ctx = make_context(workflow="w", partition={"tier": "T1"}, params={"n": 1}).with_step_output("a", {"n": 2})
    payload = ctx.to_dict()
    payload = _with_junk(payload, data.draw(st.sampled_from(_paths(payload))), data.draw(_JUNK))
    read = _read(WorkflowContext.from_dict, payload)
    if read is None:
        return
    assert WorkflowContext.from_dict(json.loads(json.dumps(read.to_dict()))).to_dict() == read.to_dict()
