"""Run a workflow here and now, in this process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from flowctx.core.context import WorkflowContext
from flowctx.core.envelope import Envelope, Inherited, load_output, receive
from flowctx.core.errors import FlowctxError
from flowctx.core.execution import Outcome, categorize, execute
from flowctx.core.identity import begin
from flowctx.core.partition import PartitionKey
from flowctx.core.ports import Clock
from flowctx.core.result import StepResult, StepStatus
from flowctx.core.run import RunResult, StepRun
from flowctx.core.workflow import Step, Workflow


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """Return the time now, in UTC."""
        return datetime.now(timezone.utc)

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
    clock: Clock | None = None,
) -> RunResult:
    """Run a workflow for one partition key in this process, step by step.

    Args:
        workflow: The workflow.
        partition: The partition key, a dict of its dimensions, or text such as ``"date=2012-10-26,symbol=IBM"`` or
            (in the scheme's order) ``"2012-10-26|IBM"``.
        params: Parameters on top of the workflow's own.
        batch_id: The batch that this run belongs to.
        trace_id: An id of the caller's for tracing.
        as_of_date: The business date, where no partition says it.
        run_id: Another id than a new UUID.
        clock: Another clock than the machine's.

    Returns:
        What happened. A failed step does not raise: see :meth:`RunResult.raise_for_failure`.

    Raises:
        UnknownPartition: The workflow has no such partition.
        ContextError: A partitioned workflow without a partition.
        WorkflowError: The workflow has no steps.

    Example:
        >>> from flowctx import Workflow, run
        >>> flow = Workflow("hello")
        >>> @flow.step()
        ... def greet(ctx):
        ...     return {"text": "hello"}
        >>> run(flow).context.get_output("greet", "text")
        'hello'
    """
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
    )
    return _Run(workflow, ctx, clock or SystemClock()).to_the_end()


class _Run:
    """One run in progress."""

    def __init__(self, workflow: Workflow, ctx: WorkflowContext, clock: Clock) -> None:
        self.workflow, self.ctx, self.clock = workflow, ctx, clock
        self.entries: dict[str, StepRun] = {}
        self.envelopes: dict[str, Envelope] = {}

    def to_the_end(self) -> RunResult:
        for step in self.workflow.steps.values():
            self.entries[step.name] = self.not_started(step) or self.attempt(step)
        return RunResult.of(self.workflow.name, self.final_context(), self.entries.values())

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
        if result.status is StepStatus.OK:
            self.envelopes[step.name] = inherited.envelope(step.name, result)
        return StepRun(
            name=step.name,
            status=result.status,
            attempts=attempts,
            duration=self.clock.now() - started,
            error=result.error,
            category=result.category,
            quality=result.quality,
        )

    def once(self, step: Step, attempt: int) -> tuple[Outcome, Inherited]:
        try:
            ctx, inherited = receive(self.ctx, [self.envelopes[name] for name in step.after], self.fetch)
        except FlowctxError as exc:
            failure = StepResult.fail(f"{type(exc).__name__}: {exc}", category=categorize(exc))
            return Outcome(result=failure, exception=exc), Inherited()
        return execute(step, ctx, attempt=attempt), inherited

    def fetch(self, name: str, at: str | None) -> Mapping[str, Any]:
        return load_output(self.envelopes[name], None)

    def final_context(self) -> WorkflowContext:
        """All outputs and updates; where branches that never join disagree, the step declared last has the word."""
        ctx = self.ctx
        for name, envelope in self.envelopes.items():
            ctx = ctx.with_step_output(name, load_output(envelope, None))
            ctx = ctx.with_updates({key: update.value for key, update in envelope.updates.items() if update.by == name})
        return ctx


def _retryable(result: StepResult) -> bool:
    return result.category is None or result.category.retryable
