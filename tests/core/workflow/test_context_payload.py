"""The bytes of a context: the same as of its dict, read late and refused at once."""

import copy
import json
import pickle
from datetime import date
from decimal import Decimal

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given

from core.workflow.test_context import CONTEXTS
from flowctx import FlowctxError, PayloadError, PayloadVersionError, WorkflowContext
from flowctx.core.data.encoding import digest
from flowctx.core.data.lazy import UnreadDict
from strategies import plain_dicts

CTX = WorkflowContext.new(params={"a": 1}, partition={"date": "2026-01-09"})


def unread(ctx):
    """Return which outputs of a context are unread."""
    outputs = ctx.step_outputs
    return [name for name, value in dict.items(outputs) if value is outputs._encoded.get(name)]


@given(CONTEXTS)
def test_the_bytes_are_those_of_the_dict(ctx):
    """A context is written as its dict is, to the byte, and read as its dict is, however it was written."""
    data = ctx.to_bytes()
    assert data == msgspec.json.encode(ctx.to_dict())
    for text in (data, data.decode(), json.dumps(ctx.to_dict())):
        found = WorkflowContext.from_bytes(text)
        assert found == ctx == WorkflowContext.from_dict(json.loads(text))
        assert found.to_dict() == ctx.to_dict()


@given(CONTEXTS)
def test_what_is_read_late_is_written_as_it_came(ctx):
    """A context that was read is written with the same bytes, with one more output too, and looked at or not."""
    data = ctx.to_bytes()
    assert WorkflowContext.from_bytes(data).to_bytes() == data
    found = WorkflowContext.from_bytes(data).with_step_output("last", {"n": 1}).with_updates({"x": 1})
    wanted = ctx.with_step_output("last", {"n": 1}).with_updates({"x": 1})
    assert found.to_bytes() == wanted.to_bytes()
    assert found == wanted
    assert found.to_bytes() == wanted.to_bytes()


@given(CONTEXTS, plain_dicts())
def test_what_was_written_here_is_written_the_same_again(ctx, output):
    """A context is written to the byte as its dict, however often, and whatever of it was written before."""
    more = ctx
    for name in ("a", "$date", "__b", "last"):
        more = more.with_step_output(name, output)
        first = more.to_bytes()
        assert first == more.to_bytes() == msgspec.json.encode(more.to_dict())
    assert ctx.to_bytes() == msgspec.json.encode(ctx.to_dict())
    assert WorkflowContext.from_bytes(first) == more


@pytest.mark.parametrize(
    "value", [pa.table({"a": [1]}), [date(2026, 1, 9)], [{"day": date(2026, 1, 9)}], {"rows": [date(2026, 1, 9)]}]
)
def test_the_form_of_what_may_be_large_is_not_kept(value):
    """An output of single values keeps its JSON form; of one that has a table, or holds more, that would be a copy."""
    ctx = CTX.with_step_output("small", {"rows": [1], "day": date(2026, 1, 9)}).with_step_output("large", {"a": value})
    assert ctx.to_bytes() == ctx.to_bytes() == msgspec.json.encode(ctx.to_dict())
    assert ctx.step_outputs["small"]._wire == {"rows": [1], "day": {"$date": date(2026, 1, 9)}}
    held = [ctx.step_outputs["large"], ctx.step_outputs["large"]["a"]]
    held += held[1] if isinstance(held[1], list) else []
    assert not [part for part in held if hasattr(part, "_wire")]


def test_names_of_steps_are_escaped_beside_unread_ones():
    """A step may have any name, and what is unread before it changes nothing in how its output is written."""
    ctx = CTX.with_step_output("a", {"n": 1})
    found = WorkflowContext.from_bytes(ctx.to_bytes())
    for name in ("$date", "__b", "a"):
        ctx, found = ctx.with_step_output(name, {"n": 2}), found.with_step_output(name, {"n": 2})
        assert found.to_bytes() == ctx.to_bytes()
        assert WorkflowContext.from_bytes(found.to_bytes()) == ctx


