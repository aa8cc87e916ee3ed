"""One run in progress: the steps in their order, one after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from flowctx.artifacts import artifact_store
from flowctx.core.clock import Clock
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import RunStatus, StepRecord
from flowctx.core.durability.resumption import envelopes, failure_of
from flowctx.core.errors import FlowctxError, LedgerError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import (
    MAX_INLINE_BYTES,
    Envelope,
    Upstream,
    final_context,
    load_output,
    merge_upstream,
)
from flowctx.core.execution.execute import Outcome, categorize, execute
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step, Workflow
from flowctx.core.workflow.result import StepResult, StepStatus
from flowctx.core.workflow.run_result import RunResult, StepRun


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """Return the time now, in UTC."""
        return datetime.now(UTC)

    def sleep(self, duration: timedelta) -> None:
        """Wait."""
        time.sleep(duration.total_seconds())


class Progress:
    """A run in progress; made for a recorder that has begun it."""

    def __init__(self, workflow: Workflow, recorder: Recorder, clock: Clock) -> None:
        self.workflow, self.recorder, self.clock = workflow, recorder, clock
        self.ctx = recorder.context
        self.store: ArtifactStore | None = artifact_store()
        self.entries: dict[str, StepRun] = {}
        self.envelopes: dict[str, Envelope] = {}

    def load_completed(self, records: Mapping[str, StepRecord]) -> Progress:
        """Take over what the steps recorded that are not run again."""
        self.envelopes = envelopes(self.ctx, records.values())
        self.entries = {name: _entry(record) for name, record in records.items()}
        return self

    def to_the_end(self) -> RunResult:
        """Run every step that is left, and say what happened."""
        with self.recorder.alive():
            try:
                for step in self.workflow.steps.values():
                    if step.name not in self.entries:
                        before = [self.entries[name] for name in step.after]
                        self.entries[step.name] = StepRun.not_started(step.name, before) or self._attempt(step)
            except KeyboardInterrupt:
                with suppress(LedgerError):
                    self.recorder.finish(RunStatus.FAILED, "interrupted")
                raise
            result = self.result()
            self.recorder.finish(RunStatus(result.status), _why(result))
        return result

    def result(self) -> RunResult:
        """Return what happened, once every step has an entry."""
        entries = [self.entries[name] for name in self.workflow.steps]
        return RunResult.of(self.workflow.name, self._final_context(), entries)

    def _attempt(self, step: Step) -> StepRun:
        started = self.clock.now()
        attempts = 0
        while True:
            attempts += 1
            outcome, inherited = self._once(step, attempts)
            result = outcome.result
            if not result.retryable or attempts > step.retry.retries:
                break
            self.clock.sleep(step.retry.wait(attempts))
        result, recorded = self._stow(step, result, inherited)
        duration = self.clock.now() - started
        self.recorder.record(
            step, result, recorded, attempts=attempts, started_at=started, seconds=duration.total_seconds(), final=False
        )
        if result.status is StepStatus.OK:
            self.envelopes[step.name] = inherited.envelope(step.name, result)
        return StepRun.of(step.name, result, attempts=attempts, duration=duration)

    def _once(self, step: Step, attempt: int) -> tuple[Outcome, Upstream]:
        try:
            ctx, inherited = merge_upstream(
                self.ctx, [self.envelopes[name] for name in step.after], self._fetch, store=self.store
            )
        except FlowctxError as exc:
            return Outcome(result=_failure(exc), exception=exc), Upstream()
        return execute(step, ctx, attempt=attempt), inherited

    def _stow(self, step: Step, result: StepResult, inherited: Upstream) -> tuple[StepResult, Envelope]:
        """Return what is recorded of a step: a large output goes to the artifact store, if there is one."""
        if self.store is None or self.recorder.ledger is None:
            return result, inherited.envelope(step.name, result)
        try:
            return result, inherited.envelope(step.name, result, store=self.store, limit=MAX_INLINE_BYTES)
        except FlowctxError as exc:
            failure = _failure(exc)
            return failure, inherited.envelope(step.name, failure)

    def _fetch(self, name: str, at: str | None) -> Mapping[str, Any]:
        return load_output(self.envelopes[name], self.store)

    def _final_context(self) -> WorkflowContext:
        made = [self.envelopes[name] for name in self.workflow.steps if name in self.envelopes]
        return final_context(self.ctx, made, lambda envelope: load_output(envelope, self.store))


def _entry(record: StepRecord) -> StepRun:
    return StepRun.of(record.step, record, attempts=record.attempts, duration=timedelta(seconds=record.seconds))


def _why(result: RunResult) -> str | None:
    failed = next((entry for entry in result.steps if entry.status is StepStatus.FAILED), None)
    return failure_of(failed.name, failed.error) if failed else None


def _failure(exc: FlowctxError) -> StepResult:
    return StepResult.fail(f"{type(exc).__name__}: {exc}", category=categorize(exc))
