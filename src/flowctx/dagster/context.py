"""The workflow's context inside any op, asset, asset check, hook, schedule or sensor."""

from __future__ import annotations

from typing import TypeAlias

import dagster as dg

from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.run_ledgers import run_ledger
from flowctx.core.errors import ContextError
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.business_date import AsOf
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_context import beside_steps
from flowctx.dagster.engine_contexts import run_facts
from flowctx.dagster.partitions import RunContext
from flowctx.ledger import ledger_from_env, strict_from_env

AnyContext: TypeAlias = (
    RunContext | dg.HookContext | dg.ScheduleEvaluationContext | dg.SensorEvaluationContext | dg.RunStatusSensorContext
)

#: How code that is no step gets an output.
_IN_RUN = "take the step's asset as an input, or make it a step of the workflow"
_BESIDE_RUN = "a hook, schedule or sensor gets none: flowctx.outputs() reads what complete runs made"


def workflow_context(
    context: AnyContext,
    as_of: AsOf | None = None,
    *,
    required: bool = False,
    workflow: Workflow | None = None,
    scheme: PartitionScheme | None = None,
) -> WorkflowContext:
    """Return the workflow's context of what runs now.

    Args:
        context: The context of an op, asset, asset check, hook, schedule, sensor or run status sensor, or what a unit
            test has of ``build_asset_context`` and the like.
        as_of: The rule for the business date, where neither the scheme nor the run tag ``flowctx/as_of_date`` says it;
            by default that of the partition, else of its window, else of the schedule's tick
            (:meth:`flowctx.AsOf.default`).
        required: Refuse a run that has no business date; otherwise its ``as_of_date`` is None.
        workflow: The workflow that the run belongs to: gives its name, its scheme and the defaults of its parameters.
        scheme: The scheme that the partitions are of, where there is no workflow; by default the one that their
            definition was made of (:func:`partitions_def`), if it was made of one.

    Returns:
        The run's ids, partition, business date and parameters (the op's config). The run tags ``flowctx/batch_id``,
        ``flowctx/trace_id``, ``flowctx/as_of_date``, ``flowctx/capture_id``, ``flowctx/idempotency_key`` (with or
        without the prefix) are the caller's word; a re-executed run keeps the ids of the run that it started from. A
        run of ``workflow`` that continues another (``flowctx/resume_from``) has the business date, the batch, the
        capture and the parameters of that one, where ``FLOWCTX_LEDGER_URL`` names the ledger. It has no outputs: those
        are for steps, and to ask it for one is an error (:class:`~flowctx.MissingKey`).

    Raises:
        ContextError: The run is about several partitions (see :func:`workflow_contexts`), or about none and the
            workflow needs one, a tag is no date, the rule or a tag gives another date than the partition has, there is
            no business date although it is required, or the partition has two dimensions of time and no rule says
            which is the date.
        CalendarError: The date depends on a time zone that is not known; the message names the rule.
        UnknownPartition: The scheme does not have the run's partition.
        UnknownRun: The ledger remembers no run that this one continues.

    Example:
        ::

            @dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-01-01"))
            def prices(context: dg.AssetExecutionContext) -> None:
                ctx = workflow_context(context, AsOf.last_session("XNYS"))
                load(ctx.as_of_date, capture=ctx.capture_id)
    """
    facts = run_facts(context)
    keys = facts.keys_of(workflow)
    if len(keys) > 1:
        raise ContextError(
            f"this run is about {len(keys)} partitions, {keys[0]} to {keys[-1]}; use "
            "workflow_contexts(context), which has one context for each, or a backfill policy of one run a partition"
        )
    ctx = facts.context(
        keys[0], as_of=as_of, required=required, workflow=workflow, scheme=scheme, ledger=run_ledger_of(workflow)
    )
    return beside_steps(ctx, _IN_RUN if isinstance(context, RunContext) else _BESIDE_RUN)


def workflow_contexts(
    context: RunContext,
    as_of: AsOf | None = None,
    *,
    required: bool = False,
    workflow: Workflow | None = None,
    scheme: PartitionScheme | None = None,
) -> list[WorkflowContext]:
    """Return the contexts of a run that may be about several partitions, one for each, in their order.

    Args:
        context: The context of an op, asset or asset check.
        as_of: As for :func:`workflow_context`.
        required: As for :func:`workflow_context`.
        workflow: As for :func:`workflow_context`.
        scheme: As for :func:`workflow_context`.

    Returns:
        As many as the run has partitions; one for a run or a workflow without.

    Raises:
        ContextError: The keys are a range with nothing in it, or as for :func:`workflow_context`.

    Example:
        ::

            @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
            def prices(context: dg.AssetExecutionContext) -> None:
                for ctx in workflow_contexts(context):
                    load(ctx.as_of_date)
    """
    facts = run_facts(context)
    ledger = run_ledger_of(workflow)
    found = [
        facts.context(key, as_of=as_of, required=required, workflow=workflow, scheme=scheme, ledger=ledger)
        for key in facts.keys_of(workflow)
    ]
    return [beside_steps(ctx, _IN_RUN) for ctx in found]


def run_ledger_of(workflow: Workflow | None) -> RunLedger | None:
    """Return where to ask what a run of a workflow takes over of another one, if the environment names a ledger."""
    found = ledger_from_env() if workflow is not None else None
    return None if found is None else run_ledger(found, strict=strict_from_env())
