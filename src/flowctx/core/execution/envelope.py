"""What one step hands to the next: one JSON object of built-ins, with its own format version.

A step writes only its own output. Of the steps before it, it passes on an index (which are complete, and where the
engine keeps their outputs) and the parameters that they wrote, so that the bytes written by a chain of steps grow with
their outputs and not with the square of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from flowctx.core.data.encoding import decode, digest, encode, escape_key, from_json, to_json, unescape_key
from flowctx.core.data.handles import bind, paths_in
from flowctx.core.data.lazy import LazyDict
from flowctx.core.data.plain import EMPTY, ArtifactRef, FrozenDict, freeze
from flowctx.core.data.tables import MAX_INLINE_BYTES as MAX_INLINE_BYTES
from flowctx.core.errors import ContextConflict, FlowctxError, OutputTooLarge, PayloadError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.keeping import NO_STORE
from flowctx.core.printable import brief
from flowctx.core.suggestions import a_kind
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.context_payload import check_version
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.result import ErrorCategory, QualityMetrics, StepResult, StepStatus

#: Format of ``to_payload()``: a reader takes any minor version of its own major version.
ENVELOPE_VERSION = "1.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """A parameter written by a step."""

    #: The value.
    value: Any
    #: The step that wrote it.
    by: str
    #: Earlier writers whose value this one saw and replaced.
    over: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What one step hands to the next."""

    #: The step that wrote it.
    step: str
    #: How it ended.
    status: StepStatus = StepStatus.OK
    #: Its own output, or where that is.
    output: FrozenDict | ArtifactRef = field(default_factory=FrozenDict)
    #: What it found out about its data.
    quality: QualityMetrics | None = None
    #: Why it failed or was skipped.
    error: str | None = None
    #: Whether trying again can help.
    category: ErrorCategory | None = None
    #: Parameters written up to and including this step.
    updates: Mapping[str, Update] = field(default_factory=dict)
    #: The complete steps before it, in order, and where the engine keeps their envelopes (``None``: by their name).
    prior: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def own_updates(self) -> dict[str, Any]:
        """The parameters that the step wrote itself."""
        return {key: update.value for key, update in self.updates.items() if update.by == self.step}

    def to_payload(self) -> dict[str, Any]:
        """Return it as a dict of JSON built-ins; what is empty is left out."""
        payload: dict[str, Any] = {
            "flowctx": ENVELOPE_VERSION,
            "step": self.step,
            "status": str(self.status),
            "output": to_json(self.output),
        }
        if self.quality is not None:
            payload["quality"] = to_json(freeze(self.quality.to_dict()))
        if self.error is not None:
            payload["error"] = to_json(self.error)
        if self.category is not None:
            payload["category"] = str(self.category)
        if self.updates:
            payload["updates"] = {
                escape_key(key): [to_json(update.value), update.by, *update.over]
                for key, update in self.updates.items()
            }
        if self.prior:
            payload["prior"] = [name if at is None else [name, at] for name, at in self.prior.items()]
        return payload

    @classmethod
    def from_payload(cls, data: object) -> Envelope:
        """Rebuild an envelope.

        Raises:
            PayloadVersionError: It was written in a newer major version of the format.
            PayloadError: It is no envelope, or is damaged.
        """
        if not isinstance(data, Mapping) or "flowctx" not in data or "step" not in data:
            kind = type(data).__name__
            raise PayloadError(
                f"expected what a flowctx step hands on, found a {kind}; does the task before run a step?"
            )
        check_version(data["flowctx"], ENVELOPE_VERSION, "step")
        try:
            return cls(
                step=_text(data["step"], "step"),
                status=StepStatus(data.get("status", "ok")),
                output=_read_output(data.get("output", {})),
                quality=_read_quality(data.get("quality")),
                error=_text_or_none(from_json(data.get("error"), "error"), "error"),
                category=_read_category(data.get("category")),
                updates=_read_updates(data.get("updates", {})),
                prior=_read_prior(data.get("prior", [])),
            )
        except (FlowctxError, TypeError, ValueError, AttributeError, ArithmeticError) as exc:
            step, why = brief(repr(data["step"]), 60), brief(str(exc))
            raise PayloadError(f"what step {step} handed on is damaged: {why}; run that step again") from exc


