"""Read one input outside a step: for code that has a context and is no step of a workflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from flowctx.core.dates.cadence import Hourly
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.reading import AwaitMade, StepInputs, Unordered, known_time
from flowctx.core.durability.version_choice import check_past
from flowctx.core.errors import ContextError, InputMissing, PartitionError, WorkflowError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step
from flowctx.core.workflow.inputs import Input
from flowctx.core.workflow.outputs import Outputs
from flowctx.core.workflow.result import StepResult

#: By so much the lengths of two days may differ.
_CLOCK_CHANGE: Final = timedelta(hours=2)


class _OneInput(StepInputs):
    """An input that no step declares."""

    def _label(self, name: str) -> str:
        return f"input {self.step.inputs[name]!r}"

    def _anew(self) -> str:
        return "read it again"


def read_once(
    ctx: WorkflowContext,
    item: Input,
    *,
    scheme: PartitionScheme | None = None,
    span: timedelta | None = None,
    ledger: Ledger | None,
    store: ArtifactStore | None,
    await_made: AwaitMade = lambda item, keys: {},
    unordered: Unordered = lambda item, key, version: None,
) -> Mapping[str, Any] | Outputs | None:
    """Return what an input is for a context.

    Args:
        ctx: The context of whoever reads.
        item: The input.
        scheme: The scheme of the context's partition.
        span: How long the window of that partition is, if its engine says so.
        ledger: Where outputs are remembered.
        store: Where large outputs and tables are.
        await_made: As for :class:`StepInputs`.
        unordered: As for :class:`StepInputs`.

    Raises:
        InputMissing: It is not there, not yet, or was skipped and is not optional.
        ContextError: The context does not say which partition it is about, is of a time that lies ahead, or there is no
            ledger.
        WorkflowError: There is no such step, or its partitions do not fit.
    """
    if not isinstance(item, Input):
        raise WorkflowError(f"{item!r} is no input; pass what workflow.output('step') returns")
    if ledger is None:
        raise ContextError(f"input {item!r} is read from a ledger, and there is none; set FLOWCTX_LEDGER_URL")
    check_past(known_time(ctx), ledger.now)
    of_reader, key = _reader(ctx, item, scheme, span)
    step = Step(name="read_input", function=_nothing, inputs={"found": item}, partitions=of_reader)
    try:
        item.step_name, item.mapping(of_reader)
    except PartitionError as exc:
        raise WorkflowError(f"input {item!r} cannot be read: {exc}") from exc
    inputs = _OneInput(
        ledger, step, replace(ctx, partition=key), store=store, await_made=await_made, unordered=unordered
    )
    found = inputs.load()
    if isinstance(found, StepResult):
        raise InputMissing(f"{found.error}; declare the input .optional() to read None")
    value: Mapping[str, Any] | Outputs | None = found["found"]
    return value


def _nothing(ctx: WorkflowContext, *, found: object) -> None:
    """Stand for the step that is not there."""


def _reader(
    ctx: WorkflowContext, item: Input, scheme: PartitionScheme | None, span: timedelta | None
) -> tuple[PartitionScheme | None, PartitionKey | None]:
    """Return the scheme and the key of whoever reads: those that are given, else as much of the input's as is known.

    Raises:
        ContextError: The context has a partition of another kind, or no business date.
    """
    theirs = item.workflow.partitions
    if scheme is not None:
        if ctx.partition is None:
            raise ContextError(f"input {item!r} is read with scheme=, and the context has no partition; leave it out")
        return scheme, scheme.check(ctx.partition)
    if theirs is None:
        return None, None
    values = dict(ctx.partition or {})
    others = [name for name in values if name not in theirs.dimensions]
    if others:
        raise ContextError(
            f"partition {ctx.partition} has {', '.join(others)}, which workflow {item.workflow.name!r} does not have: "
            "nothing says which dates are meant; pass the scheme of this partition: scheme="
        )
    dated = theirs.cadence_dimension
    if dated is not None and dated not in values:
        if ctx.as_of_date is None or isinstance(theirs.cadence, Hourly):
            raise ContextError(
                f"input {item!r} is read by {dated}, and the context has neither that nor a partition that says it; "
                "pass a context with a business date, or with a partition and its scheme="
            )
        values[dated] = ctx.as_of_date.isoformat()
    if not values:
        return None, None
    known = _only(theirs, frozenset(values))
    own = known.check(values)
    window = known.window(own)
    if span is not None and window is not None and span > window.end - window.start + _CLOCK_CHANGE:
        raise ContextError(
            f"partition {ctx.partition} is about {span}, and a date of workflow {item.workflow.name!r} is not; pass "
            "the scheme of this partition: scheme="
        )
    return known, own


@lru_cache(maxsize=32)
def _only(scheme: PartitionScheme, names: frozenset[str]) -> PartitionScheme:
    found = scheme.without(*(name for name in scheme.dimensions if name not in names))
    assert found is not None  # noqa: S101 - it has one of the names at least
    return found
