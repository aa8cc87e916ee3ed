"""One run in progress: the steps in their order, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Any

from flowctx.artifacts import MemoryArtifactStore, artifact_store
from flowctx.core.clock import Clock
from flowctx.core.data.plain import ArtifactRef
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import RunStatus, StepRecord
from flowctx.core.durability.resumption import envelopes, reason_of
from flowctx.core.durability.run_ledgers import ledger_behind
from flowctx.core.durability.run_plan import LOCAL_LEASE
from flowctx.core.durability.step_attempt import StepAttempt, StepInput
from flowctx.core.errors import LedgerError, LedgerUnavailable, Superseded, error_text
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import MAX_INLINE_BYTES, Envelope, final_context, load_output
from flowctx.core.execution.upstream import merge_upstream, nearest_complete
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step, Workflow
from flowctx.core.workflow.result import FAILED, OK, StepStatus
from flowctx.core.workflow.run_result import RunResult, StepRun

_step = attrgetter("step")
#: What ends a process from within a step.
_ENDINGS: Mapping[type[BaseException], str] = {
    KeyboardInterrupt: "interrupted",
    SystemExit: "a step has ended the process (sys.exit); return a StepResult instead",
    GeneratorExit: "a step has raised GeneratorExit; return a StepResult instead",
}


class Progress:
    """A run in progress; made for a recorder that has begun it, or for one that is complete in a ledger."""

    def __init__(
        self, workflow: Workflow, recorder: Recorder, clock: Clock, *, complete_in: Ledger | None = None
    ) -> None:
        self.workflow, self.recorder, self.clock = workflow, recorder, clock
        self.ctx = recorder.context
        self.ledger = complete_in or ledger_behind(recorder.ledger)
        self.store: ArtifactStore | None = None
        self.entries: dict[str, StepRun] = {}
        #: What the steps handed on; one that failed hands on nothing.
        self.envelopes: dict[str, Envelope] = {}
        #: Outputs that are in this process already.
        self.outputs: dict[str, Mapping[str, Any]] = {}

    def load_completed(self, records: Mapping[str, StepRecord]) -> Progress:
        """Take over what the steps recorded that are not run again."""
        self.envelopes = envelopes(self.ctx, records.values())
        self.entries = {name: _entry(record) for name, record in records.items()}
        return self

    def to_the_end(self) -> RunResult:
        """Run every step that is left, and say what happened."""
        with self.recorder.alive(LOCAL_LEASE):
            try:
                self.store = artifact_store(self.ledger) or (MemoryArtifactStore() if self.ledger is None else None)
                self._run_steps()
            except (Superseded, LedgerUnavailable):
                raise  # it is another's, or nobody can be told: its lease runs out
            except BaseException as exc:
                why = _ENDINGS.get(type(exc), error_text(exc))
                with suppress(LedgerError):
                    self.recorder.finish(RunStatus.FAILED, why)
                raise
            if self.recorder.recording:
                ended = self._ended(self.ctx)
                self.recorder.finish(RunStatus(ended.status), _why(ended))
        return self.result()  # the run is over, also where an output can no longer be read

    def _run_steps(self) -> None:
        entries = self.entries
        all_ok = all(entry.status is OK for entry in entries.values())
        for step in self.workflow.steps.values():
            if step.name not in entries:
                left_out = None if all_ok else self._left_out(step)
                entry = entries[step.name] = left_out or self._attempt(step)
                all_ok = all_ok and entry.status is OK

    def _left_out(self, step: Step) -> StepRun | None:
        return StepRun.not_started(step.name, [self.entries[name] for name in step.after], step.run_if)

    def result(self) -> RunResult:
        """Return what happened, once every step has an entry."""
        return self._ended(self._final_context())

    def _ended(self, ctx: WorkflowContext) -> RunResult:
        entries = [self.entries[name] for name in self.workflow.steps]
        return RunResult.of(self.workflow.name, ctx, entries)

    def _attempt(self, step: Step) -> StepRun:
        attempt = StepAttempt(
            step=step,
            open=self._begun,
            receive=partial(self._receive, step),
            store=self.store,
            limit=MAX_INLINE_BYTES if self.recorder.recording else None,
            ends_run=False,
            clock=self.clock,
        )
        made = attempt.to_the_end()
        result, envelope = made.outcome.result, made.envelope
        if result.status is not FAILED:
            self.envelopes[step.name] = envelope
        if result.status is OK and not isinstance(envelope.output, ArtifactRef):
            self.outputs[step.name] = envelope.output
        return StepRun.of(
            step.name, result, attempts=attempt.number, duration=attempt.duration, exception=made.outcome.exception
        )

    def _begun(self) -> Recorder:
        return self.recorder

    def _receive(self, step: Step, ctx: WorkflowContext) -> StepInput:
        before = nearest_complete(self.workflow, step, self.envelopes.get)
        ctx, inherited = merge_upstream(ctx, before, self._fetch, store=self.store, at_hand=self.outputs)
        return StepInput(ctx, inherited, tuple(map(_step, before)))

    def _fetch(self, name: str, at: str | None) -> Mapping[str, Any]:
        return load_output(self.envelopes[name], self.store)

    def _final_context(self) -> WorkflowContext:
        made = [self.envelopes[name] for name in self.workflow.steps if name in self.envelopes]
        return final_context(self.ctx, made, self._load, self.outputs)

    def _load(self, envelope: Envelope) -> Mapping[str, Any]:
        return load_output(envelope, self.store)


def _entry(record: StepRecord) -> StepRun:
    return StepRun.of(record.step, record, attempts=record.attempts, duration=timedelta(seconds=record.seconds))


def _why(result: RunResult) -> str | None:
    """Return why a run failed or was skipped, or which optional step of it failed."""
    telling = StepStatus.TOLERATED if result.status is OK else result.status
    first = next((entry for entry in result.steps if entry.status is telling), None)
    return None if first is None else reason_of(RunStatus(result.status), first.name, first.error)
