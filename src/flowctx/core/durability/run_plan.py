"""How a run begins: first the plan, of what the ledger remembers; then the beginning, in one transaction.

Any step of a run may do both first, and all may: who comes later finds the run begun.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from flowctx.core.durability.continuation import (
    EngineRerun,
    check_date,
    check_ids,
    check_unchanged,
    plan_continuation,
    plan_rerun,
    with_engine,
)
from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.namesakes import warn_of_namesake
from flowctx.core.durability.param_changes import params_now
from flowctx.core.durability.reading import with_known_time
from flowctx.core.durability.recorded import find_run
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import RunRecord
from flowctx.core.durability.resumption import ResumePlan, order_of
from flowctx.core.errors import Superseded
from flowctx.core.workflow.cascade import Order
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import NO_REQUEST, RunRequest

#: How long a local run's capture is its own without a sign of life; a thread gives one three times as often.
LOCAL_LEASE = timedelta(minutes=1)
#: The same on an engine, where a sign of life comes when a step begins, and when one ends that took a while.
ENGINE_LEASE = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """How a run is to begin."""

    #: The run, as it is if it begins anew.
    run: RunRecord
    #: The same as others have begun it, if they have.
    known: RunRecord | None = None
    #: What the caller says of it.
    request: RunRequest = NO_REQUEST
    #: Its steps and which of them each one follows.
    order: Order
    #: Its workflow, where that is known.
    workflow: Workflow | None = None
    #: Returns which steps the engine calls failed, and what there is to say of each that is not recorded, if it has no
    #: more to do for the run; else ``None``.
    over: Callable[[], Mapping[str, str] | None] = lambda: None
    #: What it goes on from: another run, or itself.
    resume: ResumePlan | None = None
    #: Whether the engine runs steps that are kept: they hand on what is recorded.
    carries: bool = False
    #: Whether the caller began this attempt alone: another one is a rival, and no other step of the same run.
    exclusive: bool = False
    #: Whether the caller, if not by its request, takes over a run at which somebody is.
    take_over: bool = False


def plan_run(
    ledger: RunLedger,
    workflow: Workflow | str,
    ctx: WorkflowContext,
    *,
    request: RunRequest = NO_REQUEST,
    order: Order | None = None,
    selected: Collection[str] = (),
    over: Callable[[], Mapping[str, str] | None] = lambda: None,
    new_params: Collection[str] = (),
    rerun: EngineRerun | None = None,
    redo: str | None = None,
    import_path: str | None = None,
    exclusive: bool = False,
) -> RunPlan:
    """Work out how a run begins, from what is remembered; nothing is written.

    Args:
        ledger: Where runs are remembered.
        workflow: The workflow, or only its name where steps are loose (such a run cannot be resumed).
        ctx: The run's base context, as :func:`~flowctx.core.workflow.run_context.begin` made it.
        request: What the caller says of the run. With ``resume_from``, it takes over that run's capture, its
            parameters (but for ``new_params``) and its complete steps; workflow and partition must be the same.
        order: The steps of the run and which of them each one follows, where those are not the workflow's.
        selected: The steps that the run is to do, where those are not all.
        over: Returns which steps the engine calls failed, and what there is to say of each that is not recorded, if it
            has no more to do for the run; else ``None``.
        new_params: The names of those parameters in ``ctx`` that the caller passed, which are not mere defaults.
        rerun: What the engine runs again by its own means, if it does.
        redo: Of an engine, whose code may change while a run goes on: what people do for it to run a step again, such
            as ``clear``.
        import_path: Where to import the workflow from, for ``flowctx resume``.
        exclusive: Whether no other process is to take part in the run: one that is there already is refused.

    Raises:
        WorkflowChanged: A complete step is not what it was; the run cannot be continued as it is.
        UnknownRun: The ledger remembers no run ``resume_from``.
        ContextError: The run is recorded with another business date than this step has, or its capture id or
            idempotency key is that of another partition.
        LedgerError: The ledger cannot be read, and the setting is strict.
    """
    flow = workflow if isinstance(workflow, Workflow) else None
    own_order = order
    if order is None:
        order = order_of(flow) if flow is not None else {}
    name = flow.name if flow is not None else str(workflow)
    part = tuple(step for step in order if step in selected)
    part = part if len(part) < len(order) else ()
    run = RunRecord(workflow=name, context=ctx, steps=tuple(order), selected=part, import_path=import_path)
    known = None if exclusive else find_run(ledger, run.run_id, name, ctx.partition)
    resume: ResumePlan | None = None
    anew = rerun is not None and known is not None and request.resume_from is None and rerun.made_again(known)
    if rerun is not None and not (rerun.asked or anew):
        rerun = None
    if flow is not None and redo is not None and not request.accept_changes:
        anew |= check_unchanged(ledger, flow, run, known, rerun, redo=redo, order=own_order)
    if flow is not None and request.resume_from is not None:
        resume = plan_continuation(ledger, flow, run, known, request, new_params=new_params, rerun=rerun)
    if resume is None and rerun is not None and (anew or flow is None or request.resume_from is None):
        resume = plan_rerun(ledger, flow, run, known, rerun, anew=anew)
    if resume is None and request.resume_from is None:
        check_date(known, run)
    check_ids(ledger, run, known, request)
    warn_of_namesake(ledger, run)
    plan = RunPlan(run=run, known=known, request=request, order=order, workflow=flow, over=over)
    return replace(plan, resume=resume, exclusive=exclusive, carries=rerun is not None and rerun.from_failure)


def plan_next_attempt(
    workflow: Workflow, resume: ResumePlan, *, import_path: str | None = None, take_over: bool = False
) -> RunPlan:
    """Work out how the next attempt at a run begins, by whoever resumes it here.

    Args:
        workflow: The workflow.
        resume: How the run goes on.
        import_path: Where to import the workflow from; by default where it was.
        take_over: Go on although somebody is at the run, who is refused the next write then.
    """
    order = order_of(workflow)
    run = RunRecord(workflow=workflow.name, context=resume.context, steps=tuple(order), import_path=import_path)
    return RunPlan(run=run, order=order, resume=resume, exclusive=True, take_over=take_over)


def begin_run(ledger: RunLedger, plan: RunPlan, *, lease: timedelta = ENGINE_LEASE) -> Recorder:
    """Begin a run as it was planned, or find it begun.

    Args:
        ledger: Where it is recorded.
        plan: The plan.
        lease: How long the capture is this run's own without a sign of life.

    Raises:
        CaptureRefused: The capture was not granted.
        RunExists: No other process is to take part in the run, and it is there already.
        RunAlive: Somebody is at the run that is to be continued, and it is not to be taken over.
        Superseded: Somebody else has continued the run since the plan was made, or it has recorded more.
        LedgerError: The run cannot be recorded, and the setting is strict.
    """
    begun = _begin(ledger, plan, lease)
    return Recorder(
        ledger,
        begun,
        context=_seen(ledger, plan, begun),
        order=plan.order,
        resumes=plan.carries or plan.request.resume_from is not None,
        over=plan.over,
        lease=lease,
    )


def _begin(ledger: RunLedger, plan: RunPlan, lease: timedelta) -> RunRecord:
    run, resume = plan.run, plan.resume
    if resume is None:
        return ledger.begin(run, on_captured=plan.request.on_captured, lease=lease, exclusive=plan.exclusive)
    following = replace(
        run,
        context=resume.context,
        attempt=resume.run.attempt + 1,
        import_path=run.import_path or resume.run.import_path,
        reads=resume.reads,
    )
    # What an engine runs again by its own means, nobody else is at.
    engine_reruns = not plan.exclusive and plan.request.resume_from is None
    try:
        return ledger.begin(
            following,
            resumes=resume.run,
            completed=resume.completed,
            lease=lease,
            take_over=plan.take_over or plan.request.take_over or engine_reruns,
            seen=resume.seen if plan.exclusive else None,
        )
    except Superseded:
        if plan.exclusive or resume.run.key != run.key:
            raise
        return ledger.begin(run, lease=lease)  # another step of this run was faster


def _seen(ledger: RunLedger, plan: RunPlan, begun: RunRecord) -> WorkflowContext:
    """Return what the first step of the attempt sees."""
    if plan.exclusive:
        return begun.context
    ctx = plan.run.context
    if plan.request.resume_from is not None:
        seen = with_engine(begun.context, ctx)
        if plan.workflow is None or not plan.request.accept_changes:
            return seen
        return replace(seen, params=params_now(plan.workflow, begun, ledger.steps(begun.key)))
    # The engine knows best what its run is about; how far it had come, the ledger knows.
    return with_known_time(replace(ctx, checkpoint=begun.context.checkpoint), begun.context)