def test_outputs_are_read_when_they_are_looked_at():
    """Reading, deriving and writing a context reads no output; a look at one reads that one."""
    ctx = CTX.with_step_output("a", {"n": 1}).with_step_output("b", {"n": 2})
    found = WorkflowContext.from_bytes(ctx.to_bytes())
    more = WorkflowContext.from_bytes(found.with_step_output("c", {"n": 3}).to_bytes())
    assert (unread(found), unread(more)) == (["a", "b"], ["a", "b", "c"])
    assert more.get_output("b", "n") == 2
    assert (unread(found), unread(more)) == (["a", "b"], ["a", "c"])


def test_a_context_that_was_read_is_one_like_any_other():
    """It compares, prints, copies and pickles as if nothing was read late, and its outputs refuse every change."""
    ctx = CTX.with_step_output("a", {"rows": [1]})
    found = WorkflowContext.from_bytes(ctx.to_bytes())
    assert isinstance(found.step_outputs, UnreadDict)
    assert (repr(found), found._repr_html_()) == (repr(ctx), ctx._repr_html_())
    assert pickle.loads(pickle.dumps(found)) == ctx == found
    assert copy.deepcopy(found) is found
    for change in (lambda outputs: outputs.clear(), lambda outputs: outputs["a"]["rows"].append(2)):
        with pytest.raises(TypeError, match="copy it first"):
            change(found.step_outputs)


