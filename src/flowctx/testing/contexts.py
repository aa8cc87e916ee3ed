"""Contexts for tests that call a step as the plain function it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from flowctx.core.data.plain import FrozenDict
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.checkpoint import CheckpointState
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_context import begin
from flowctx.core.workflow.run_request import RunRequest
from flowctx.testing.clock import NOON


def make_context(
    *,
    workflow: Workflow | str = "workflow",
    run_id: str = "run-1",
    partition: PartitionKey | Mapping[str, Any] | str | None = None,
    as_of_date: date | str | None = None,
    batch_id: str | None = None,
    trace_id: str | None = None,
    capture_id: str | None = None,
    idempotency_key: str | None = None,
    started_at: datetime | None = None,
    params: Mapping[str, Any] | None = None,
    step_outputs: Mapping[str, Mapping[str, Any]] | None = None,
    metadata: Mapping[str, Any] | None = None,
    checkpoint: CheckpointState | None = None,
) -> WorkflowContext:
    """Make the context that a step would see: what is not given is derived as in a run, but always the same.

    Args:
        workflow: The workflow, whose scheme and parameters give the context the ids, dates and parameters of its runs;
            or its name alone, from which the idempotency key is derived.
        run_id: The run's id.
        partition: The partition key, a dict of its dimensions, or text such as ``date=2026-01-09,fund=GROWTH``.
        as_of_date: The business date, or its text in ISO 8601.
        batch_id: The batch.
        trace_id: The trace.
        capture_id: The capture.
        idempotency_key: The idempotency key.
        started_at: When the run started; by default at noon (UTC) of 2026-01-09, or when the partition is due, if that
            is later.
        params: Parameters.
        step_outputs: Outputs of the steps before.
        metadata: What the system would say.
        checkpoint: How far a resumed run had come.

    Raises:
        ContextError: The workflow has no such parameter, or needs a partition.
        WorkflowError: It has no such step.
        UnknownPartition: The workflow has no such partition.

    Example:
        >>> make_context(partition={"date": "2026-01-09"}, step_outputs={"fetch": {"rows": 3}}).capture_id
        '2026-01-09|run-1'
    """
    request = RunRequest.parse({"partition": partition, "as_of_date": as_of_date}.get)
    scheme, key = None, request.partition
    if isinstance(workflow, Workflow):
        scheme, params = workflow.partitions, workflow.params_with(params)
        key = workflow.partition_key(key)
    elif isinstance(key, str):
        key = PartitionKey.parse(key)
    due = scheme.due(key) if scheme is not None and key is not None else None
    ctx = begin(
        workflow.name if isinstance(workflow, Workflow) else workflow,
        run_id=run_id,
        scheme=scheme,
        partition=key,
        as_of_date=request.as_of_date,
        batch_id=batch_id,
        trace_id=trace_id,
        capture_id=capture_id,
        idempotency_key=idempotency_key,
        started_at=started_at or max(NOON, due or NOON),
        params=params,
        metadata=metadata,
        checkpoint=checkpoint,
    )
    return replace(ctx, step_outputs=_outputs(workflow, step_outputs))


def _outputs(workflow: Workflow | str, of_steps: Mapping[str, Mapping[str, Any]] | None) -> Mapping[str, Any]:
    """Return the outputs of steps that the workflow has, as far as it is known."""
    for name in of_steps or ():
        if isinstance(workflow, Workflow):
            workflow[name]
    return FrozenDict() if of_steps is None else of_steps
