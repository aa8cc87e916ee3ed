"""Record the steps of a run in a ledger: the same few calls on every engine.

A step that runs in a process of its own, as on an engine, does this (``ledger`` may be ``None``: then nothing is
recorded, and nothing else changes)::

    recorder = open_run(ledger, workflow, ctx, request=...)                    # begins the run, or finds it begun
    ctx, inherited = merge_upstream(recorder.context, envelopes, fetch, store=store)
    result = recorder.reused_result(step.name, store)  # complete in the run that this one continues: do not run it
    if result is None:
        started_at = now
        outcome = execute(step, ctx, config, attempt=attempt)
        envelope = inherited.envelope(step.name, outcome.result, store=store, limit=MAX_INLINE_BYTES)
        recorder.record(step, outcome.result, envelope, attempts=attempt, started_at=started_at, final=...)
    else:
        envelope = inherited.envelope(step.name, result, store=store, limit=MAX_INLINE_BYTES)
    ...hand the envelope on

It records before it hands on: a process that dies between the two runs the step again, and one that dies before
leaves no record of it. :class:`~flowctx.CaptureRefused` from :func:`open_run` with ``on_captured="skip"`` means that
the step is to be skipped; :class:`~flowctx.Superseded` from anywhere means that the run goes on elsewhere and this
process must stop: it is never swallowed, whatever the setting.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from flowctx.core.data.plain import FrozenDict
from flowctx.core.durability.completeness import Order, end_status, leads_on, status_when_over, steps_of_other_runs
from flowctx.core.durability.continuation import EngineRerun, plan_continuation, plan_rerun, with_engine
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.durability.resumption import ResumePlan, effective_updates, failure_of, order_of
from flowctx.core.errors import CaptureRefused, LedgerError, Superseded
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import Envelope, load_output
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step, Workflow
from flowctx.core.workflow.result import StepResult, StepStatus
from flowctx.core.workflow.run_request import NO_REQUEST, OnCaptured, RunRequest

logger = logging.getLogger("flowctx")

#: How long a local run's capture is its own without a sign of life; a thread gives one three times as often.
LOCAL_LEASE = timedelta(minutes=1)
#: The same on an engine, where a sign of life comes when a step begins and when it ends.
ENGINE_LEASE = timedelta(hours=6)


class Recorder:
    """Records one run; made by :func:`open_run`."""

    def __init__(
        self,
        ledger: Ledger | None,
        run: RunRecord,
        *,
        strict: bool,
        context: WorkflowContext | None = None,
        order: Order | None = None,
        resumes: bool = False,
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        self.ledger, self.run, self.strict = ledger, run, strict
        #: What the first step of this attempt sees; with a checkpoint, if it continues another.
        self.context = context or run.context
        #: Whether the caller wished that complete steps are not run again.
        self.resumes = resumes
        self._order = order or {}
        self._over = over
        self._backlog: list[StepRecord] = []

    def reused_result(self, step: str, store: ArtifactStore | None = None) -> StepResult | None:
        """Return the result of a step that is complete in the run that this one continues.

        Raises:
            ArtifactError: Its output was put in the artifact store and is gone.
        """
        checkpoint = self.context.checkpoint
        if self.ledger is None or not self.resumes or checkpoint is None or step not in checkpoint.completed:
            return None
        for record in self.ledger.steps(self.run.key, [step]):
            if record.run_attempt < self.run.attempt:
                output = load_output(Envelope(step=step, output=record.output), store)
                updates = FrozenDict(effective_updates(self.context, record))
                return StepResult(
                    status=record.status,
                    output=output,
                    context_updates=updates,
                    quality=record.quality,
                    error=record.error,
                )
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
        final: bool = True,
    ) -> None:
        """Record how a step ended.

        Args:
            step: The step.
            result: Its result.
            envelope: What it hands on; the output is taken from it, because a large one is an artifact by then.
            attempts: How many times it was tried.
            started_at: When its first try began.
            seconds: How long all tries took.
            config: Configuration on top of the step's own.
            after: The steps it directly followed, where the engine knows better than ``step.after``.
            final: It is not tried again.

        Raises:
            Superseded: The run goes on elsewhere; stop.
            LedgerError: It could not be recorded, and the setting is strict.
        """
        record = StepRecord(
            step=step.name,
            status=result.status,
            after=step.after if after is None else after,
            output=envelope.output,
            updates=result.context_updates,
            quality=result.quality,
            error=result.error,
            category=result.category,
            config=step.configured(config) if config else step.config,
            version=step.code_version,
            attempts=attempts,
            started_at=started_at,
            seconds=seconds,
            run_attempt=self.run.attempt,
        )
        self._write(record, f"step {step.name!r}")
        if final and self._order:
            self._finish_if_done(step.name)

    def earlier_try(self, step: str) -> StepRecord | None:
        """Return what was recorded of a step that an engine tries again."""
        if self.ledger is None:
            return None
        try:
            found = self.ledger.steps(self.run.key, [step])
        except LedgerError as exc:
            self._failed(exc, f"the next try of step {step!r}")
            return None
        return next((record for record in found if record.run_attempt == self.run.attempt), None)

    def finish(self, status: RunStatus, error: str | None = None) -> None:
        """Say how the run ended; local runs know when, engines leave it to :meth:`record`."""
        if self.ledger is None:
            return
        ledger = self.ledger
        try:
            if self._backlog:
                ledger.record(self.run, self._backlog)
                self._backlog = []
            try:
                ledger.finish(self.run, status, error)
            except CaptureRefused as exc:  # of a part, whose capture a whole run has by now
                ledger.finish(self.run, RunStatus.PARTIAL, str(exc))
        except LedgerError as exc:
            self._failed(exc, "the end of the run")

    @contextmanager
    def alive(self, lease: timedelta = LOCAL_LEASE) -> Iterator[None]:
        """Keep the run's capture its own for as long as the block takes."""
        if self.ledger is None:
            yield
            return
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(lease, done), name="flowctx-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()

    def _renew(self, lease: timedelta, done: threading.Event) -> None:
        while not done.wait(lease.total_seconds() / 3):
            try:
                assert self.ledger is not None  # noqa: S101  # alive() saw to it
                self.ledger.renew(self.run, lease)
            except Superseded:
                return  # the next record says so, in the thread that can stop the run
            except LedgerError as exc:
                logger.warning("run %s: the lease of its capture could not be renewed: %s", self.run.run_id, exc)

    def _write(self, record: StepRecord, what: str) -> None:
        if self.ledger is None:
            return
        self._backlog.append(record)
        try:
            self.ledger.record(self.run, self._backlog)
        except LedgerError as exc:
            self._failed(exc, what)
        else:
            self._backlog = []

    def _failed(self, exc: LedgerError, what: str) -> None:
        if self.strict or isinstance(exc, Superseded):
            raise exc
        logger.warning(
            "run %s: %s is not recorded (%s); the run goes on, and it is recorded with the next step if it can be",
            self.run.run_id,
            what,
            exc,
            extra={"run_id": self.run.run_id},
        )

    def _finish_if_done(self, step: str) -> None:
        """End the run if no step is left to run; on an engine nobody else knows."""
        if self.ledger is None:
            return
        try:
            statuses = self.ledger.statuses(self.run.key)
            status = end_status(self._order, self.run.selected, statuses)
            if status is RunStatus.RUNNING and not leads_on(self._order, step, statuses) and self._over():
                status = status_when_over(self._order, statuses)
            if status is RunStatus.RUNNING:
                return
            if status is RunStatus.PARTIAL:
                status = self._with_other_runs(statuses)
            failed = [name for name, how in statuses.items() if how is StepStatus.FAILED]
            records = self.ledger.steps(self.run.key, failed) if status is RunStatus.FAILED else []
            self.finish(status, next((failure_of(record.step, record.error) for record in records), None))
        except LedgerError as exc:
            self._failed(exc, "the end of the run")

    def _with_other_runs(self, statuses: Mapping[str, StepStatus]) -> RunStatus:
        """Take over what other runs of the same capture have done, and return how the run ends with that."""
        assert self.ledger is not None  # noqa: S101  # _finish_if_done() saw to it
        missing = [step for step in self._order if step not in statuses]
        found = steps_of_other_runs(self.ledger, self.run, missing)
        status = status_when_over(self._order, {**statuses, **{record.step: record.status for record in found}})
        if status is not RunStatus.PARTIAL:
            self.ledger.record(self.run, [replace(record, run_attempt=self.run.attempt) for record in found])
        return status


