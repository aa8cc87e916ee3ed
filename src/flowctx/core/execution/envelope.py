"""What one step hands to the next: one JSON object of built-ins, with its own format version.

A step writes only its own output. Of the steps before it, it passes on an index (which are complete, and where the
engine keeps their outputs) and the parameters that they wrote, so that the bytes written by a chain of steps grow with
their outputs and not with the square of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from flowctx.core.data.encoding import decode, escape_key, from_json, to_json, unescape_key
from flowctx.core.data.handles import bind
from flowctx.core.data.plain import EMPTY, ArtifactRef, FrozenDict, freeze
from flowctx.core.data.tables import MAX_INLINE_BYTES as MAX_INLINE_BYTES
from flowctx.core.errors import ArtifactError, FlowctxError, PayloadError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.printable import brief
from flowctx.core.suggestions import a_kind
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.context_payload import check_version
from flowctx.core.workflow.result import OK, ErrorCategory, QualityMetrics, StepStatus

#: Format of ``to_payload()``: a reader takes any minor version of its own major version.
ENVELOPE_VERSION = "1.0"


class Update(NamedTuple):
    """A parameter written by a step."""

    #: The value.
    value: Any
    #: The step that wrote it.
    by: str
    #: Earlier writers whose value this one saw and replaced.
    over: tuple[str, ...] = ()


class Envelope(NamedTuple):
    """What one step hands to the next."""

    #: The step that wrote it.
    step: str
    #: How it ended.
    status: StepStatus = StepStatus.OK
    #: Its own output, or where that is.
    output: FrozenDict | ArtifactRef = EMPTY
    #: What it found out about its data.
    quality: QualityMetrics | None = None
    #: Why it failed or was skipped.
    error: str | None = None
    #: Whether trying again can help.
    category: ErrorCategory | None = None
    #: Parameters written up to and including this step.
    updates: Mapping[str, Update] = EMPTY
    #: The complete steps before it, in order, and where the engine keeps their envelopes (``None``: by their name).
    prior: Mapping[str, str | None] = EMPTY

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


def final_context(
    ctx: WorkflowContext,
    envelopes: Iterable[Envelope],
    load: Callable[[Envelope], Mapping[str, Any]],
    at_hand: Mapping[str, Mapping[str, Any]] = EMPTY,
) -> WorkflowContext:
    """Return the context at the end of a run: all outputs and updates of the steps that are ok.

    Where branches that never join wrote one parameter differently, the step that is declared last has the word.

    Args:
        ctx: What the first step saw.
        envelopes: What the steps handed on, in the order in which they are declared.
        load: Returns the output of an envelope.
        at_hand: Outputs of some of them that need not be loaded, in the same order.
    """
    made = [envelope for envelope in envelopes if envelope.status is OK]
    outputs = {**ctx.step_outputs}
    if len(at_hand) == len(made):
        outputs |= at_hand
    else:
        outputs |= {one.step: at_hand[one.step] if one.step in at_hand else load(one) for one in made}
    updates: dict[str, Any] = {}
    written: Mapping[str, Update] = EMPTY
    for envelope in made:
        if envelope.updates is not written:  # else it wrote none itself
            written = envelope.updates
            updates |= envelope.own_updates
    params = FrozenDict({**ctx.params, **updates}) if updates else ctx.params
    return ctx._with(params=params, step_outputs=FrozenDict(outputs))


def load_output(envelope: Envelope, store: ArtifactStore | None) -> FrozenDict:
    """Return the output in an envelope, from the artifact store if it was put there; tables of updates are there, too.

    Raises:
        ArtifactError: The artifact is gone or damaged.
        PayloadError: There is no store to ask.
    """
    for update in envelope.updates.values():
        bind(update.value, store)
    return whole_output(envelope.step, envelope.output, store)


def whole_output(step: str, output: FrozenDict | ArtifactRef, store: ArtifactStore | None) -> FrozenDict:
    """Return the output of a step, from the artifact store if it was put there.

    Raises:
        ArtifactError: The artifact is gone or damaged.
        PayloadError: There is no store to ask.
    """
    if not isinstance(output, ArtifactRef):
        bind(output, store)
        return output
    if store is None:
        raise PayloadError(
            f"the output of step {step!r} is the artifact {output.uri}; set FLOWCTX_ARTIFACTS_URL here too"
        )
    loaded = decode(store.get(output))
    if not isinstance(loaded, FrozenDict):
        raise PayloadError(f"the artifact {output.uri} of step {step!r} is not an output")
    bind(loaded, store)
    return loaded


def output_made(envelope: Envelope, store: ArtifactStore | None, named: str) -> FrozenDict:
    """Return the output in an envelope, for whoever is no step: of a step that made none, there is none to load.

    Args:
        envelope: The envelope.
        store: Where outputs that became artifacts are.
        named: How the message names what is asked for.

    Raises:
        ArtifactError: The step was skipped or has failed; or the artifact is gone or damaged.
        PayloadError: There is no store to ask.
    """
    if envelope.status is not StepStatus.OK:
        how = {StepStatus.SKIPPED: "was skipped", StepStatus.TOLERATED: "failed, which it may"}
        raise ArtifactError(f"{named} {how.get(envelope.status, 'failed')}: {envelope.error}; it has no output to load")
    return load_output(envelope, store)
