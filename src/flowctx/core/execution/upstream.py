"""What a step has from the steps before it: their envelopes merged into the context that it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from flowctx.core.data.encoding import digest, encode
from flowctx.core.data.handles import LEAVES, bind, paths_in
from flowctx.core.data.lazy import LazyDict
from flowctx.core.data.plain import EMPTY, ArtifactRef, FrozenDict
from flowctx.core.errors import ContextConflict, OutputTooLarge
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import Envelope, Update, load_output
from flowctx.core.execution.keeping import NO_STORE
from flowctx.core.printable import brief
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step, Workflow
from flowctx.core.workflow.result import OK, StepResult


class Upstream(NamedTuple):
    """What a step has from the steps before it, to be handed on with its own."""

    #: Parameters written so far.
    updates: Mapping[str, Update] = EMPTY
    #: Complete steps so far and where they are kept.
    prior: Mapping[str, str | None] = EMPTY
    #: The run's parameters with those.
    params: FrozenDict = EMPTY

    def envelope(
        self, step: str, result: StepResult, *, store: ArtifactStore | None = None, limit: int | None = None
    ) -> Envelope:
        """Wrap a step's result for the steps after it.

        Args:
            step: The step's name.
            result: Its result.
            store: Where an output over ``limit`` goes.
            limit: Largest output in bytes of JSON; ``None``: any.

        Raises:
            OutputTooLarge: The output is over the limit and there is no store.
        """
        updates = self.updates
        if result.context_updates:
            updates = dict(updates)
            for key, value in result.context_updates.items():
                seen = updates.get(key)
                updates[key] = Update(value=value, by=step, over=(seen.by, *seen.over) if seen else ())
        output = result.output if limit is None else _stowed(step, result.output, store, limit)
        return _envelope(
            (step, result.status, output, result.quality, result.error, result.category, updates, self.prior)
        )


#: Make one of all its values; to call the class would call Python once more, and each step makes one of each.
_upstream: Callable[[tuple[Mapping[str, Update], Mapping[str, str | None], Any]], Upstream] = partial(
    tuple.__new__, Upstream
)
_envelope: Callable[[tuple[Any, ...]], Envelope] = partial(tuple.__new__, Envelope)
#: Of a step that follows none.
NOTHING = Upstream()


def merge_upstream(
    ctx: WorkflowContext,
    envelopes: Sequence[Envelope],
    fetch: Callable[[str, str | None], Mapping[str, Any]],
    *,
    store: ArtifactStore | None = None,
    at_hand: Mapping[str, Mapping[str, Any]] = EMPTY,
    like: Upstream | None = None,
) -> tuple[WorkflowContext, Upstream]:
    """Return the context that a step sees: the run's, with what the steps before it handed on.

    Args:
        ctx: The run's context, without outputs.
        envelopes: One for each direct predecessor, in their order.
        fetch: Given a step further back and where it is kept, returns its output; called when first looked at.
        store: Where outputs that became artifacts are.
        at_hand: Outputs of steps that need not be fetched.
        like: What another step of the run has had: often the parameters are the same.

    Returns:
        The context, and what has to be handed on in turn.

    Raises:
        ContextConflict: Two predecessors wrote one parameter with different values.
    """
    if not envelopes:
        return (ctx._with(step_outputs=EMPTY) if ctx.step_outputs else ctx), NOTHING
    if len(envelopes) == 1:
        only = envelopes[0]
        updates, prior = only.updates, only.prior
        if only.status is OK and only.step not in prior:
            prior = {**prior, only.step: None}
    else:
        updates, prior = _merge_updates(envelopes), _merge_prior(envelopes)
    if len(at_hand) == len(prior) and [*at_hand] == [*prior]:
        outputs = FrozenDict(at_hand)
    elif at_hand.keys() >= prior.keys():
        outputs = FrozenDict(zip(prior, map(at_hand.__getitem__, prior), strict=True))
    else:
        outputs = _outputs_of(prior, envelopes, fetch, store, at_hand)
    if not updates:
        return ctx._with(step_outputs=outputs), _upstream((updates, prior, ctx.params))
    if like is not None and like.updates is updates:
        return ctx._with(step_outputs=outputs, params=like.params), _upstream((updates, prior, like.params))
    params = FrozenDict(ctx.params)
    for key, update in updates.items():
        if type(update.value) not in LEAVES:
            bind(update.value, store)
        dict.__setitem__(params, key, update.value)
    return ctx._with(step_outputs=outputs, params=params), _upstream((updates, prior, params))


def _outputs_of(
    prior: Mapping[str, str | None],
    envelopes: Iterable[Envelope],
    fetch: Callable[[str, str | None], Mapping[str, Any]],
    store: ArtifactStore | None,
    at_hand: Mapping[str, Mapping[str, Any]],
) -> FrozenDict:
    """Return the outputs of all steps before one; those that are neither at hand nor in an envelope are read late."""
    ready: dict[str, Any] = {name: at_hand[name] for name in prior if name in at_hand}
    stowed: dict[str, Envelope] = {}
    for envelope in envelopes:
        if isinstance(envelope.output, ArtifactRef):
            stowed[envelope.step] = envelope
        elif envelope.status is OK:
            bind(envelope.output, store)
            ready[envelope.step] = envelope.output

    def later(name: str) -> Any:
        return load_output(stowed[name], store) if name in stowed else fetch(name, prior[name])

    all_here = len(ready) == len(prior)
    return FrozenDict({n: ready[n] for n in prior}) if all_here else LazyDict(prior, ready, later)


def nearest_complete(workflow: Workflow, step: Step, read: Callable[[str], Envelope | None]) -> list[Envelope]:
    """Return what the steps directly before one handed on, those looked through that handed on nothing.

    Args:
        workflow: The workflow.
        step: The step that is to run.
        read: Returns the envelope of a step; ``None`` if it did not run, or failed.
    """
    after = step.after
    if not after:
        return []
    found: dict[str, Envelope] = {}
    for name in after:
        if (envelope := read(name)) is not None:
            found[name] = envelope
    pending = [] if len(found) == len(after) else list(reversed(after))
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        envelope = read(name)
        if envelope is None:
            pending += reversed(workflow[name].after)
        else:
            found[name] = envelope
    return list(map(found.__getitem__, filter(found.__contains__, workflow.steps)))


def _stowed(step: str, output: Mapping[str, Any], store: ArtifactStore | None, limit: int) -> Any:
    if store is not None and store.in_memory:
        return output
    data = encode(output)
    if len(data) <= limit:
        return output
    if store is None:
        raise OutputTooLarge(f"the output of step {step!r} takes {len(data):,} bytes, more than {limit:,}; {NO_STORE}")
    return store.put(data, tuple(paths_in(output)))


def _merge_prior(envelopes: Sequence[Envelope]) -> dict[str, str | None]:
    prior: dict[str, str | None] = {}
    for envelope in envelopes:
        prior |= envelope.prior
    for envelope in envelopes:
        if envelope.status is OK:
            prior.setdefault(envelope.step, None)
    return prior


def _merge_updates(envelopes: Sequence[Envelope]) -> Mapping[str, Update]:
    first = envelopes[0].updates
    for envelope in envelopes:
        if envelope.updates is not first:
            break
    else:
        return first  # of steps that wrote none themselves, after one and the same
    merged: dict[str, Update] = {}
    for envelope in envelopes:
        for key, update in envelope.updates.items():
            merged[key] = _newer(key, merged[key], update) if key in merged else update
    return merged


def _newer(key: str, one: Update, other: Update) -> Update:
    """Return the update that saw the other; both, if they agree."""
    if one.by == other.by or other.by in one.over:
        return one
    if one.by in other.over:
        return other
    if digest(one.value) != digest(other.value):
        values = " and ".join(brief(repr(update.value), 60) for update in (one, other))
        raise ContextConflict(
            f"steps {one.by!r} and {other.by!r} both wrote the parameter {key!r}, with different values: {values}; use "
            "two names, or put one step after the other"
        )
    return one._replace(over=tuple(dict.fromkeys((*one.over, other.by, *other.over))))