def open_run(
    ledger: Ledger | None,
    workflow: Workflow | str,
    ctx: WorkflowContext,
    *,
    order: Order | None = None,
    selected: Collection[str] = (),
    over: Callable[[], bool] = lambda: False,
    request: RunRequest = NO_REQUEST,
    new_params: Collection[str] = (),
    rerun: EngineRerun | None = None,
    import_path: str | None = None,
    lease: timedelta = ENGINE_LEASE,
    strict: bool = True,
) -> Recorder:
    """Begin to record a run, or find it begun: any step of a run may call it first, and all may call it.

    Args:
        ledger: Where; ``None``: nothing is recorded.
        workflow: The workflow, or only its name where steps are loose (such a run cannot be resumed).
        ctx: The run's base context, as :func:`~flowctx.core.workflow.run_context.begin` made it.
        order: The steps of the run and which of them each one follows, where those are not the workflow's.
        selected: The steps that the run is to do, where those are not all.
        over: Whether the engine has no more to do for the run, although steps are not recorded.
        request: What the caller says of the run. With ``resume_from``, it takes over that run's capture, its
            parameters (but for ``new_params``) and its complete steps; workflow and partition must be the same.
        new_params: The names of those parameters in ``ctx`` that the caller passed, which are not mere defaults.
        rerun: What the engine runs again by its own means, if it does.
        import_path: Where to import the workflow from, for ``flowctx resume``.
        lease: How long the capture is this run's own without a sign of life.
        strict: Whether a run that cannot be recorded fails; otherwise it goes on, and the log says so.

    Raises:
        CaptureRefused: The capture was not granted.
        WorkflowChanged: The run cannot be continued as it is.
        UnknownRun: The ledger remembers no run ``resume_from``.
        LedgerError: The run cannot be recorded, and the setting is strict; or it should continue another.
    """
    flow = workflow if isinstance(workflow, Workflow) else None
    name = flow.name if flow else str(workflow)
    order = order_of(flow) if order is None and flow else order
    part = tuple(step for step in order or () if step in selected)
    if len(part) == len(order or ()):
        part = ()
    run = RunRecord(workflow=name, context=ctx, steps=tuple(order or ()), selected=part, import_path=import_path)
    if ledger is None:
        if request.resume_from is not None:
            raise LedgerError(
                f"no ledger says how far run {request.resume_from!r} came; set FLOWCTX_LEDGER_URL here too"
            )
        return Recorder(None, run, strict=strict)
    try:
        if flow is not None and request.resume_from is not None:
            plan = plan_continuation(ledger, flow, run, request, new_params=new_params)
            begun = _begun(ledger, run, plan, request.on_captured, lease)
            seen = with_engine(begun.context, ctx)
            return Recorder(ledger, begun, strict=strict, context=seen, order=order, resumes=True, over=over)
        plan = plan_rerun(ledger, flow, run, rerun) if flow and rerun else None
        begun = _begun(ledger, run, plan, request.on_captured, lease)
    except LedgerError as exc:
        if strict or request.resume_from is not None or isinstance(exc, (CaptureRefused, Superseded)):
            raise
        logger.warning("run %s is not recorded: %s", ctx.run_id, exc, extra={"run_id": ctx.run_id})
        return Recorder(None, run, strict=strict)
    # The engine knows best what its run is about; how far it had come, the ledger knows.
    seen = replace(ctx, checkpoint=begun.context.checkpoint)
    return Recorder(ledger, begun, strict=strict, context=seen, order=order, over=over)