def _read_output(data: object) -> FrozenDict | ArtifactRef:
    output = from_json(data, "output")
    if not isinstance(output, (FrozenDict, ArtifactRef)):
        raise PayloadError(f"its output is {a_kind(output)}, no dict")
    return output


def _read_quality(data: object) -> QualityMetrics | None:
    return None if data is None else QualityMetrics(**from_json(data, "quality"))


def _read_category(data: Any) -> ErrorCategory | None:
    return None if data is None else ErrorCategory(data)


def _read_updates(data: object) -> dict[str, Update]:
    if not isinstance(data, Mapping):
        raise PayloadError(f"its updates are {a_kind(data)}, no dict")
    updates: dict[str, Update] = {}
    for key, written in data.items():
        if not isinstance(written, (list, tuple)) or len(written) < 2:
            raise PayloadError(f"its updates[{brief(repr(key), 60)}] is no list of a value and who wrote it")
        value, by, *over = (from_json(written[0], "updates"), *(_text(name, "updates") for name in written[1:]))
        updates[unescape_key(str(key))] = Update(value=value, by=by, over=tuple(over))
    return updates


def _read_prior(data: object) -> dict[str, str | None]:
    if not isinstance(data, (list, tuple)):
        raise PayloadError(f"its prior steps are {a_kind(data)}, no list")
    prior: dict[str, str | None] = {}
    for item in data:
        name, at = (item, None) if isinstance(item, str) else item
        prior[_text(name, "prior")] = _text_or_none(at, "prior")
    return prior


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise PayloadError(f"{what} has {brief(repr(value), 60)} where a name must be")
    return value


