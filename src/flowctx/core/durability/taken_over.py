"""What a run that continues another is about, for whatever asks beside the steps that are recorded in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowctx.core.durability.continuation import of_the_run
from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.param_changes import params_now
from flowctx.core.durability.recorded import latest_continuation
from flowctx.core.durability.records import MOST_INSTANCES, RunRecord
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import RunRequest


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """What a run takes over of the one that it continues."""

    #: What the first step sees.
    context: WorkflowContext
    #: Whether it is that of the same partition, and not of one of several instances.
    of_partition: bool

    def request(self, request: RunRequest, *, of_workflow: bool) -> RunRequest:
        """Return what the caller says of the run, with what it takes over.

        Args:
            request: What the caller says.
            of_workflow: Whether the workflow is meant, and not what runs beside it: that is another subject.
        """
        before = self.context
        day = before.as_of_date or (None if self.of_partition else request.as_of_date)
        request = replace(request, batch_id=request.batch_id or before.batch_id, as_of_date=day)
        if not self.of_partition:
            return request
        request = replace(request, capture_id=before.capture_id)
        return replace(request, idempotency_key=before.idempotency_key) if of_workflow else request

    @property
    def metadata(self) -> dict[str, str]:
        """What ``metadata`` says where the business date is taken over and is none: no rule makes one."""
        return {"as_of_source": "none"} if self.of_partition and self.context.as_of_date is None else {}

    def seen(self, ctx: WorkflowContext) -> WorkflowContext:
        """Return a context that was made of :meth:`request`, with what only the other run knows."""
        if self.context.as_of_date is None and not self.of_partition:
            return ctx
        metadata = {**ctx.metadata, **of_the_run(self.context, ctx)}
        return replace(ctx, metadata=metadata, checkpoint=self.context.checkpoint)


def taken_over(
    ledger: RunLedger,
    workflow: Workflow,
    run_id: str,
    partition: PartitionKey | None,
    request: RunRequest,
    *,
    params: Mapping[str, Any],
    new_params: Collection[str],
) -> TakenOver:
    """Return what a run takes over of the one that it continues, whether a step of it has begun or not.

    Args:
        ledger: Where runs are remembered.
        workflow: The workflow.
        run_id: The run.
        partition: Its partition; of what runs beside instances, the part of theirs that they share.
        request: What the caller says of the run.
        params: The run's parameters, as its engine tells them.
        new_params: The names of those that the caller passed.

    Raises:
        UnknownRun: The ledger remembers no run ``resume_from``.
        LedgerError: The ledger cannot be read, and the setting is strict.
    """
    begun = _found(ledger, workflow, run_id, partition)
    if begun is not None and begun.context.partition == partition:
        context = begun.context
        if request.accept_changes:
            context = replace(context, params=params_now(workflow, begun, ledger.steps(begun.key)))
        return TakenOver(context=context, of_partition=True)
    resume_from = str(request.resume_from)
    before = _found(ledger, workflow, resume_from, partition)
    if before is None:  # which says what to do
        before = ledger.get_run(resume_from, workflow=workflow.name, partition=partition)
    before = latest_continuation(ledger, before)
    kept: Mapping[str, Any] = before.context.params
    if request.accept_changes:
        kept = params_now(workflow, before, ledger.steps(before.key), [n for n in params if n not in new_params])
    anew = {name: value for name, value in params.items() if name in new_params}
    context = replace(before.context, params={**kept, **anew}, checkpoint=None)
    return TakenOver(context=context, of_partition=context.partition == partition)


def is_recorded(ledger: RunLedger, workflow: Workflow, run_id: str, partition: PartitionKey | None) -> bool:
    """Return whether a run of a partition is recorded, or one of its instances, of which each has more of it."""
    return _found(ledger, workflow, run_id, partition) is not None


def _found(ledger: RunLedger, workflow: Workflow, run_id: str, partition: PartitionKey | None) -> RunRecord | None:
    """Return a run of a partition, else one of its instances, of which each has more of a partition.

    It has no business date where those of the instances differ.
    """
    if partition is not None:
        exact = ledger.list_runs(workflow=workflow.name, run_id=run_id, partition=partition, limit=1)
        if exact:
            return exact[0]
    runs = ledger.list_runs(workflow=workflow.name, run_id=run_id, limit=MOST_INSTANCES)
    shared = dict(partition or {}).items()
    found = [run for run in runs if shared <= dict(run.context.partition or {}).items()]
    nearest = min(found, key=lambda run: len(run.context.partition or {}), default=None)
    if nearest is None or nearest.context.partition == partition or len({r.context.as_of_date for r in found}) == 1:
        return nearest
    return replace(nearest, context=replace(nearest.context, as_of_date=None))
