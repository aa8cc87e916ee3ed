"""Say of a run that it is over, where it cannot say so itself: its engine has stopped it, or it died."""

from __future__ import annotations

from flowctx.core.durability.completeness import status_when_over
from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.durability.resumption import failure_of
from flowctx.core.errors import Superseded
from flowctx.core.workflow.result import StepStatus


def end_run(ledger: RunLedger, run: RunRecord, status: RunStatus, error: str | None = None) -> RunStatus | None:
    """End a run that the ledger takes for running, as its engine says; what its steps recorded comes first.

    Args:
        ledger: Where it is recorded.
        run: The run, as it was read.
        status: What the engine calls it.
        error: What the engine says of it.

    Returns:
        How it ended; ``None`` if it had ended already, or has gone on since.
    """
    if run.status is not RunStatus.RUNNING:
        return None
    statuses = ledger.statuses(run.key)
    order = dict.fromkeys(run.steps, ())
    found = status_when_over(order, statuses)
    if status in (RunStatus.FAILED, RunStatus.CANCELED) and found is not RunStatus.FAILED:
        found = status
    failed = [name for name, how in statuses.items() if how is StepStatus.FAILED]
    if failed and found is RunStatus.FAILED:
        record = ledger.steps(run.key, failed)[0]
        error = failure_of(record.step, record.error)
    try:
        ledger.finish(run, found, None if found is RunStatus.OK else error)
    except Superseded:
        return None
    return found
