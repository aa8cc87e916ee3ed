"""What a step has from the steps before it."""

import json

import pytest

from flowctx import ArtifactRef, ContextConflict, OutputTooLarge, PayloadError, StepResult, Workflow, WorkflowContext
from flowctx.core.data.plain import freeze
from flowctx.core.execution.upstream import Upstream, merge_upstream, nearest_complete


def never(name, at):
    raise AssertionError(f"fetched {name}")


def after(*results, of=("a",), before=()):
    """Return the envelopes of steps ``of`` with ``results``, each after the envelopes ``before``."""
    _, inherited = merge_upstream(WorkflowContext(), before, never)
    return [inherited.envelope(name, result) for name, result in zip(of, results, strict=True)]


def test_a_step_sees_outputs_and_updates():
    """The outputs before it by name, in order, and the parameters with the updates on top."""
    first = after(StepResult.ok({"n": 1}, context_updates={"p": 2}))
    second = after(StepResult.ok({"n": 2}), of=("b",), before=first)
    ctx, _ = merge_upstream(
        WorkflowContext.new(params={"p": 1, "q": 1}), second, lambda name, at: freeze({"fetched": name})
    )
    assert ctx.params == {"p": 2, "q": 1}
    assert ctx.step_outputs == {"a": {"fetched": "a"}, "b": {"n": 2}}
    assert list(ctx.step_outputs) == ["a", "b"]


def test_an_earlier_output_is_fetched_when_it_is_looked_at_and_once():
    """Neither names, nor length, nor deriving a context fetch anything."""
    fetched = []

    def fetch(name, at):
        fetched.append(name)
        return freeze({"n": 1})

    before = after(StepResult.ok({}), of=("b",), before=after(StepResult.ok({})))
    ctx, _ = merge_upstream(WorkflowContext(), before, fetch)
    derived = ctx.with_step_output("c", {"n": 3}).with_updates({"x": 1})
    assert (len(derived.step_outputs), "a" in derived.step_outputs, list(derived.step_outputs)) == (
        3,
        True,
        ["a", "b", "c"],
    )
    assert derived.get_output("c", "n") == 3
    assert fetched == []
    assert (derived.get_output("a", "n"), dict(derived.step_outputs)["a"]) == (1, {"n": 1})
    assert fetched == ["a"]


@pytest.mark.parametrize(
    "look",
    [
        lambda outputs: {**outputs},
        lambda outputs: dict(outputs),
        lambda outputs: dict(outputs.items()),
        lambda outputs: json.loads(json.dumps(outputs)),
        lambda outputs: outputs.copy(),
        lambda outputs: outputs | {},
        lambda outputs: {} | outputs,
        lambda outputs: {name: outputs[name] for name in outputs},
        lambda outputs: dict(zip(outputs, outputs.values(), strict=True)),
        lambda outputs: {name: outputs.get(name) for name in outputs.keys()},  # noqa: SIM118
        lambda outputs: __import__("pickle").loads(__import__("pickle").dumps(outputs)),
        lambda outputs: __import__("copy").deepcopy(outputs),
        lambda outputs: WorkflowContext.from_dict(WorkflowContext(step_outputs=outputs).to_dict()).step_outputs,
    ],
)
def test_however_it_is_looked_at_the_output_is_there(look):
    """No way of reading the outputs shows that some were fetched late."""
    before = after(StepResult.ok({"n": 2}), of=("b",), before=after(StepResult.ok({"n": 1})))
    ctx, _ = merge_upstream(WorkflowContext(), before, lambda name, at: freeze({"n": 1}))
    assert look(ctx.step_outputs) == {"a": {"n": 1}, "b": {"n": 2}}


def test_branches_that_disagree_are_a_conflict():
    """The message names the key, both steps and both values."""
    left, right = (StepResult.ok(context_updates={"k": value}) for value in (1, 2))
    with pytest.raises(ContextConflict, match=r"'l' and 'r' both wrote the parameter 'k'.*1 and 2; use two names"):
        merge_upstream(WorkflowContext(), after(left, right, of=("l", "r")), never)


def test_branches_that_agree_are_no_conflict():
    """Equal values join; a step after them may overwrite."""
    same = [StepResult.ok(context_updates={"k": [1]})] * 2
    joined = after(StepResult.ok(context_updates={"k": 3}), of=("j",), before=after(*same, of=("l", "r")))
    ctx, _ = merge_upstream(WorkflowContext(), joined, never)
    assert ctx.params == {"k": 3}


