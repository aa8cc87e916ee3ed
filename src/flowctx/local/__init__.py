"""Run a workflow here and now, in this process; continue a run that was interrupted anywhere; replay a step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from flowctx.artifacts import MemoryArtifactStore, artifact_store
from flowctx.core.clock import Clock, SystemClock
from flowctx.core.data.plain import FrozenDict, freeze
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.reading import known_fields, known_time
from flowctx.core.durability.recorded import latest_continuation
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import RunRecord
from flowctx.core.durability.replay import Invoke, Replay, replay_step
from flowctx.core.durability.resumption import ResumePlan, plan_resume
from flowctx.core.durability.run_ledgers import run_ledger
from flowctx.core.durability.run_plan import LOCAL_LEASE, RunPlan, begin_run, plan_next_attempt, plan_run
from flowctx.core.durability.version_choice import check_past
from flowctx.core.errors import CaptureRefused, LedgerError, Superseded, WorkflowError
from flowctx.core.partitions.key import PartitionKey, key_of
from flowctx.core.renames import warn_renamed
from flowctx.core.workflow.context import WorkflowContext, engine_of
from flowctx.core.workflow.definition import Workflow, check_workflow, expect_workflow
from flowctx.core.workflow.import_path import import_path_of, import_recorded
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_context import begin, new_run_id
from flowctx.core.workflow.run_request import NO_REQUEST, OnCaptured, RunRequest, read_date, read_text
from flowctx.core.workflow.run_result import RunResult, StepRun
from flowctx.core.workflow.step_config import step_config_of
from flowctx.ledger import ledger_or_default, ledger_to_read, strict_from_env
from flowctx.local.progress import Progress

__all__ = ["SystemClock", "replay", "resume", "run"]

#: What ``ctx.metadata`` says of where a run runs.
ENGINE: FrozenDict = freeze({"engine": {"name": "local"}})


def run(
    workflow: Workflow,
    *,
    partition: PartitionKey | Mapping[str, Any] | str | None = None,
    params: Mapping[str, Any] | None = None,
    batch_id: str | None = None,
    trace_id: str | None = None,
    as_of_date: date | str | None = None,
    run_id: str | None = None,
    ledger: Ledger | str | None = None,
    on_captured: OnCaptured = "recapture",
    known_at: datetime | str | None = None,
    step_config: Mapping[str, Mapping[str, Any]] | None = None,
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
        as_of_date: The business date, or its text in ISO 8601, where no partition says it.
        run_id: Another id than a new UUID.
        ledger: Where to remember the run, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names, if it is set.
        on_captured: What to do when the ledger says that the partition is captured already: make a new revision, or
            ``"skip"`` the run.
        known_at: Read inputs as they were known at this time on the ledger's clock, with its zone. What the run makes
            is a version like any other.
        step_config: Configuration of steps, by step, on top of what the workflow says.
        clock: Another clock than the machine's.

    Returns:
        What happened. A failed step does not raise: see :meth:`RunResult.raise_for_failure`.

    Raises:
        UnknownPartition: The workflow has no such partition.
        ContextError: A partitioned workflow without a partition, a parameter whose name says who the run is, or a
            ``known_at`` that lies ahead of the ledger's clock.
        WorkflowError: The workflow has no steps.
        CaptureHeld: Another run of the same batch is writing this capture.
        RunExists: The ledger remembers a run of this id already.
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
    check_workflow(workflow)
    clock = clock or SystemClock()
    day = read_date(as_of_date)
    ledger_in_use = ledger_or_default(ledger)
    request, bare = NO_REQUEST, trace_id is None and step_config is None and on_captured == "recapture"
    if ledger_in_use is not None or not bare or not (batch_id is None or (type(batch_id) is str and batch_id.strip())):
        request = RunRequest(
            batch_id=batch_id, trace_id=trace_id, as_of_date=day, on_captured=on_captured, step_config=step_config
        )
    ctx = _new_context(
        workflow,
        clock,
        partition=partition,
        params=params,
        batch_id=batch_id,
        trace_id=trace_id,
        as_of_date=day,
        run_id=run_id,
        known_at=known_at,
        step_config=request.step_config,
    )
    if ledger_in_use is None:
        if known_at is not None:
            check_past(known_time(ctx), clock.now, clock="this machine's clock")
        return Progress(workflow, ctx, clock).to_the_end()
    with _closed_by_url(ledger, ledger_in_use):
        check_past(known_time(ctx), ledger_in_use.now)
        try:
            recorder = _begun(ledger_in_use, workflow, ctx, request)
        except CaptureRefused as exc:
            if on_captured != "skip":
                raise
            skipped = [StepRun(name=name, status=StepStatus.SKIPPED, error=str(exc)) for name in workflow.steps]
            return RunResult.of(workflow.name, ctx, skipped)
        return Progress(workflow, recorder.context, clock, recorder=recorder).to_the_end()


def resume(
    run_id: str,
    workflow: Workflow | None = None,
    *,
    partition: PartitionKey | Mapping[str, Any] | str | None = None,
    params: Mapping[str, Any] | None = None,
    from_step: str | Collection[str] | None = None,
    accept_changes: bool = False,
    take_over: bool = False,
    ledger: Ledger | str | None = None,
    clock: Clock | None = None,
) -> RunResult:
    """Continue a run in this process, whichever engine it ran on: complete steps are not run again.

    Every output and update of the complete steps is there, and ``ctx.checkpoint`` says what is complete, what failed
    and why. A run that is alive, by its signs of life, is refused unless it is to be taken over: whoever is at it is
    then refused its next write and stops. Of several who continue one run, one is granted it before its first step. A
    run that is complete is returned as it is.

    Args:
        run_id: The run's id.
        workflow: The workflow; by default it is imported from where it was when it ran.
        partition: Which partition is meant, where one run id serves several.
        params: Parameters on top of the run's own; they also win over what complete steps wrote.
        from_step: A step that runs again although it is complete, with all that follow it; or several.
        accept_changes: Keep what complete steps recorded although the workflow has changed since, with the
            parameters that it declares now.
        take_over: Continue it although somebody is at it; a step that is under way there runs here too.
        ledger: Where the run is remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.
        clock: Another clock than the machine's.

    Returns:
        What happened, in this attempt and in those before it.

    Raises:
        UnknownRun: The ledger remembers no such run.
        WorkflowChanged: A step that is complete was removed, renamed, moved or changed since, or a parameter was added,
            removed or given another type; nothing has run.
        CaptureHeld: Another run is writing the capture by now.
        RunAlive: Somebody is at the run; the message says who, and since when.
        Superseded: Somebody else continues the run.
        LedgerError: There is no ledger.

    Example:
        >>> resume("no-such-run", ledger="memory://")
        Traceback (most recent call last):
        flowctx.core.errors.UnknownRun: the ledger remembers no run 'no-such-run'; see: flowctx runs
    """
    with _open_ledger(ledger) as ledger_in_use:
        ledger_in_use = _require_ledger(ledger_in_use)
        workflow, before = remembered(ledger_in_use, run_id, workflow, partition)
        before = latest_continuation(ledger_in_use, before)
        clock = clock or SystemClock()

        def planned(run: RunRecord) -> ResumePlan:
            return plan_resume(
                workflow,
                run,
                ledger_in_use.steps(run.key),
                params=params,
                from_step=from_step,
                accept_changes=accept_changes,
            )

        plan, ctx, recorder = _continued(ledger_in_use, workflow, before, planned, take_over=take_over)
        progress = Progress(workflow, ctx, clock, recorder=recorder, complete_in=ledger_in_use)
        return progress.load_completed(plan.records).to_the_end()


def replay(
    run_id: str,
    step: str,
    workflow: Workflow | None = None,
    *,
    partition: PartitionKey | Mapping[str, Any] | str | None = None,
    ledger: Ledger | str | None = None,
    invoke: Invoke | None = None,
    caller: Invoke | None = None,
) -> Replay:
    """Run one step again on exactly the context it saw, whichever engine it ran on; nothing is written.

    Args:
        run_id: The run's id.
        step: The step.
        workflow: The workflow; by default it is imported from where it was when it ran.
        partition: Which partition is meant, where one run id serves several.
        ledger: Where the run is remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.
        invoke: Calls the step's function; ``pdb.Pdb().runcall`` does so under the debugger.
        caller: Old name of ``invoke``.

    Returns:
        The context, the result, and how it differs from what was recorded.

    Raises:
        UnknownRun: The ledger remembers no such run.
        WorkflowError: There is no such step, or the run did not get so far.
        LedgerError: There is no ledger.
    """
    if caller is not None:
        warn_renamed("replay(caller=)", "replay(invoke=)")
        invoke = caller
    with _open_ledger(ledger, make=False) as ledger_in_use:
        ledger_in_use = _require_ledger(ledger_in_use)
        workflow, before = remembered(ledger_in_use, run_id, workflow, partition)
        return replay_step(
            ledger_in_use,
            workflow,
            before,
            step,
            store=artifact_store(ledger_in_use),
            invoke=invoke,
            scratch=MemoryArtifactStore(),
        )


def _new_context(
    workflow: Workflow,
    clock: Clock,
    *,
    partition: PartitionKey | Mapping[str, Any] | str | None,
    params: Mapping[str, Any] | None,
    batch_id: str | None,
    trace_id: str | None = None,
    as_of_date: date | None = None,
    run_id: str | None,
    known_at: datetime | str | None = None,
    step_config: Mapping[str, Mapping[str, Any]] | None = None,
) -> WorkflowContext:
    """Return what the first step of a new run sees."""
    now, metadata = clock.now(), ENGINE
    if known_at is not None or step_config:
        metadata = freeze(ENGINE | known_fields(known_at) | step_config_of(workflow, step_config))
    return begin(
        workflow.name,
        run_id=read_text(run_id, "run_id") or new_run_id(),
        scheme=workflow.partitions,
        partition=workflow.partition_key(partition),
        as_of_date=as_of_date,
        batch_id=batch_id,
        trace_id=trace_id,
        params=workflow.params_with(params),
        metadata=metadata,
        started_at=now,
    )


def _begun(ledger: Ledger, workflow: Workflow, ctx: WorkflowContext, request: RunRequest) -> Recorder:
    recorded_in = run_ledger(ledger, strict=strict_from_env())
    plan = plan_run(recorded_in, workflow, ctx, request=request, import_path=import_path_of(workflow), exclusive=True)
    return begin_run(recorded_in, plan, lease=LOCAL_LEASE)


def plan_new_run(
    workflow: Workflow,
    *,
    partition: str,
    params: Mapping[str, Any],
    batch_id: str,
    run_id: str,
    step_config: Mapping[str, Mapping[str, Any]] | None = None,
    ledger: Ledger,
    clock: Clock | None = None,
) -> RunPlan:
    """Work out how a new run of a batch begins; nothing is written.

    Raises:
        UnknownPartition: The workflow has no such partition.
        ContextError: A parameter cannot be.
    """
    who: dict[str, Any] = {"partition": partition, "batch_id": batch_id, "run_id": run_id}
    ctx = _new_context(workflow, clock or SystemClock(), params=params, step_config=step_config, **who)
    return plan_run(ledger, workflow, ctx, import_path=import_path_of(workflow), exclusive=True)


def run_begun(workflow: Workflow, recorder: Recorder, *, clock: Clock | None = None) -> RunResult:
    """Run every step of a run that has been begun."""
    return Progress(workflow, recorder.context, clock or SystemClock(), recorder=recorder).to_the_end()


def _continued(
    ledger: Ledger,
    workflow: Workflow,
    before: RunRecord,
    planned: Callable[[RunRecord], ResumePlan],
    *,
    take_over: bool,
) -> tuple[ResumePlan, WorkflowContext, Recorder | None]:
    """Plan how a run goes on, and be who goes on with it unless it is complete; again if it has recorded more since."""
    recorded_in = run_ledger(ledger, strict=strict_from_env())
    while True:
        # Importing the workflow takes its time: what the run has come to is read after that.
        run = ledger.get_run(before.run_id, workflow=before.workflow, partition=before.context.partition)
        plan = planned(run)
        if plan.complete(workflow):
            return plan, run.context, None
        if plan.context.partition is not None:
            workflow.partition_key(plan.context.partition)  # it may have left the scheme since
        plan = replace(plan, context=replace(plan.context, metadata={**plan.context.metadata, **ENGINE}))
        attempt = plan_next_attempt(workflow, plan, import_path=import_path_of(workflow), take_over=take_over)
        try:
            recorder = begin_run(recorded_in, attempt, lease=LOCAL_LEASE)
            return plan, recorder.context, recorder
        except Superseded:
            again = ledger.get_run(run.run_id, workflow=run.workflow, partition=run.context.partition)
            if again.fencing_token != run.fencing_token:
                raise


def _open_ledger(ledger: Ledger | str | None, *, make: bool = True) -> AbstractContextManager[Ledger | None]:
    """Open the ledger that is meant, and close it again if it was given by its URL."""
    found = ledger_or_default(ledger) if make else ledger_to_read(ledger)
    return nullcontext(None) if found is None else _closed_by_url(ledger, found)


def _closed_by_url(ledger: Ledger | str | None, found: Ledger) -> AbstractContextManager[Ledger]:
    """Close a ledger after the block if it was given by its URL."""
    return closing(found) if isinstance(ledger, str) else nullcontext(found)


def _require_ledger(ledger: Ledger | None) -> Ledger:
    if ledger is None:
        raise LedgerError("this needs a ledger, which says what ran before; pass ledger= or set FLOWCTX_LEDGER_URL")
    return ledger


def remembered(
    ledger: Ledger, run_id: str, workflow: Workflow | None, partition: PartitionKey | Mapping[str, Any] | str | None
) -> tuple[Workflow, RunRecord]:
    """Return a run and its workflow, imported from where it was when it ran unless it is given.

    Raises:
        UnknownRun: The ledger remembers no such run.
        WorkflowError: It is none, or it is not known where the workflow is, or it is there no more.
    """
    key: PartitionKey | None = None
    if workflow is not None:
        expect_workflow(workflow)
    if partition is not None:
        key = workflow.partition_key(partition) if workflow else key_of(partition)
    found = ledger.get_run(run_id, workflow=workflow.name if workflow else None, partition=key)
    if workflow is None:
        if found.import_path is None:
            raise WorkflowError(_unknown_place(found))
        workflow = import_recorded(found.import_path)
    return workflow, found


def _unknown_place(run: RunRecord) -> str:
    dag_id = engine_of(run.context).get("dag_id")
    own = (
        f"; if DAG {dag_id!r} is one of your own, of no Workflow, go on there instead: clear the tasks of the run in "
        "Airflow, or mark it as failed there, which frees its capture"
        if dag_id
        else ""
    )
    return (
        f"the ledger does not know where workflow {run.workflow!r} of run {run.run_id} is in the code; pass it "
        f"(--workflow module:name){own}"
    )
