"""One attempt at a step on an engine, from the run's context to what is handed on; recorded, if there is a ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from flowctx.core.clock import Clock, SystemClock
from flowctx.core.data.plain import FrozenDict
from flowctx.core.durability.reading import AwaitMade, StepInputs, Unordered
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import Reads
from flowctx.core.durability.tries import NO_OUTCOME, config_of, failure_of, record_try, tolerated, traceback_of
from flowctx.core.errors import CaptureRefused, FlowctxError, LedgerError, Superseded, error_text
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import MAX_INLINE_BYTES, Envelope
from flowctx.core.execution.execute import Outcome, categorize, execute
from flowctx.core.execution.secretless import secretless
from flowctx.core.execution.upstream import Upstream
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step
from flowctx.core.workflow.result import FAILED, StepResult, StepStatus

logger = logging.getLogger("flowctx")


#: A step that took no longer has used little of a lease on an engine: to extend it would cost each step a write.
_SHORT = timedelta(minutes=1)


@dataclass(slots=True)
class StepInput:
    """What a step has from those before it."""

    #: The context that it sees.
    ctx: WorkflowContext
    #: What it hands on with its own.
    inherited: Upstream
    #: The steps that it directly follows.
    after: tuple[str, ...]
    #: Why it is skipped, if a step before it was and the engine does not see to that itself.
    skipped: str | None = None


@dataclass(slots=True)
class AttemptResult:
    """How an attempt ended."""

    #: The context that the step saw, or would have seen; ``None`` where not even the run could begin.
    ctx: WorkflowContext | None
    #: Its outcome, or that of the run that this one continues.
    outcome: Outcome
    #: What is handed on.
    envelope: Envelope
    #: Whether it was complete in the run that this one continues, and has not run.
    carried: bool = False


@dataclass(kw_only=True, slots=True)
class StepAttempt:
    """What an engine knows of an attempt before it is made."""

    #: The step.
    step: Step
    #: Begins to record the run, or finds it begun.
    open: Callable[[], Recorder]
    #: Returns what the steps before handed on, given the run's context.
    receive: Callable[[WorkflowContext], StepInput]
    #: Whether a failure will be tried again; ``None``: as the step's own policy says.
    retried: Callable[[Outcome], bool] | None = None
    #: Configuration on top of the step's own.
    config: Mapping[str, Any] | None = None
    #: Which attempt this is, from 1.
    number: int = 1
    #: The first attempt since somebody last had the step run again, where the engine counts on from those before.
    first_number: int = 1
    #: Where large outputs go.
    store: ArtifactStore | None = None
    #: Largest output in bytes of JSON that goes elsewhere; ``None``: any.
    limit: int | None = MAX_INLINE_BYTES
    #: Exceptions that belong to the engine and pass through.
    reraise: tuple[type[BaseException], ...] = ()
    #: Stores what a step that did not fail hands on, where nobody else does; if it raises, the step has failed. It is
    #: called after that is recorded, and before the run may end.
    keep: Callable[[AttemptResult], None] = lambda made: None
    #: Whether a run whose partition is captured already is skipped.
    skips_captured: bool = False
    #: Whether it runs although it was complete in this run, or in the one that it continues: somebody asked for just
    #: that. It does not count then until it is done, nor does what follows it, until that has run again too. Once it is
    #: complete since the first attempt after that, it is done.
    runs_anyway: bool = False
    #: Whether the engine may still be to make a partition that the step reads.
    unordered: Unordered = lambda item, key, version: None
    #: Waits for what the engine is still to make, in the engine's own way.
    await_made: AwaitMade = lambda item, keys: {}
    #: The time.
    clock: Clock = field(default_factory=SystemClock)
    #: How long all attempts took, and the waits between them.
    duration: timedelta = field(default=timedelta(0), init=False)
    _received: StepInput | None = field(default=None, init=False)
    _inputs: StepInputs | None = field(default=None, init=False)

    def attempt(self) -> AttemptResult:
        """Make the attempt; never raises for what the step does, nor for what the ledger refuses."""
        started_at = self.clock.now()
        try:
            recorder = self.open()
        except CaptureRefused as exc:
            result = StepResult.skip(str(exc)) if self.skips_captured else failure_of(exc)
            return self._ended(None, Outcome(result=result, exception=exc))
        except FlowctxError as exc:
            return self._ended(None, Outcome(result=failure_of(exc), exception=exc))
        return self._recorded(recorder, self._made(recorder), started_at)

    def _retried(self, outcome: Outcome) -> bool:
        """Return whether a step that ended so is tried again."""
        if outcome.result.status is not FAILED:
            return False
        if self.retried is not None:
            return self.retried(outcome)
        return outcome.result.retryable and self.number <= self.step.retry.retries

    def _made(self, recorder: Recorder) -> AttemptResult:
        outcome = NO_OUTCOME
        try:
            received = self._received = self.receive(recorder.context)
            recorder.asked_again = self.runs_anyway
            tried_since = self.first_number if self.number > self.first_number else None
            carried = None
            if recorder.resumes or tried_since is not None:
                carried = recorder.reused_result(self.step.name, self.store, tried_since=tried_since)
            if carried is not None:
                logger.info("step %s is complete already", self.step.name)
                outcome = Outcome(result=carried)
            elif received.skipped is not None:
                outcome = Outcome(result=StepResult.skip(received.skipped))
            else:
                if self.runs_anyway:
                    recorder.forget_made_before(self.step.name)
                outcome = self._executed(recorder, received.ctx)
                if outcome.result.status is FAILED:
                    outcome = self._tolerated(outcome)
            # What is complete is handed on whatever its size: where there is no store, the ledger had it, too.
            limit = None if carried is not None and self.store is None else self.limit
            envelope = received.inherited.envelope(self.step.name, outcome.result, store=self.store, limit=limit)
        except FlowctxError as exc:
            if outcome.result.status is not FAILED:
                outcome = Outcome(result=failure_of(exc), exception=exc)
                if self._received is not None and not isinstance(exc, (LedgerError, Superseded)):
                    outcome = self._tolerated(outcome)
            # A step that failed in its own words keeps them, without the output that could not be handed on.
            return self._ended(recorder.context, outcome)
        return AttemptResult(received.ctx, outcome, envelope, carried is not None)

    def _tolerated(self, outcome: Outcome) -> Outcome:
        """Return the outcome; a failure of an optional step that is not tried again does not count as one."""
        return outcome if self._retried(outcome) else tolerated(self.step, outcome)

    def _executed(self, recorder: Recorder, ctx: WorkflowContext) -> Outcome:
        if self.step.inputs:
            again: Reads = self._inputs.read if self._inputs is not None else {}
            again = again or recorder.reads_before(self.step.name, self.number, first=self.first_number)
            self._inputs = StepInputs(
                recorder.ledger,
                self.step,
                ctx,
                store=self.store,
                unordered=self.unordered,
                await_made=self.await_made,
                again=again,
            )
        return execute(
            self.step,
            ctx,
            config_of(self.step, ctx, self.config),
            attempt=self.number,
            store=self.store,
            reraise=self.reraise,
            inputs=self._inputs.load if self._inputs is not None else None,
        )

    def _ended(self, ctx: WorkflowContext | None, outcome: Outcome) -> AttemptResult:
        received = self._received
        inherited = received.inherited if received else Upstream()
        envelope = inherited.envelope(self.step.name, replace(outcome.result, output=FrozenDict()))
        return AttemptResult(ctx=received.ctx if received else ctx, outcome=outcome, envelope=envelope)

    def _recorded(self, recorder: Recorder, made: AttemptResult, started_at: datetime) -> AttemptResult:
        begun_at, result = started_at, made.outcome.result
        try:
            if not made.carried:
                # What lies before a clear was idle: nobody tried.
                earlier = recorder.earlier_try(self.step.name) if self.number > self.first_number else None
                started_at = earlier.started_at if earlier else started_at
                self.duration = self.clock.now() - started_at
                self._record(recorder, made, started_at)
            made = self._kept(recorder, made, started_at)
            result = made.outcome.result
            if not self._retried(made.outcome):
                recorder.finish_if_done(self.step.name)
            if self.clock.now() - begun_at > _SHORT:
                recorder.stay_alive()
        except FlowctxError as exc:
            if result.status is FAILED and not isinstance(exc, Superseded):
                logger.warning("step %s: its failure is not recorded: %s", self.step.name, exc)
                return made
            return self._ended(made.ctx, Outcome(result=failure_of(exc), exception=exc))
        return made

    def _kept(self, recorder: Recorder, made: AttemptResult, started_at: datetime) -> AttemptResult:
        """Return the attempt; one whose output cannot be stored has failed, and counts as complete if it is retried."""
        status = made.outcome.result.status
        if status is FAILED:
            return made
        try:
            self.keep(made)
        except Exception as exc:  # noqa: BLE001  # storage, or code of the user's
            what = "its output" if status is StepStatus.OK else f"that it was {status}"
            why = f"{what} could not be stored: {error_text(exc)}"
            result = StepResult.fail(why, category=categorize(exc), quality=made.outcome.result.quality)
            error = secretless(exc, frozenset())
            failed = self._ended(made.ctx, Outcome(result=result, exception=error))
            if self._retried(failed.outcome):
                return failed
            if made.carried:
                traceback = traceback_of(self.step, failed.outcome, *self._seen())
                recorder.record_not_stored(self.step.name, result, attempts=self.number, traceback=traceback)
            else:
                self._record(recorder, failed, started_at)
            return failed
        return made

    def _record(self, recorder: Recorder, made: AttemptResult, started_at: datetime) -> None:
        seen, config = self._seen()
        record_try(
            recorder,
            self.step,
            made.outcome,
            made.envelope,
            seen=seen,
            after=self._received.after if self._received else None,
            attempts=self.number,
            started_at=started_at,
            seconds=self.duration.total_seconds(),
            config=config,
            inputs=self._inputs,
        )

    def _seen(self) -> tuple[WorkflowContext | None, Mapping[str, Any] | None]:
        """Return the context that the step saw, if it is known, and its configuration on top of its own."""
        if self._received is None:
            return None, self.config
        ctx = self._received.ctx
        return ctx, config_of(self.step, ctx, self.config)
