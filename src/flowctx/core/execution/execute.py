"""Run ONE step: every engine goes through here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from flowctx.core.data.handles import LEAVES, may_hold_handles
from flowctx.core.errors import (
    ArtifactError,
    CalendarError,
    CaptureRefused,
    ContextError,
    InputMissing,
    MissingKey,
    OutputTooLarge,
    PartitionError,
    PayloadError,
    PlainDataError,
    Superseded,
    UnknownRun,
    WorkflowError,
)
from flowctx.core.execution import forks
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.keeping import keep_tables
from flowctx.core.execution.passing import is_time_up, passes_through
from flowctx.core.execution.secretless import secretless
from flowctx.core.execution.tracebacks import traceback_text
from flowctx.core.masking import mask_text, secret_values
from flowctx.core.printable import printable, text_of, well_formed
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import NO_INPUTS, Step
from flowctx.core.workflow.result import OK, ErrorCategory, StepResult, StepStatus, as_result

logger = logging.getLogger("flowctx")
# A library says nothing until its user configures logging.
logger.addHandler(logging.NullHandler())

# By built-in type; the first match counts. OSError's subclasses come before whatever is more general.
_BY_TYPE: tuple[tuple[type[BaseException], ErrorCategory], ...] = (
    (TimeoutError, ErrorCategory.TIMEOUT),
    (ConnectionError, ErrorCategory.TRANSIENT),
    (InterruptedError, ErrorCategory.TRANSIENT),
    (BlockingIOError, ErrorCategory.TRANSIENT),
    (FileNotFoundError, ErrorCategory.DEPENDENCY),
    (InputMissing, ErrorCategory.DEPENDENCY),
    (PermissionError, ErrorCategory.CONFIGURATION),
    (ImportError, ErrorCategory.CONFIGURATION),
    (UnicodeEncodeError, ErrorCategory.CONFIGURATION),  # text that is none, which pandas refuses itself
    (PlainDataError, ErrorCategory.CONFIGURATION),
    (PayloadError, ErrorCategory.CONFIGURATION),
    (WorkflowError, ErrorCategory.CONFIGURATION),
    (ContextError, ErrorCategory.CONFIGURATION),
    (PartitionError, ErrorCategory.CONFIGURATION),
    (CalendarError, ErrorCategory.CONFIGURATION),
    (MissingKey, ErrorCategory.CONFIGURATION),
    (OutputTooLarge, ErrorCategory.CONFIGURATION),
    (ArtifactError, ErrorCategory.DEPENDENCY),
    (UnknownRun, ErrorCategory.CONFIGURATION),
    (Superseded, ErrorCategory.CONFIGURATION),
    (CaptureRefused, ErrorCategory.DEPENDENCY),
)
# By the full name of a class among the exception's bases, so that no library has to be imported to be known.
_BY_NAME = {
    "requests.exceptions.Timeout": ErrorCategory.TIMEOUT,
    "requests.exceptions.ConnectionError": ErrorCategory.TRANSIENT,
    "httpx.TimeoutException": ErrorCategory.TIMEOUT,
    "httpx.TransportError": ErrorCategory.TRANSIENT,
    "urllib3.exceptions.TimeoutError": ErrorCategory.TIMEOUT,
    "urllib3.exceptions.HTTPError": ErrorCategory.TRANSIENT,
    "socket.gaierror": ErrorCategory.TRANSIENT,
    "sqlalchemy.exc.TimeoutError": ErrorCategory.TIMEOUT,
    "sqlalchemy.exc.OperationalError": ErrorCategory.DEPENDENCY,
    "sqlalchemy.exc.InterfaceError": ErrorCategory.DEPENDENCY,
    "psycopg.OperationalError": ErrorCategory.DEPENDENCY,
    "psycopg2.OperationalError": ErrorCategory.DEPENDENCY,
}


class Outcome(NamedTuple):
    """How one attempt at a step ended."""

    #: What the step returned, or the failure that its exception stands for.
    result: StepResult
    #: The exception, if it raised one.
    exception: BaseException | None = None


#: Makes an outcome of all its values; to call the class would call Python once more, and each step makes one.
_outcome: Callable[[tuple[StepResult, BaseException | None]], Outcome] = partial(tuple.__new__, Outcome)


def categorize(exc: BaseException) -> ErrorCategory:
    """Return the category of an exception: that of its type, or of the one it was raised from.

    Example:
        >>> categorize(ConnectionResetError())
        <ErrorCategory.TRANSIENT: 'TRANSIENT'>
    """
    seen: set[int] = set()
    error: BaseException | None = exc
    while error is not None and id(error) not in seen:  # of a ring of causes, each is looked at once
        category = _category_of(error)
        if category is not None:
            return category
        seen.add(id(error))
        error = error.__cause__
    return ErrorCategory.INTERNAL


def _category_of(exc: BaseException) -> ErrorCategory | None:
    if is_time_up(exc):
        return ErrorCategory.TIMEOUT
    for cls in type(exc).__mro__:
        category = _BY_NAME.get(f"{cls.__module__}.{cls.__qualname__}")
        if category is not None:
            return category
    return next((category for kind, category in _BY_TYPE if isinstance(exc, kind)), None)


def execute(
    step: Step,
    ctx: WorkflowContext,
    config: Mapping[str, Any] | None = None,
    *,
    attempt: int = 1,
    store: ArtifactStore | None = None,
    reraise: tuple[type[BaseException], ...] = (),
    inputs: Callable[[], Mapping[str, Any] | StepResult] | None = None,
    logs_ok: bool | None = None,
) -> Outcome:
    """Run one attempt at one step and say how it ended; never raises for what the step does.

    Args:
        step: The step.
        ctx: The context it sees.
        config: Configuration on top of the step's own.
        attempt: Which attempt this is, from 1; for the log.
        store: Where the tables and files of its output and updates go; where there is none, small ones travel inside.
        reraise: Exceptions that belong to the engine and pass through.
        inputs: Returns what it reads of other partitions, by name, or how it ends without having run; ``None``: it
            reads nothing.
        logs_ok: Whether the log takes what is ok; ``None``: ask it.

    Returns:
        The result, with exceptions and wrong return values turned into failures. Only the process that called the
        step returns: of one that forks, a copy that comes out of it ends.
    """
    started, exception, copies = perf_counter(), None, forks.copies
    try:
        configured = step.configured(config) if config else step.config
        if step.when is not None and not step.when(ctx):
            returned: object = StepResult.skip(f"the condition of step {step.name!r} does not hold")
        elif inputs is None:
            returned = step.call(ctx, configured, NO_INPUTS)
        else:
            returned = found if isinstance(found := inputs(), StepResult) else step.call(ctx, configured, found)
        if forks.copies != copies:
            forks.end_copy(step.name, None)
        result = returned if isinstance(returned, StepResult) else as_result(returned)
        if type(result.output) not in LEAVES and may_hold_handles(result.output):
            kept = keep_tables(result.output, store, step.name)
            result = result if kept is result.output else replace(result, output=kept)
        if type(result.context_updates) not in LEAVES and may_hold_handles(result.context_updates):
            result = replace(result, context_updates=keep_tables(result.context_updates, store, step.name))
    except BaseException as exc:  # whatever a step raises is its failure, the panic of a library included
        if forks.copies != copies:
            forks.end_copy(step.name, exc)
        if isinstance(exc, reraise) or passes_through(exc):
            raise
        result, exception = _failure(step, exc), exc
    if result.error is not None or (result.quality is not None and result.quality.reasons):
        result, exception = _without_secrets(result, exception, secret_values(*_data(step, ctx, config)))
    logs_ok = logger.isEnabledFor(logging.INFO) if logs_ok is None else logs_ok
    if logs_ok or result.status is not OK or (result.quality is not None and not result.quality.passed):
        _log(step, result, exception, _log_fields(step, ctx, attempt, started), _data(step, ctx, config))
    return _outcome((result, exception))


def _data(step: Step, ctx: WorkflowContext, config: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], ...]:
    """Return all that a step has been given, in which secrets may be."""
    return {"partition": ctx.partition}, ctx.params, step.config, config or {}


def _without_secrets(
    result: StepResult, exception: BaseException | None, secrets: frozenset[str]
) -> tuple[StepResult, BaseException | None]:
    return _masked(result, secrets), None if exception is None else secretless(exception, secrets)


def _masked(result: StepResult, secrets: frozenset[str]) -> StepResult:
    """Return a result whose reasons have no secrets, and no characters that a database refuses."""
    error, quality = result.error, result.quality
    if error is not None:
        error = well_formed(mask_text(error, secrets))
    if quality is not None:
        reasons = tuple(well_formed(mask_text(reason, secrets)) for reason in quality.reasons)
        quality = replace(quality, reasons=reasons)
    return replace(result, error=error, quality=quality)


def _log_fields(step: Step, ctx: WorkflowContext, attempt: int, started: float) -> dict[str, Any]:
    return {
        "run_id": ctx.run_id,
        "batch_id": ctx.batch_id,
        "step": step.name,
        "partition": str(ctx.partition) if ctx.partition else None,
        "attempt": attempt,
        "seconds": perf_counter() - started,
    }


def _failure(step: Step, exc: BaseException) -> StepResult:
    text = text_of(exc)
    ours = isinstance(exc, PlainDataError)
    shown = f"step {step.name!r}: {text}" if ours else f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    return StepResult.fail(shown, category=categorize(exc))


def _log(
    step: Step,
    result: StepResult,
    exception: BaseException | None,
    log_fields: Mapping[str, Any],
    data: tuple[Mapping[str, Any], ...],
) -> None:
    extra = {**log_fields, "status": str(result.status)}
    if result.status is StepStatus.FAILED:
        trace = f"\n{printable(traceback_text(exception, *data), lines=True)}" if exception is not None else ""
        logger.warning(
            "step %s failed (%s): %s", step.name, result.category, printable(result.error or "") + trace, extra=extra
        )
    elif result.status is StepStatus.SKIPPED:
        logger.info("step %s skipped: %s", step.name, result.error, extra=extra)
    else:
        logger.info("step %s ok in %.3f s", step.name, extra["seconds"], extra=extra)
    if result.quality is not None and not result.quality.passed:
        why = printable("; ".join(result.quality.reasons))
        logger.warning("step %s: quality not passed: %s", step.name, why, extra=extra)
