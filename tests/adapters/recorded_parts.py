"""Runs of one step of two, or of none, as an engine left them in the ledger."""

from __future__ import annotations

from backfill.flows import flow
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_context import begin
from flowctx.testing.clock import NOON


def record_part(ledger: Ledger, engine: str) -> None:
    """Record that an engine has done the first step of a partition of the batch ``b``."""
    ids = {"batch_id": "b", "partition": flow.partition_key("2012-01-02|T1"), "scheme": flow.partitions}
    ctx = begin("filled", run_id="part", metadata={"engine": {"name": engine}}, **ids)
    run = ledger.begin(RunRecord(workflow="filled", context=ctx, steps=tuple(flow.steps), selected=("load",)))
    ledger.record(run, [StepRecord(step="load", status=StepStatus.OK, started_at=NOON, output={"tier": "T1"})])
    ledger.finish(run, RunStatus.PARTIAL)


def record_failure(
    ledger: Ledger, engine: str, run_id: str, *, tier: str = "T2", died: bool = False, **params: object
) -> None:
    """Record that a step of a run of the batch ``b`` failed, or died, after the one before it was complete."""
    ids = {"batch_id": "b", "partition": flow.partition_key(f"2012-01-02|{tier}"), "scheme": flow.partitions}
    of_run = {**flow.params, **params}
    ctx = begin("filled", run_id=run_id, metadata={"engine": {"name": engine}}, params=of_run, **ids)
    run = ledger.begin(RunRecord(workflow="filled", context=ctx, steps=tuple(flow.steps)))
    statuses = {"load": StepStatus.OK} if died else {"load": StepStatus.OK, "check": StepStatus.FAILED}
    ledger.record(run, [StepRecord(step=step, status=how, started_at=NOON) for step, how in statuses.items()])
    ledger.finish(run, RunStatus.FAILED, "no")


def record_skip(ledger: Ledger, engine: str, run_id: str) -> None:
    """Record that the first step of a run of the batch ``b`` found nothing to do, and the other was skipped for it."""
    ids = {"batch_id": "b", "partition": flow.partition_key("2012-01-02|T1"), "scheme": flow.partitions}
    ctx = begin("filled", run_id=run_id, metadata={"engine": {"name": engine}}, params=flow.params, **ids)
    run = ledger.begin(RunRecord(workflow="filled", context=ctx, steps=tuple(flow.steps)))
    ledger.record(run, [StepRecord(step=step, status=StepStatus.SKIPPED, started_at=NOON) for step in flow.steps])
    ledger.finish(run, RunStatus.SKIPPED, "no file yet")
