"""Record the steps of a run in a ledger: the same few calls on every engine.

A step that runs in a process of its own, as on an engine, does this (in :mod:`.step_attempt`)::

    ledger = run_ledger(ledger, strict=...)                                    # or one that only logs, or none
    recorder = begin_run(ledger, plan_run(ledger, workflow, ctx, request=...)) # begins the run, or finds it begun
    ctx, inherited = merge_upstream(recorder.context, envelopes, fetch, store=store)
    result = recorder.reused_result(step.name, store)  # complete already: do not run it
    if result is None:
        started_at = now
        outcome = execute(step, ctx, config, attempt=attempt)
        envelope = inherited.envelope(step.name, outcome.result, store=store, limit=MAX_INLINE_BYTES)
        recorder.record(step, outcome.result, envelope, attempts=attempt, started_at=started_at, seconds=...)
    else:
        envelope = inherited.envelope(step.name, result, store=store, limit=MAX_INLINE_BYTES)
    ...hand the envelope on, or keep it
    recorder.finish_if_done(step.name)                                         # unless the step is tried again

It records before it hands on: a step whose process dies between the two is complete, and is handed on when the engine
tries it again; one that dies before leaves no record, and runs again. :class:`~flowctx.CaptureRefused` from
``begin_run`` with ``on_captured="skip"`` means that the step is to be skipped; :class:`~flowctx.Superseded` from
anywhere means that the run goes on elsewhere and this process must stop: it is never swallowed, whatever the setting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from flowctx.core.data.plain import FrozenDict
from flowctx.core.data.secrets import without_secrets
from flowctx.core.durability.completeness import (
    CaptureSteps,
    end_status,
    leads_on,
    not_recorded_text,
    status_when_over,
    steps_of_capture,
    unrecorded_steps,
)
from flowctx.core.durability.endings import finish_run, recorded_reason
from flowctx.core.durability.leases import LEASES
from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.recorded import load_record
from flowctx.core.durability.records import Reads, RunRecord, RunStatus, StepRecord
from flowctx.core.durability.resumption import effective_updates, failure_of
from flowctx.core.durability.run_ledgers import NoLedger
from flowctx.core.errors import LedgerError, Superseded
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import Envelope
from flowctx.core.workflow.cascade import Order, followers
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step
from flowctx.core.workflow.result import StepResult, StepStatus

logger = logging.getLogger("flowctx")


class Recorder:
    """Records one run; made by :func:`~.run_plan.begin_run`."""

    def __init__(
        self,
        ledger: RunLedger,
        run: RunRecord,
        *,
        context: WorkflowContext | None = None,
        order: Order | None = None,
        resumes: bool = False,
        over: Callable[[], Mapping[str, str] | None] = lambda: None,
        lease: timedelta | None = None,
    ) -> None:
        self.ledger, self.run = ledger, run
        #: Whether anything is remembered of the run.
        self.recording = not isinstance(ledger, NoLedger)
        #: What the first step of this attempt sees; with a checkpoint, if it continues another.
        self.context = context or run.context
        #: Whether the caller wished that complete steps are not run again.
        self.resumes = resumes
        self._order = order or {}
        self._over = over
        #: Whether somebody had the step run again.
        self.asked_again = False
        #: Of a run of which somebody had steps run again: returns whether what is recorded of another may be older.
        self.is_outdated: Callable[[], bool] | None = None
        #: For how long the run is its own after a sign of life, and whether it has ended here.
        self._lease, self._ended = lease, False

    def reused_result(
        self, step: str, store: ArtifactStore | None = None, *, tried_since: int | None = None
    ) -> StepResult | None:
        """Return the result of a step that is complete in the run that this one continues, or in this one already.

        One that somebody had run again counts as complete if it is so since then.

        Args:
            step: The step's name.
            store: Where large outputs are.
            tried_since: If the engine has begun it before, in this run, the first try since somebody had it run. An
                engine that tries a step again which is complete has not heard so, because the process ended before it
                could say it.

        Raises:
            ArtifactError: Its output was put in the artifact store and is gone.
        """
        checkpoint = self.context.checkpoint
        resumes = self.resumes and not self.asked_again
        continued = resumes and checkpoint is not None and step in checkpoint.completed
        for record in self.ledger.steps(self.run.key, [step]) if continued or tried_since is not None else ():
            earlier = continued and record.run_attempt < self.run.attempt
            here = record.run_attempt == self.run.attempt and record.complete
            unheard = here and tried_since is not None and record.attempts >= tried_since
            if earlier or unheard:
                updates = FrozenDict(effective_updates(self.context, record))
                return replace(record.result(load_record(record, store)), context_updates=updates)
        return None

    def record(
        self,
        step: Step,
        result: StepResult,
        envelope: Envelope,
        *,
        attempts: int,
        started_at: datetime,
        seconds: float,
        config: Mapping[str, Any] | None = None,
        after: tuple[str, ...] | None = None,
        traceback: str | None = None,
        inputs: Reads | None = None,
    ) -> None:
        """Record how a step ended.

        Args:
            step: The step.
            result: Its result.
            envelope: What it hands on; the output is taken from it, because a large one is an artifact by then.
            attempts: How many times it was tried.
            started_at: When its first try began, since it was last told to run.
            seconds: How long all tries since then took, with the waits between them.
            config: Configuration on top of the step's own.
            after: The steps it directly followed, where the engine knows better than ``step.after``.
            traceback: Where it failed, if it raised.
            inputs: What it read of other partitions and workflows.

        Raises:
            Superseded: The run goes on elsewhere; stop.
            LedgerError: It could not be recorded, and the setting is strict.
        """
        if not self.recording:
            return
        record = StepRecord(
            step=step.name,
            status=result.status,
            after=step.after if after is None else after,
            output=envelope.output,
            updates=result.context_updates,
            quality=result.quality,
            error=result.error,
            traceback=traceback,
            category=result.category,
            config=without_secrets(step.configured(config) if config else step.config),
            version=step.code_version,
            inputs=inputs or {},
            attempts=attempts,
            started_at=started_at,
            seconds=seconds,
            run_attempt=self.run.attempt,
        )
        self.ledger.record(self.run, [record])

    def record_not_stored(self, step: str, result: StepResult, *, attempts: int, traceback: str | None) -> None:
        """Record that a step has failed that was complete: what it read, and how long it took, stays.

        Args:
            step: The step's name.
            result: How it ended.
            attempts: How many times it was tried.
            traceback: Where it failed.

        Raises:
            Superseded: The run goes on elsewhere; stop.
            LedgerError: It could not be recorded, and the setting is strict.
        """
        records = [
            replace(
                record,
                status=result.status,
                output=FrozenDict(),
                updates=FrozenDict(),
                error=result.error,
                category=result.category,
                traceback=traceback,
                attempts=attempts,
                run_attempt=self.run.attempt,
            )
            for record in self.ledger.steps(self.run.key, [step])
        ]
        if self.recording and records:
            self.ledger.record(self.run, records)

    def forget_made_before(self, step: str) -> None:
        """Forget what is recorded of a complete step that is made anew, and of those that are made of what it was.

        A step that failed keeps its record: it reads the same versions again.

        Args:
            step: The step, before it runs.

        Raises:
            Superseded: The run goes on elsewhere; stop.
            LedgerError: It could not be done, and the setting is strict.
        """
        if not self.recording:
            return
        after = followers(self._order, [step])
        statuses = self.ledger.statuses(self.run.key)
        recorded = [name for name in statuses if name in after]
        if recorded:
            names = ", ".join(recorded)
            logger.info(
                "run %s: step %s runs again, so what follows it does not count: %s", self.run.run_id, step, names
            )
        if statuses.get(step, StepStatus.FAILED) is not StepStatus.FAILED:
            self._forget([step, *after])
        elif recorded:
            self._forget(recorded)

    def _forget(self, steps: Collection[str]) -> None:
        self.ledger.forget(self.run, steps)
        self.run = replace(self.run, reads={n: some for n, some in self.run.reads.items() if n not in steps})

    def earlier_try(self, step: str) -> StepRecord | None:
        """Return what was recorded of a step that an engine tries again."""
        found = self.ledger.steps(self.run.key, [step])
        return next((record for record in found if record.run_attempt == self.run.attempt), None)

    def reads_before(self, step: str, attempt: int, *, first: int = 1) -> Reads:
        """Return the versions that a step is to read again: those of an earlier try, in this attempt or before it.

        A complete step that runs again because somebody asked for it reads anew, as do those that follow it.

        Args:
            step: The step.
            attempt: Which try this is.
            first: The first one since somebody last had the step run again.
        """
        earlier = self.earlier_try(step) if attempt > 1 else None
        if earlier is not None and earlier.complete and earlier.attempts < first:
            return {}
        known = earlier.inputs if earlier is not None else None
        return known or self.run.reads.get(step, {})

    def finish(self, status: RunStatus, error: str | None = None) -> None:
        """Say how the run ended; local runs know when, engines leave it to :meth:`finish_if_done`."""
        finish_run(self.ledger, self.run, status, error)
        self._ended = True

    def stay_alive(self) -> None:
        """Extend the lease of a run of which a step has ended, unless the run has ended with it."""
        if self.recording and self._lease is not None and not self._ended:
            self._renew(self._lease)

    def alive(self, lease: timedelta) -> AbstractContextManager[None]:
        """Keep the run's capture its own for as long as the block takes."""
        if not self.recording:
            return nullcontext()
        return LEASES.renewed(lambda: self._renew(lease), lease.total_seconds() / 3)

    def _renew(self, lease: timedelta) -> bool:
        try:
            self.ledger.renew(self.run, lease)
        except Superseded:
            return False  # the next record says so, in the thread that can stop the run
        except LedgerError as exc:
            logger.warning("run %s: the lease of its capture could not be renewed: %s", self.run.run_id, exc)
        return True

    def finish_if_done(self, step: str) -> None:
        """End the run if no step is left to run; on an engine nobody else knows.

        Args:
            step: The step that has just ended, or that was complete already: to begin it has opened the run again.

        Raises:
            Superseded: The run goes on elsewhere; stop.
            LedgerError: It could not be recorded, and the setting is strict.
        """
        if not self.recording or not self._order:
            return
        statuses = self.ledger.statuses(self.run.key)
        status = end_status(self._order, self.run.selected, statuses)
        # What follows a step that alone runs again is not recorded any more, and nothing is to come.
        leads = self.is_outdated is None and leads_on(self._order, step, statuses)
        failed = self._over() if status is RunStatus.RUNNING and not leads else None
        if failed is not None:
            status = status_when_over(self._order, statuses)
            died = next((name for name in failed if name not in statuses), None)
            if status is not RunStatus.FAILED and died is not None:
                self.finish(RunStatus.FAILED, failure_of(died, failed[died]))
                return
        if status is RunStatus.RUNNING or self._goes_on(status, step, statuses):
            return
        if status is RunStatus.PARTIAL:
            self._finish_with_other_runs(statuses)
        else:
            self.finish(status, recorded_reason(self.ledger, self.run, status, statuses))

    def _goes_on(self, status: RunStatus, step: str, statuses: Mapping[str, StepStatus]) -> bool:
        """Whether a run that may seem to be over goes on: somebody had steps run again, and others are yet to run.

        Of a run that failed, this step is well now.
        """
        if self.is_outdated is None:
            return False
        if status is RunStatus.FAILED:
            return statuses.get(step) is not StepStatus.FAILED and self._over() is None
        return self.is_outdated()

    def _finish_with_other_runs(self, statuses: Mapping[str, StepStatus]) -> None:
        """Take over what other runs of the same capture have done, as far as it counts, and end the run with that.

        A part takes it over, too: whatever goes on with it then goes on with all that is done.
        """
        found = steps_of_capture(self.ledger, self.run, self._order, own=statuses)
        if found.others:
            self.ledger.record(self.run, [replace(one, run_attempt=self.run.attempt) for one in found.others])
        together = found.statuses(statuses)
        status = status_when_over(self._order, together)
        why = recorded_reason(self.ledger, self.run, status, together)
        if status is RunStatus.PARTIAL:
            why = self._why_partial(found, together)
            if found.outdated:
                logger.warning("run %s: capture %s is not whole: %s", self.run.run_id, self.run.context.capture_id, why)
        self.finish(status, why)

    def _why_partial(self, found: CaptureSteps, together: Mapping[str, StepStatus]) -> str | None:
        """Return why the capture is not whole; a run that was to do a part only needs no reason."""
        if found.outdated or self.run.is_part:
            return found.why_not_whole
        return not_recorded_text(unrecorded_steps(self._order, together))
