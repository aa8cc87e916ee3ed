"""Run a workflow here and now, in this process; continue a run that was interrupted anywhere; replay a step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

from flowctx.artifacts import artifact_store
from flowctx.core.context import WorkflowContext
from flowctx.core.envelope import MAX_INLINE_BYTES, Envelope, Inherited, load_output, receive
from flowctx.core.errors import CaptureRefused, FlowctxError, LedgerError, UnknownRun, WorkflowError
from flowctx.core.execution import Outcome, categorize, execute
from flowctx.core.identity import begin
from flowctx.core.partition import PartitionKey
from flowctx.core.ports import ArtifactStore, Clock, Ledger
from flowctx.core.readonly import FrozenDict
from flowctx.core.recorder import LOCAL_LEASE, Recorder, continue_run, open_run
from flowctx.core.records import OnCaptured, RunRecord, RunStatus, StepRecord
from flowctx.core.replay import Caller, Replay, replay_step
from flowctx.core.result import StepResult, StepStatus
from flowctx.core.resumption import envelopes, resumption, standing_updates
from flowctx.core.run import RunResult, StepRun
from flowctx.core.targets import target_of, workflow_at
from flowctx.core.workflow import Step, Workflow
from flowctx.ledger import ledger_from_env, open_ledger, strict_from_env


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """Return the time now, in UTC."""
        return datetime.now(UTC)

    def sleep(self, duration: timedelta) -> None:
        """Wait."""
        time.sleep(duration.total_seconds())


def run(
    workflow: Workflow,
    *,
    partition: PartitionKey | Mapping[str, Any] | str | None = None,
    params: Mapping[str, Any] | None = None,
    batch_id: str | None = None,
    trace_id: str | None = None,
    as_of_date: date | None = None,
    run_id: str | None = None,
    ledger: Ledger | str | None = None,
    on_captured: OnCaptured = "recapture",
    clock: Clock | None = None,
) -> RunResult:
    """Run a workflow for one partition key in this process, step by step.

    With a ledger, each step is recorded in one transaction as soon as it ends, so that a run that dies can be
    continued with :func:`resume`; ``FLOWCTX_LEDGER_MODE`` says whether a run that cannot be recorded fails.

    Args:
        workflow: The workflow.
        partition: The partition key, a dict of its dimensions, or text such as ``"date=2012-10-26,symbol=IBM"`` or
            (in the scheme's order) ``"2012-10-26|IBM"``.
        params: Parameters on top of the workflow's own.
        batch_id: The batch that this run belongs to.
        trace_id: An id of the caller's for tracing.
        as_of_date: The business date, where no partition says it.
        run_id: Another id than a new UUID.
        ledger: Where to remember the run, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names, if it is set.
        on_captured: What to do when the ledger says that the partition is captured already: make a new revision, or
            ``"skip"`` the run.
        clock: Another clock than the machine's.

    Returns:
        What happened. A failed step does not raise: see :meth:`RunResult.raise_for_failure`.

    Raises:
        UnknownPartition: The workflow has no such partition.
        ContextError: A partitioned workflow without a partition.
        WorkflowError: The workflow has no steps.
        CaptureHeld: Another run of the same batch is writing this capture.
        Superseded: Somebody else has taken over this run; it was stopped.
        LedgerError: The run cannot be recorded, and the setting is strict.

    Example:
        >>> from flowctx import Workflow, run
        >>> flow = Workflow("hello")
        >>> @flow.step()
        ... def greet(ctx):
        ...     return {"text": "hello"}
        >>> run(flow).context.get_output("greet", "text")
        'hello'
    """
    if not workflow.steps:
        raise WorkflowError(f"workflow {workflow.name!r} has no steps; declare one with @workflow.step()")
    clock = clock or SystemClock()
    ctx = begin(
        workflow.name,
        run_id=run_id or str(uuid4()),
        scheme=workflow.partitions,
        partition=workflow.partition_key(partition),
        as_of_date=as_of_date,
        batch_id=batch_id,
        trace_id=trace_id,
        params=workflow.params_with(params),
        metadata={"engine": {"name": "local"}},
        started_at=clock.now(),
    )
    book = _ledger(ledger)
    if book is not None and run_id is not None:
        _refuse_known(book, RunRecord(workflow=workflow.name, context=ctx))
    try:
        recorder = open_run(
            book,
            workflow,
            ctx,
            target=target_of(workflow) if book else None,
            on_captured=on_captured,
            lease=LOCAL_LEASE,
            strict=strict_from_env(),
        )
    except CaptureRefused as exc:
        if on_captured != "skip":
            raise
        skipped = [StepRun(name=name, status=StepStatus.SKIPPED, error=str(exc)) for name in workflow.steps]
        return RunResult.of(workflow.name, ctx, skipped)
    return _Run(workflow, recorder, clock).to_the_end()


def resume(
    run_id: str,
    workflow: Workflow | None = None,
    *,
    partition: PartitionKey | Mapping[str, Any] | str | None = None,
    params: Mapping[str, Any] | None = None,
    from_step: str | None = None,
    accept_changes: bool = False,
    ledger: Ledger | str | None = None,
    clock: Clock | None = None,
) -> RunResult:
    """Continue a run in this process, whichever engine it ran on: complete steps are not run again.

    Every output and update of the complete steps is there, and ``ctx.checkpoint`` says what is complete, what failed
    and why. Whoever may still be running it, though it was taken for dead, is refused its next write and stops. A
    run that is complete is returned as it is.

    Args:
        run_id: The run's id.
        workflow: The workflow; by default it is imported from where it was when it ran.
        partition: Which partition is meant, where one run id serves several.
        params: Parameters on top of the run's own; they also win over what complete steps wrote.
        from_step: A step that runs again although it is complete, with all that follow it.
        accept_changes: Keep what complete steps recorded although the workflow has changed since.
        ledger: Where the run is remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.
        clock: Another clock than the machine's.

    Returns:
        What happened, in this attempt and in those before it.

    Raises:
        UnknownRun: The ledger remembers no such run.
        WorkflowChanged: A step that is complete was removed, renamed, moved or changed since; nothing has run.
        CaptureHeld: Another run is writing the capture by now.
        Superseded: Somebody else continues the run.

    Example:
        >>> resume("no-such-run", ledger="memory://")
        Traceback (most recent call last):
        flowctx.core.errors.UnknownRun: the ledger remembers no run 'no-such-run' that fits; see: flowctx runs
    """
    book, workflow, before = _remembered(run_id, workflow, partition, ledger)
    plan = resumption(
        workflow,
        before,
        book.steps(before.key),
        params=params,
        from_step=from_step,
        accept_changes=accept_changes,
    )
    if before.status is RunStatus.OK and from_step is None and set(workflow.steps) <= set(plan.keep):
        return _Run(workflow, Recorder(None, before, workflow, strict=True), SystemClock()).carry(plan.records).result()
    if plan.context.partition is not None:
        workflow.partition_key(plan.context.partition)  # may have left the scheme since
    recorder = continue_run(book, workflow, plan, target=target_of(workflow), strict=strict_from_env())
    return _Run(workflow, recorder, clock or SystemClock()).carry(plan.records).to_the_end()


def replay(
    run_id: str,
    step: str,
    workflow: Workflow | None = None,
    *,
    partition: PartitionKey | Mapping[str, Any] | str | None = None,
    ledger: Ledger | str | None = None,
    caller: Caller | None = None,
) -> Replay:
    """Run one step again on exactly the context it saw, whichever engine it ran on; nothing is written.

    Args:
        run_id: The run's id.
        step: The step.
        workflow: The workflow; by default it is imported from where it was when it ran.
        partition: Which partition is meant, where one run id serves several.
        ledger: Where the run is remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.
        caller: Given the call of the step's function, makes it: under a debugger, for instance.

    Returns:
        The context, the result, and how it differs from what was recorded.

    Raises:
        UnknownRun: The ledger remembers no such run.
        WorkflowError: There is no such step, or the run did not get so far.
    """
    book, workflow, before = _remembered(run_id, workflow, partition, ledger)
    return replay_step(book, workflow, before, step, store=artifact_store(), caller=caller)


def _ledger(ledger: Ledger | str | None) -> Ledger | None:
    if ledger is None:
        return ledger_from_env()
    return open_ledger(ledger) if isinstance(ledger, str) else ledger


def _refuse_known(ledger: Ledger, run: RunRecord) -> None:
    try:
        ledger.run(run.run_id, workflow=run.workflow, partition=run.context.partition)
    except UnknownRun:
        return
    raise LedgerError(
        f"the ledger remembers a run {run.run_id!r} already; continue it with resume (flowctx resume {run.run_id}), or "
        "pass another run_id="
    )


def _remembered(
    run_id: str,
    workflow: Workflow | None,
    partition: PartitionKey | Mapping[str, Any] | str | None,
    ledger: Ledger | str | None,
) -> tuple[Ledger, Workflow, RunRecord]:
    book = _ledger(ledger)
    if book is None:
        raise LedgerError("no ledger says what ran before; pass ledger= or set FLOWCTX_LEDGER_URL")
    key: PartitionKey | None = None
    if partition:
        key = workflow.partition_key(partition) if workflow else _loose_key(partition)
    found = book.run(run_id, workflow=workflow.name if workflow else None, partition=key)
    if workflow is None:
        if found.target is None:
            raise WorkflowError(
                f"the ledger does not know where workflow {found.workflow!r} of run {run_id} is in the code; pass it "
                "(--workflow module:name)"
            )
        workflow = workflow_at(found.target)
    return book, workflow, found


def _loose_key(partition: PartitionKey | Mapping[str, Any] | str) -> PartitionKey:
    if isinstance(partition, str):
        return PartitionKey.parse(partition)
    return partition if isinstance(partition, PartitionKey) else PartitionKey(**partition)


class _Run:
    """One run in progress."""

    def __init__(self, workflow: Workflow, recorder: Recorder, clock: Clock) -> None:
        self.workflow, self.recorder, self.clock = workflow, recorder, clock
        self.ctx = recorder.context
        self.store: ArtifactStore | None = artifact_store()
        self.entries: dict[str, StepRun] = {}
        self.envelopes: dict[str, Envelope] = {}
        self.updates: dict[str, Mapping[str, Any]] = {}

    def carry(self, records: Mapping[str, StepRecord]) -> _Run:
        """Take over what the steps recorded that are not run again."""
        self.envelopes = envelopes(self.ctx, records.values())
        self.entries = {name: _entry(record) for name, record in records.items()}
        self.updates = {name: standing_updates(self.ctx, record) for name, record in records.items()}
        return self

    def to_the_end(self) -> RunResult:
        with self.recorder.alive():
            try:
                for step in self.workflow.steps.values():
                    if step.name not in self.entries:
                        self.entries[step.name] = self.not_started(step) or self.attempt(step)
            except KeyboardInterrupt:
                self.recorder.finish(RunStatus.FAILED, "interrupted")
                raise
            result = self.result()
            self.recorder.finish(RunStatus(result.status), _why(result))
        return result

    def result(self) -> RunResult:
        entries = [self.entries[name] for name in self.workflow.steps]
        return RunResult.of(self.workflow.name, self.final_context(), entries)

    def not_started(self, step: Step) -> StepRun | None:
        """Say why a step is not started: a failure before it, or else a skip."""
        before = [self.entries[name] for name in step.after]
        for entry in before:
            if entry.status in (StepStatus.FAILED, StepStatus.NOT_RUN):
                return StepRun(name=step.name, status=StepStatus.NOT_RUN, error=f"step {entry.name!r} before it failed")
        for entry in before:
            if entry.status is StepStatus.SKIPPED:
                return StepRun(name=step.name, status=StepStatus.SKIPPED, error=entry.error)
        return None

    def attempt(self, step: Step) -> StepRun:
        started = self.clock.now()
        attempts = 0
        while True:
            attempts += 1
            outcome, inherited = self.once(step, attempts)
            result = outcome.result
            if result.status is not StepStatus.FAILED or attempts > step.retry.retries or not _retryable(result):
                break
            self.clock.sleep(step.retry.wait(attempts))
        result, recorded = self.stow(step, result, inherited)
        duration = self.clock.now() - started
        self.recorder.record(
            step, result, recorded, attempts=attempts, started_at=started, seconds=duration.total_seconds(), final=False
        )
        if result.status is StepStatus.OK:
            self.envelopes[step.name] = inherited.envelope(step.name, result)
            self.updates[step.name] = result.context_updates
        return StepRun(
            name=step.name,
            status=result.status,
            attempts=attempts,
            duration=duration,
            error=result.error,
            category=result.category,
            quality=result.quality,
        )

    def once(self, step: Step, attempt: int) -> tuple[Outcome, Inherited]:
        try:
            ctx, inherited = receive(
                self.ctx, [self.envelopes[name] for name in step.after], self.fetch, store=self.store
            )
        except FlowctxError as exc:
            return Outcome(result=_failure(exc), exception=exc), Inherited()
        return execute(step, ctx, attempt=attempt), inherited

    def stow(self, step: Step, result: StepResult, inherited: Inherited) -> tuple[StepResult, Envelope]:
        """Return what is recorded of a step: a large output goes to the artifact store, if there is one."""
        if self.store is None or self.recorder.ledger is None:
            return result, inherited.envelope(step.name, result)
        try:
            return result, inherited.envelope(step.name, result, store=self.store, limit=MAX_INLINE_BYTES)
        except FlowctxError as exc:
            failure = _failure(exc)
            return failure, inherited.envelope(step.name, failure)

    def fetch(self, name: str, at: str | None) -> Mapping[str, Any]:
        return load_output(self.envelopes[name], self.store)

    def final_context(self) -> WorkflowContext:
        """All outputs and updates; where branches that never join disagree, the step declared last has the word."""
        made = [name for name in self.workflow.steps if name in self.envelopes]
        outputs = {name: load_output(self.envelopes[name], self.store) for name in made}
        updates = {key: value for name in made for key, value in self.updates[name].items()}
        return replace(self.ctx, step_outputs=FrozenDict(outputs)).with_updates(updates)


def _entry(record: StepRecord) -> StepRun:
    return StepRun(
        name=record.step,
        status=record.status,
        attempts=record.attempts,
        duration=timedelta(seconds=record.seconds),
        error=record.error,
        category=record.category,
        quality=record.quality,
    )


def _why(result: RunResult) -> str | None:
    failed = next((entry for entry in result.steps if entry.status is StepStatus.FAILED), None)
    return f"step {failed.name!r}: {failed.error}" if failed else None


def _failure(exc: FlowctxError) -> StepResult:
    return StepResult.fail(f"{type(exc).__name__}: {exc}", category=categorize(exc))


def _retryable(result: StepResult) -> bool:
    return result.category is None or result.category.retryable