def _text_or_none(value: object, what: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise PayloadError(f"{what} has {brief(repr(value), 60)} where text must be")
    return value


def merge_upstream(
    ctx: WorkflowContext,
    envelopes: Iterable[Envelope],
    fetch: Callable[[str, str | None], Mapping[str, Any]],
    *,
    store: ArtifactStore | None = None,
    at_hand: Mapping[str, Mapping[str, Any]] = EMPTY,
) -> tuple[WorkflowContext, Upstream]:
    """Return the context that a step sees: the run's, with what the steps before it handed on.

    Args:
        ctx: The run's context, without outputs.
        envelopes: One for each direct predecessor, in their order.
        fetch: Given a step further back and where it is kept, returns its output; called when first looked at.
        store: Where outputs that became artifacts are.
        at_hand: Outputs of steps that need not be fetched.

    Returns:
        The context, and what has to be handed on in turn.

    Raises:
        ContextConflict: Two predecessors wrote one parameter with different values.
    """
    envelopes = list(envelopes)
    if not envelopes:
        return (ctx._with(step_outputs=EMPTY) if ctx.step_outputs else ctx), _NOTHING
    updates = envelopes[0].updates if len(envelopes) == 1 else _merge_updates(envelopes)
    prior = _merge_prior(envelopes)
    new: dict[str, Any] = {"step_outputs": _outputs_of(prior, envelopes, fetch, store, at_hand)}
    if updates:
        new["params"] = FrozenDict({**ctx.params, **{key: update.value for key, update in updates.items()}})
    return ctx._with(**new), Upstream(updates, prior)


def _outputs_of(
    prior: Mapping[str, str | None],
    envelopes: Iterable[Envelope],
    fetch: Callable[[str, str | None], Mapping[str, Any]],
    store: ArtifactStore | None,
    at_hand: Mapping[str, Mapping[str, Any]],
) -> FrozenDict:
    """Return the outputs of all steps before one; those that are neither at hand nor in an envelope are read late."""
    if at_hand.keys() >= prior.keys():
        return FrozenDict({name: at_hand[name] for name in prior})
    ready: dict[str, Any] = {name: at_hand[name] for name in prior if name in at_hand}
    stowed: dict[str, Envelope] = {}
    for envelope in envelopes:
        if isinstance(envelope.output, ArtifactRef):
            stowed[envelope.step] = envelope
        elif envelope.status is StepStatus.OK:
            bind(envelope.output, store)
            ready[envelope.step] = envelope.output

    def later(name: str) -> Any:
        return load_output(stowed[name], store) if name in stowed else fetch(name, prior[name])

    all_here = len(ready) == len(prior)
    return FrozenDict({n: ready[n] for n in prior}) if all_here else LazyDict(prior, ready, later)


def nearest_complete(workflow: Workflow, step: str, read: Callable[[str], Envelope | None]) -> list[Envelope]:
    """Return what the steps directly before one handed on, those looked through that handed on nothing.

    Args:
        workflow: The workflow.
        step: The step that is to run.
        read: Returns the envelope of a step; ``None`` if it did not run, or failed.
    """
    after = workflow[step].after
    if not after:
        return []
    if len(after) == 1 and (only := read(after[0])) is not None:
        return [only]
    found: dict[str, Envelope] = {}
    pending = list(reversed(after))
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
    return [found[name] for name in workflow.steps if name in found]


class Upstream(NamedTuple):
    """What a step has from the steps before it, to be handed on with its own."""

    #: Parameters written so far.
    updates: Mapping[str, Update] = EMPTY
    #: Complete steps so far and where they are kept.
    prior: Mapping[str, str | None] = EMPTY

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
        envelope = object.__new__(Envelope)  # to set its fields one by one takes longer than all else here
        envelope.__dict__.update(
            step=step,
            status=result.status,
            output=result.output if limit is None else _stowed(step, result.output, store, limit),
            quality=result.quality,
            error=result.error,
            category=result.category,
            updates=updates,
            prior=self.prior,
        )
        return envelope


#: Of a step that follows none.
_NOTHING = Upstream()


def final_context(
    ctx: WorkflowContext, envelopes: Iterable[Envelope], load: Callable[[Envelope], Mapping[str, Any]]
) -> WorkflowContext:
    """Return the context at the end of a run: all outputs and updates of the steps that are ok.

    Where branches that never join wrote one parameter differently, the step that is declared last has the word.

    Args:
        ctx: What the first step saw.
        envelopes: What the steps handed on, in the order in which they are declared.
        load: Returns the output of an envelope.
    """
    outputs: dict[str, Any] = dict(ctx.step_outputs)
    updates: dict[str, Any] = {}
    for envelope in envelopes:
        if envelope.status is StepStatus.OK:
            outputs[envelope.step] = load(envelope)
            if envelope.updates:
                updates.update(envelope.own_updates)
    params = FrozenDict({**ctx.params, **updates}) if updates else ctx.params
    return ctx._with(params=params, step_outputs=FrozenDict(outputs))


def load_output(envelope: Envelope, store: ArtifactStore | None) -> FrozenDict:
    """Return the output in an envelope, from the artifact store if it was put there.

    Raises:
        ArtifactError: The artifact is gone or damaged.
        PayloadError: There is no store to ask.
    """
    if not isinstance(envelope.output, ArtifactRef):
        bind(envelope.output, store)
        return envelope.output
    if store is None:
        raise PayloadError(
            f"the output of step {envelope.step!r} is the artifact {envelope.output.uri}; "
            "set FLOWCTX_ARTIFACTS_URL here too"
        )
    output = decode(store.get(envelope.output))
    if not isinstance(output, FrozenDict):
        raise PayloadError(f"the artifact {envelope.output.uri} of step {envelope.step!r} is not an output")
    bind(output, store)
    return output


def _stowed(step: str, output: Mapping[str, Any], store: ArtifactStore | None, limit: int) -> Any:
    if store is not None and store.in_memory:
        return output
    data = encode(output)
    if len(data) <= limit:
        return output
    if store is None:
        raise OutputTooLarge(f"the output of step {step!r} takes {len(data):,} bytes, more than {limit:,}; {NO_STORE}")
    return store.put(data, tuple(paths_in(output)))


def _merge_prior(envelopes: list[Envelope]) -> dict[str, str | None]:
    prior: dict[str, str | None] = dict(envelopes[0].prior)
    for envelope in envelopes[1:]:
        prior.update(envelope.prior)
    for envelope in envelopes:
        if envelope.status is StepStatus.OK:
            prior.setdefault(envelope.step, None)
    return prior


def _merge_updates(envelopes: list[Envelope]) -> Mapping[str, Update]:
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
        raise ContextConflict(
            f"steps {one.by!r} and {other.by!r} both wrote the parameter {key!r}, with different values: "
            f"{_brief(one.value)} and {_brief(other.value)}; use two names, or put one step after the other"
        )
    return replace(one, over=tuple(dict.fromkeys((*one.over, other.by, *other.over))))


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
