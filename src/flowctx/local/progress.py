"""One run in progress: the steps in their order, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

from flowctx.artifacts import MemoryArtifactStore, artifact_store
from flowctx.core.clock import Clock, stopwatch
from flowctx.core.data.plain import EMPTY, ArtifactRef
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.reading import StepInputs
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import Reads, RunStatus, StepRecord
from flowctx.core.durability.resumption import envelopes, reason_of
from flowctx.core.durability.run_ledgers import NO_LEDGER, ledger_behind
from flowctx.core.durability.run_plan import LOCAL_LEASE
from flowctx.core.durability.tries import NO_OUTCOME, config_of, failure_of, record_try, tolerated
from flowctx.core.errors import FlowctxError, LedgerError, LedgerUnavailable, Superseded, error_text
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import MAX_INLINE_BYTES, Envelope, final_context, load_output
from flowctx.core.execution.execute import Outcome, execute
from flowctx.core.execution.upstream import NOTHING, Upstream, merge_upstream, nearest_complete
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step, Workflow
from flowctx.core.workflow.result import FAILED, OK, StepResult, StepStatus
from flowctx.core.workflow.run_result import RunResult, StepRun
from flowctx.core.workflow.step_config import STEP_CONFIG

logger = logging.getLogger("flowctx")

_step = attrgetter("step")
#: What ends a process from within a step.
_ENDINGS: Mapping[type[BaseException], str] = {
    KeyboardInterrupt: "interrupted",
    SystemExit: "a step has ended the process (sys.exit); return a StepResult instead",
    GeneratorExit: "a step has raised GeneratorExit; return a StepResult instead",
}


class Progress:
    """A run in progress: with a recorder that has begun it, of a run complete in a ledger, or of one in none."""

    def __init__(
        self,
        workflow: Workflow,
        ctx: WorkflowContext,
        clock: Clock,
        *,
        recorder: Recorder | None = None,
        complete_in: Ledger | None = None,
    ) -> None:
        self.workflow, self.steps = workflow, workflow.steps
        self.ctx, self.clock, self.recorder = ctx, clock, recorder
        self.ledger = complete_in if recorder is None else ledger_behind(recorder.ledger)
        self.seconds = stopwatch(clock)
        #: Whether the log takes that a step is ok, when the run begins.
        self.logs_ok = logger.isEnabledFor(logging.INFO)
        self.store: ArtifactStore | None = None
        self.entries: dict[str, StepRun] = {}
        #: How steps ended that have no entry yet: their result, how often they were tried, the seconds that it took,
        #: and what they raised. Entries are made one after the other, which takes a third of the time.
        self.ends: dict[str, tuple[StepResult, int, float, BaseException | None]] = {}
        #: What the steps handed on; one that failed hands on nothing.
        self.envelopes: dict[str, Envelope] = {}
        #: Outputs that are in this process already.
        self.outputs: dict[str, Mapping[str, Any]] = {}
        #: What the last step had of those before it.
        self.last: Upstream | None = None
        #: What the step under way has read of other partitions.
        self.inputs: StepInputs | None = None
        #: Largest output in bytes of JSON that goes elsewhere; ``None``: any, where nothing is recorded.
        self.limit = None if recorder is None else MAX_INLINE_BYTES
        #: What the caller of the run has set of the configuration of steps.
        self.of_run = self.ctx.metadata.get(STEP_CONFIG)

    def load_completed(self, records: Mapping[str, StepRecord]) -> Progress:
        """Take over what the steps recorded that are not run again."""
        self.envelopes = envelopes(self.ctx, records.values())
        self.entries = {name: _entry(record) for name, record in records.items()}
        return self

    def to_the_end(self) -> RunResult:
        """Run every step that is left, and say what happened."""
        recorder = self.recorder
        if recorder is None:
            self._run_steps()
            return self.result()
        with recorder.alive(LOCAL_LEASE):
            try:
                self._run_steps()
            except (Superseded, LedgerUnavailable):
                raise  # it is another's, or nobody can be told: its lease runs out
            except BaseException as exc:
                why = _ENDINGS.get(type(exc), error_text(exc))
                with suppress(LedgerError):
                    recorder.finish(RunStatus.FAILED, why)
                raise
            ended = self._ended(self.ctx)
            recorder.finish(RunStatus(ended.status), _why(ended))
        return self.result()  # the run is over, also where an output can no longer be read

    def _run_steps(self) -> None:
        self.store = artifact_store(self.ledger) or (MemoryArtifactStore() if self.ledger is None else None)
        entries = self.entries
        all_ok = not entries or all(entry.status is OK for entry in entries.values())
        for name, step in self.steps.items():
            if name in entries:
                continue
            if not all_ok and (left_out := self._left_out(step)) is not None:
                entries[name] = left_out
            elif self._attempt(step) is not OK:
                all_ok = False

    def _left_out(self, step: Step) -> StepRun | None:
        self._make_entries()
        return StepRun.not_started(step.name, [self.entries[name] for name in step.after], step.run_if)

    def _make_entries(self) -> None:
        entries = self.entries
        for name, (result, attempts, seconds, exception) in self.ends.items():
            entries[name] = StepRun.of(name, result, attempts, timedelta(0, seconds), exception)
        self.ends.clear()

    def result(self) -> RunResult:
        """Return what happened, once every step has an entry."""
        made = map(self.envelopes.__getitem__, filter(self.envelopes.__contains__, self.steps))
        return self._ended(final_context(self.ctx, made, self._load, self.outputs))

    def _ended(self, ctx: WorkflowContext) -> RunResult:
        self._make_entries()
        return RunResult.of(self.workflow.name, ctx, map(self.entries.__getitem__, self.steps))

    def _attempt(self, step: Step) -> StepStatus:
        """Run a step until it is not tried again, and return how it ended; only that is recorded."""
        number, self.inputs, began = 0, None, self.seconds()
        started_at = None if self.recorder is None else self.clock.now()
        while True:
            number += 1
            seen, inherited, outcome, load = None, NOTHING, NO_OUTCOME, None
            try:
                after = step.after
                only = self.envelopes.get(after[0]) if len(after) == 1 else None
                before = [only] if only is not None else self._before(step) if after else []
                seen, inherited = merge_upstream(
                    self.ctx, before, self._fetch, store=self.store, at_hand=self.outputs, like=self.last
                )
                self.last = inherited
                config = self.of_run and config_of(step, seen)
                if step.inputs:
                    load = self._inputs_of(step, seen, number).load
                outcome = execute(
                    step, seen, config, attempt=number, store=self.store, inputs=load, logs_ok=self.logs_ok
                )
                if outcome.result.status is FAILED and not _retried(step, outcome.result, number):
                    outcome = tolerated(step, outcome)
                envelope = inherited.envelope(step.name, outcome.result, store=self.store, limit=self.limit)
            except FlowctxError as exc:
                outcome = _refused(step, outcome, exc, number, began=seen is not None)
                envelope = inherited.envelope(step.name, replace(outcome.result, output=EMPTY))
            result = outcome.result
            if result.status is not FAILED or not _retried(step, result, number):
                break
            self.clock.sleep(step.retry.wait(number))
        seconds = self.seconds() - began
        if started_at is not None:
            self._record(step, seen, outcome, envelope, attempts=number, started_at=started_at, seconds=seconds)
        if result.status is not FAILED:
            self.envelopes[step.name] = envelope
        if result.status is OK and not isinstance(envelope.output, ArtifactRef):
            self.outputs[step.name] = envelope.output
        self.ends[step.name] = (result, number, seconds, outcome.exception)
        return result.status

    def _record(
        self, step: Step, seen: WorkflowContext | None, outcome: Outcome, envelope: Envelope, **times: Any
    ) -> None:
        assert self.recorder is not None  # noqa: S101  # else nothing is recorded
        record_try(
            self.recorder,
            step,
            outcome,
            envelope,
            seen=seen or self.ctx,
            after=tuple(map(_step, self._before(step))),
            config=config_of(step, self.ctx),
            inputs=self.inputs,
            **times,
        )

    def _before(self, step: Step) -> list[Envelope]:
        return nearest_complete(self.workflow, step, self.envelopes.get)

    def _inputs_of(self, step: Step, seen: WorkflowContext, number: int) -> StepInputs:
        """Return what a step reads: what it has read at an earlier try, it reads again."""
        recorder = self.recorder
        again: Reads = {} if self.inputs is None else self.inputs.read
        if recorder is not None and not again:
            again = recorder.reads_before(step.name, number)
        ledger = NO_LEDGER if recorder is None else recorder.ledger
        self.inputs = StepInputs(ledger, step, seen, store=self.store, again=again)
        return self.inputs

    def _fetch(self, name: str, at: str | None) -> Mapping[str, Any]:
        return load_output(self.envelopes[name], self.store)

    def _load(self, envelope: Envelope) -> Mapping[str, Any]:
        return load_output(envelope, self.store)


def _entry(record: StepRecord) -> StepRun:
    return StepRun.of(record.step, record, record.attempts, timedelta(seconds=record.seconds))


def _retried(step: Step, result: StepResult, number: int) -> bool:
    """Return whether a step that failed so is tried again."""
    return result.retryable and number <= step.retry.retries


def _refused(step: Step, outcome: Outcome, exc: FlowctxError, number: int, *, began: bool) -> Outcome:
    """Return the outcome of a step that something of ours has refused, before it was called or after.

    One that failed in its own words keeps them, without the output that could not be handed on.
    """
    if outcome.result.status is FAILED:
        return outcome
    outcome = Outcome(result=failure_of(exc), exception=exc)
    if not began or isinstance(exc, (LedgerError, Superseded)) or _retried(step, outcome.result, number):
        return outcome
    return tolerated(step, outcome)


def _why(result: RunResult) -> str | None:
    """Return why a run failed or was skipped, or which optional step of it failed."""
    telling = StepStatus.TOLERATED if result.status is OK else result.status
    first = next((entry for entry in result.steps if entry.status is telling), None)
    return None if first is None else reason_of(RunStatus(result.status), first.name, first.error)