def _begun(
    ledger: Ledger, run: RunRecord, plan: ResumePlan | None, on_captured: OnCaptured, lease: timedelta
) -> RunRecord:
    if plan is None:
        return ledger.begin(run, on_captured=on_captured, lease=lease)
    following = replace(
        run, context=plan.context, attempt=plan.run.attempt + 1, import_path=run.import_path or plan.run.import_path
    )
    try:
        return ledger.begin(following, resumes=plan.run, completed=plan.completed, lease=lease)
    except Superseded:
        if plan.run.key != run.key:
            raise
        return ledger.begin(run, lease=lease)  # another step of this run was faster


def continue_run(
    ledger: Ledger,
    workflow: Workflow,
    plan: ResumePlan,
    *,
    import_path: str | None = None,
    lease: timedelta = LOCAL_LEASE,
    strict: bool = True,
) -> Recorder:
    """Begin the next attempt at a run; whoever still writes to the former one is refused from now on.

    Raises:
        CaptureRefused: Another run writes its capture by now.
        Superseded: Somebody else has continued it since the plan was made.
    """
    run = RunRecord(
        workflow=workflow.name,
        context=plan.context,
        attempt=plan.run.attempt + 1,
        steps=tuple(workflow.steps),
        import_path=import_path or plan.run.import_path,
    )
    begun = ledger.begin(run, resumes=plan.run, completed=plan.completed, lease=lease)
    return Recorder(ledger, begun, strict=strict)
