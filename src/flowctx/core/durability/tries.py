"""What a try at a step needs and leaves, on an engine and in this process: configuration, inputs, its end, a record."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from flowctx.core.data.plain import FrozenDict
from flowctx.core.durability.reading import StepInputs
from flowctx.core.durability.recorder import Recorder
from flowctx.core.errors import FlowctxError, WorkflowError
from flowctx.core.execution.envelope import Envelope
from flowctx.core.execution.execute import Outcome, categorize
from flowctx.core.execution.tracebacks import traceback_text
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step
from flowctx.core.workflow.result import FAILED, StepResult, StepStatus
from flowctx.core.workflow.step_config import STEP_CONFIG

logger = logging.getLogger("flowctx")

#: Of a step that has not run yet.
NO_OUTCOME = Outcome(result=StepResult.ok())


def config_of(step: Step, ctx: WorkflowContext, own: Mapping[str, Any] | None = None) -> Mapping[str, Any] | None:
    """Return the configuration on top of a step's own: what the caller of the run sets comes last.

    Args:
        step: The step.
        ctx: The context that it sees.
        own: What its engine sets.
    """
    of_steps = ctx.metadata.get(STEP_CONFIG)
    of_run = of_steps.get(step.name) if of_steps else None
    return {**(own or {}), **of_run} if of_run else own


def failure_of(exc: FlowctxError) -> StepResult:
    """Return the failure of a step that something of ours has refused."""
    return StepResult.fail(f"{type(exc).__name__}: {exc}", category=categorize(exc))


def tolerated(step: Step, outcome: Outcome) -> Outcome:
    """Return the outcome of a step that has failed and is not tried again; of an optional one it is no failure."""
    if not step.optional:
        return outcome
    logger.warning("step %s failed and is optional: the run goes on", step.name)
    return outcome._replace(result=replace(outcome.result, status=StepStatus.TOLERATED, output=FrozenDict()))


def record_try(
    recorder: Recorder,
    step: Step,
    outcome: Outcome,
    envelope: Envelope,
    *,
    seen: WorkflowContext | None,
    after: tuple[str, ...] | None,
    attempts: int,
    started_at: datetime,
    seconds: float,
    config: Mapping[str, Any] | None,
    inputs: StepInputs | None,
) -> None:
    """Record how a step has ended.

    Args:
        recorder: Records the run.
        step: The step.
        outcome: Its outcome.
        envelope: What it hands on.
        seen: The context that it saw; ``None`` where it was not known.
        after: The steps that it directly followed; ``None`` where they were not known.
        attempts: How many times it was tried.
        started_at: When its first try began.
        seconds: How long all tries took, with the waits between them.
        config: Configuration on top of its own, of the engine and the run.
        inputs: What it read of other partitions.

    Raises:
        Superseded: The run goes on elsewhere; stop.
        LedgerError: It could not be recorded, and the setting is strict.
    """
    if not recorder.recording:
        return
    recorder.record(
        step,
        outcome.result,
        envelope,
        attempts=attempts,
        started_at=started_at,
        seconds=round(seconds, 6),  # as many digits as a duration has
        config=_recordable(step, config),
        after=after,
        traceback=traceback_of(step, outcome, seen, config),
        inputs=inputs.read if inputs is not None else None,
    )


def traceback_of(
    step: Step, outcome: Outcome, seen: WorkflowContext | None, config: Mapping[str, Any] | None
) -> str | None:
    """Return where a step has failed, without secrets; ``None`` if it has not failed, or has raised nothing.

    Args:
        step: The step.
        outcome: Its outcome.
        seen: The context that it saw, if it is known.
        config: Configuration on top of its own.
    """
    if outcome.exception is None or outcome.result.status not in (FAILED, StepStatus.TOLERATED):
        return None
    data = ({"partition": seen.partition}, seen.params) if seen is not None else ()
    return traceback_text(outcome.exception, *data, step.configured(_recordable(step, config)))


def _recordable(step: Step, config: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the configuration; ``None`` if it cannot be: the failure says so, and is recorded without it."""
    try:
        step.configured(config)
    except WorkflowError:
        return None
    return config