OUTPUTS = [
    {"a": {"day": {"$date": "2026-02-30"}}},
    {"a": {"day": {"$date": "2026-01-09", "x": 1}}},
    {"a": {"$later": "x"}},
    {"a": {"n": {"$decimal": "one"}}},
    {"a": {"at": {"$datetime": "2026-01-09T12:00:00"}}},
    {"$a": {}},
    [1],
    "x",
]
CHANGES = [
    *({"step_outputs": outputs} for outputs in OUTPUTS),
    *({"params": outputs} for outputs in OUTPUTS),
    *({"metadata": outputs} for outputs in OUTPUTS),
    {"run_id": ""},
    {"run_id": 5},
    {"batch_id": ""},
    {"started_at": "noon"},
    {"started_at": "2026-01-01T00:00:00"},
    {"started_at": "0001-01-01T00:00:00+12:00"},
    {"partition": {"a": ""}},
    {"partition": "a=1"},
    {"partition": {"a": {"$date": "2026-01-09"}}},
    {"partition": [1]},
    {"as_of_date": "2026-13-01"},
    {"checkpoint": {"attempt": 0}},
    {"format_version": "x"},
    {"format_version": "2.0"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("write", [msgspec.json.encode, json.dumps])
def test_what_is_damaged_is_refused_at_once(change, write):
    """Bytes with damage anywhere are refused when they are read, in the words with which the dict is."""
    payload = {**CTX.to_dict(), **change}
    with pytest.raises(FlowctxError) as of_dict:
        WorkflowContext.from_dict(payload)
    with pytest.raises(type(of_dict.value)) as of_bytes:
        WorkflowContext.from_bytes(write(payload))
    assert str(of_bytes.value) == str(of_dict.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a":1}x', "\ud800", b"[" * 100_000, b'{"run_id":NaN}', 5])
def test_bytes_that_are_no_json_are_refused(data):
    """Whatever they are, the error is ours."""
    with pytest.raises(PayloadError, match="is not JSON"):
        WorkflowContext.from_bytes(data)


@pytest.mark.parametrize("bad", ["\xff", "\\x", "01", "{", "nul"])
def test_outputs_that_are_no_json_are_refused_at_once(bad):
    """An output that nobody looks at is well-formed JSON in Unicode all the same."""
    data = CTX.with_step_output("a", {"x": "HERE"}).to_bytes().replace(b'"HERE"', f'"{bad}"'.encode("latin-1"))
    data = data if bad in ("\xff", "\\x") else data.replace(f'"{bad}"'.encode(), bad.encode())
    with pytest.raises(PayloadError, match="is not JSON"):
        WorkflowContext.from_bytes(data)


@pytest.mark.parametrize("bad", [b"1e999", b"9" * 5000, b"[" * 100_000 + b"]" * 100_000])
def test_what_only_a_look_finds_is_refused_then(bad):
    """A number that no float holds, and nesting without end, are refused by an error of ours, if not at once."""
    data = CTX.with_step_output("a", {"x": "HERE"}).to_bytes().replace(b'"HERE"', bad)
    with pytest.raises(PayloadError, match="not JSON|nested too deep"):
        _ = WorkflowContext.from_bytes(data).step_outputs["a"]


def test_what_a_newer_or_older_program_wrote_is_read():
    """Fields that are not known are ignored, and missing ones have their defaults, as in a dict."""
    ctx = CTX.with_step_output("a", {"n": 1})
    newer = {**ctx.to_dict(), "mood": "good"}
    assert WorkflowContext.from_bytes(json.dumps(newer)) == ctx
    assert WorkflowContext.from_bytes(json.dumps({**newer, "format_version": "1.7"})) == ctx
    older = {name: newer[name] for name in ("run_id", "trace_id", "started_at", "params", "step_outputs", "partition")}
    assert WorkflowContext.from_bytes(json.dumps(older)) == WorkflowContext.from_dict(older) == ctx
    with pytest.raises(PayloadVersionError, match=r"version 2.0"):
        WorkflowContext.from_bytes(json.dumps({**newer, "format_version": "2.0"}))


FOREIGN = [
    {"params": {"__x": 1, "y": 2}},
    {"params": {"n": 2**63, "m": -(2**63)}},
    {"params": {"n": 2**70}},
    {"params": {"n": {"a": [2**64, {"__b": 1}]}, "when": {"$date": "2026-01-29"}}},
    {"params": {"price": {"$decimal": "1.10"}, "text": "a $5 note"}},
    {"step_outputs": {"__s": {"n": 1}, "t": {"n": 1}}},
    {"metadata": {"__m": {"n": 2**64}}},
    {"metadata": {"engine": {"name": "local"}, "day": {"$date": "2024-02-29"}}},
]


@pytest.mark.parametrize("change", FOREIGN, ids=str)
def test_what_another_program_wrote_is_written_as_we_do(change):
    """Large integers get their tags and reserved keys their escapes, wherever they came from and whatever is added."""
    payload = {**CTX.to_dict(), **change}
    found, wanted = WorkflowContext.from_bytes(msgspec.json.encode(payload)), WorkflowContext.from_dict(payload)
    assert found == wanted
    for more in (
        lambda ctx: ctx.with_updates({"z": 1}),
        lambda ctx: ctx.with_step_output("last", {"n": 2**70, "$": Decimal("1.10")}),
    ):
        found, wanted = more(found), more(wanted)
        assert found.to_bytes() == wanted.to_bytes() == msgspec.json.encode(wanted.to_dict())
        assert digest(found.step_outputs) == digest(wanted.step_outputs)
        assert found == wanted


@pytest.mark.parametrize("name", ["step_outputs", "metadata", "params"])
def test_fields_that_are_a_tag_are_refused(name):
    """All outputs together are a dict of steps, and never the value of a tag; so are metadata and parameters."""
    payload = {**CTX.to_dict(), name: {"$date": "2026-01-09"}}
    with pytest.raises(PayloadError, match=name):
        WorkflowContext.from_bytes(msgspec.json.encode(payload))


def test_metadata_is_read_when_it_is_looked_at():
    """What a run says of itself is passed from step to step as it came, and is a read-only dict like any other."""
    metadata = {"engine": {"name": "local", "day": date(2026, 1, 9)}, "workflow": "prices"}
    ctx = WorkflowContext(metadata=metadata)
    found = WorkflowContext.from_bytes(ctx.to_bytes())
    assert isinstance(found.metadata, UnreadDict)
    assert found.with_updates({"x": 1}).to_bytes() == ctx.with_updates({"x": 1}).to_bytes()
    assert [name for name, value in dict.items(found.metadata) if value is found.metadata._encoded[name]] == [*metadata]
    assert found.metadata["engine"]["day"] == date(2026, 1, 9)
    assert found.metadata == ctx.metadata == metadata
    with pytest.raises(TypeError, match="copy it first"):
        found.metadata["engine"]["name"] = "other"


def test_what_was_read_stays_read_further_on():
    """A context that is derived from one of which an output was read does not read it again."""
    ctx = WorkflowContext.from_bytes(CTX.with_step_output("a", {"n": 1}).with_step_output("b", {"n": 2}).to_bytes())
    first = ctx.step_outputs["a"]
    more = ctx.with_step_output("c", {"n": 3})
    assert unread(more) == ["b"]
    assert more.step_outputs["a"] is first
    assert more.with_step_output("a", {"n": 4}).step_outputs["c"] is more.step_outputs["c"]
