"""The run that a step's attempt is recorded under in the ledger."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import dagster as dg

from flowctx.core.durability.continuation import EngineRerun
from flowctx.core.durability.ledger import Ledger, RunLedger
from flowctx.core.durability.recorded import find_run
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.durability.run_ledgers import run_ledger
from flowctx.core.durability.run_plan import plan_run
from flowctx.core.durability.takeover import begin_or_take_over
from flowctx.core.workflow.context import WorkflowContext, engine_of
from flowctx.core.workflow.import_path import import_path_of
from flowctx.core.workflow.run_request import RunRequest
from flowctx.dagster._compat import instance_id
from flowctx.dagster.step_body import StepBody
from flowctx.dagster.tags import runs_before
from flowctx.ledger import strict_from_env


def record_run(
    body: StepBody,
    op: dg.OpExecutionContext,
    ctx: WorkflowContext,
    request: RunRequest,
    *,
    ledger: Ledger | None,
    params_key: str,
) -> Recorder:
    """Begin to record the run of a partition, or find it begun.

    Args:
        body: The step's.
        op: Dagster's context.
        ctx: The run's.
        request: What the caller says of the run.
        ledger: Where it is recorded, if anywhere.
        params_key: The resource whose configuration is the run's parameters.
    """
    flow = body.workflow
    recorded_in = run_ledger(ledger, strict=strict_from_env())
    selected = selected_steps(body, op)
    run = RunRecord(workflow=flow.name, context=ctx)
    rerun = _rerun(recorded_in, op, run, selected) if ledger is not None else None
    if rerun is not None and request.resume_from:  # a tag that the re-execution inherited
        request = replace(request, resume_from=rerun.run_id)
    plan = plan_run(
        recorded_in,
        flow,
        ctx,
        selected=selected,
        request=request,
        new_params=_new_params(op, params_key),
        rerun=rerun,
        redo="re-execute",
        import_path=import_path_of(flow),
    )
    return begin_or_take_over(recorded_in, ledger, plan, lambda run: _end_of(op.instance, run))


def _rerun(ledger: RunLedger, op: dg.OpExecutionContext, run: RunRecord, steps: Collection[str]) -> EngineRerun | None:
    """Return what Dagster runs again: of the runs before, the last that is recorded; others died before their steps."""
    for before in runs_before(op.run, op.instance):
        if find_run(ledger, before.run_id, run.workflow, run.context.partition) is not None:
            return EngineRerun(run_id=before.run_id, steps=lambda: steps, from_failure=before.from_failure)
    return None


def _end_of(instance: dg.DagsterInstance, run: RunRecord) -> RunStatus | None:
    """Return how a run ended, if it is one of this instance and is over."""
    return end_in(instance, run, instance.get_run_by_id(run.run_id) if run.engine == "dagster" else None)


def end_in(instance: dg.DagsterInstance, run: RunRecord, found: dg.DagsterRun | None) -> RunStatus | None:
    """Return how a run ended, if it is over, given what an instance has of it; what was its own and is gone is over."""
    if found is not None:
        return end_of_run(found)
    return RunStatus.CANCELED if _of_instance(instance, run) else None


def _of_instance(instance: dg.DagsterInstance, run: RunRecord) -> bool:
    """Return whether a run says that it was of an instance of Dagster; one that this does not know was deleted."""
    known = engine_of(run.context).get("instance") if run.engine == "dagster" else None
    return known is not None and known == instance_id(instance)


def end_of_run(run: dg.DagsterRun) -> RunStatus | None:
    """Return how a run of Dagster's ended, if it is over."""
    ends = {dg.DagsterRunStatus.SUCCESS: RunStatus.OK, dg.DagsterRunStatus.CANCELED: RunStatus.CANCELED}
    return ends.get(run.status, RunStatus.FAILED) if run.is_finished else None


def selected_steps(body: StepBody, op: dg.OpExecutionContext) -> Collection[str]:
    """Return the steps of the workflow that are part of the run: one may be about some assets only."""
    keys = op.run.step_keys_to_execute
    nodes = {node.name for node in op.job_def.nodes} if keys is None else set(keys)
    return {name for name in body.workflow.steps if body.node(name) in nodes}


def _new_params(op: dg.OpExecutionContext, params_key: str) -> tuple[str, ...]:
    """Return the names of the parameters in the run's configuration."""
    resources: Any = op.run.run_config.get("resources") or {}
    return tuple(resources.get(params_key, {}).get("config") or ())