def test_a_branch_that_saw_the_other_value_wins():
    """Overwriting what a common ancestor wrote is no conflict with a branch that left it alone."""
    first = after(StepResult.ok(context_updates={"k": 1}))
    left = after(StepResult.ok(context_updates={"k": 2}), of=("l",), before=first)
    right = after(StepResult.ok(), of=("r",), before=first)
    for order in (left + right, right + left):
        ctx, _ = merge_upstream(WorkflowContext(), order, lambda name, at: freeze({}))
        assert ctx.params == {"k": 2}


def test_true_and_one_are_different_values():
    """Values conflict when their JSON forms differ, though Python calls them equal."""
    left, right = (StepResult.ok(context_updates={"k": value}) for value in (1, True))
    with pytest.raises(ContextConflict):
        merge_upstream(WorkflowContext(), after(left, right, of=("l", "r")), never)


def test_an_output_over_the_limit_becomes_an_artifact():
    """It is stored, and loaded when it is looked at."""
    stored = {}

    class Store:
        in_memory = False

        def put(self, data, holds=()):
            stored["x"] = data
            return ArtifactRef(uri="x", digest="0" * 64, size=len(data))

        def get(self, ref):
            return stored[ref.uri]

    envelope = Upstream().envelope("a", StepResult.ok({"rows": "x" * 100}), store=Store(), limit=50)
    assert isinstance(envelope.output, ArtifactRef)
    ctx, _ = merge_upstream(WorkflowContext(), [envelope], never, store=Store())
    assert ctx.get_output("a", "rows") == "x" * 100
    ctx, _ = merge_upstream(WorkflowContext(), [envelope], never)
    with pytest.raises(PayloadError, match="set FLOWCTX_ARTIFACTS_URL here too"):
        ctx.get_output("a")


def test_an_output_over_the_limit_without_a_store_is_refused():
    """The message names the step, the size, the limit and the remedy."""
    with pytest.raises(OutputTooLarge, match=r"step 'a' takes 111 bytes, more than 50; set FLOWCTX_ARTIFACTS_URL"):
        Upstream().envelope("a", StepResult.ok({"rows": "x" * 100}), limit=50)


def test_bytes_grow_with_the_outputs():
    """A chain of 100 steps writes at most 1.2 times what its outputs take."""
    written = outputs = 0
    envelopes = []
    for i in range(100):
        output = {"rows": "x" * 4000}
        _, inherited = merge_upstream(WorkflowContext(), envelopes, never)
        envelopes = [inherited.envelope(f"step_{i:03}", StepResult.ok(output))]
        written += len(json.dumps(envelopes[0].to_payload()))
        outputs += len(json.dumps(output))
    assert written <= 1.2 * outputs


def test_outputs_at_hand_are_not_fetched_and_come_in_the_order_of_the_steps():
    """Which of them this process has, and in which order it made them, changes nothing of what a step sees."""
    (first,) = after(StepResult.ok({"n": 1}))
    (second,) = after(StepResult.ok({"n": 2}), of=("b",), before=[first])
    one, two = freeze({"n": 1}), freeze({"n": 2})
    for at_hand in ({"a": one, "b": two}, {"b": two, "a": one}, {"x": one, "b": two, "a": one}):
        ctx, inherited = merge_upstream(WorkflowContext(), [second], never, at_hand=at_hand)
        assert list(ctx.step_outputs.items()) == [("a", one), ("b", two)]
        assert inherited.prior == {"a": None, "b": None}


def test_a_step_is_looked_through_that_handed_on_nothing():
    """What the steps before it handed on is what the next one has; others come in the order of the workflow."""
    flow = Workflow("w")
    for name, before in {"a": [], "b": ["a"], "c": ["a"], "d": ["c", "b"]}.items():
        flow.step(name, after=before)(lambda ctx: None)
    made = dict(zip("abc", after(*[StepResult.ok({})] * 3, of="abc"), strict=True))
    assert [envelope.step for envelope in nearest_complete(flow, flow["d"], made.get)] == ["b", "c"]
    del made["c"]
    assert [envelope.step for envelope in nearest_complete(flow, flow["d"], made.get)] == ["a", "b"]
    assert nearest_complete(flow, flow["a"], made.get) == []
