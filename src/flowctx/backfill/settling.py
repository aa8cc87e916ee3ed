"""What an engine says is over is over in the ledger too."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.errors import UnknownRun
from flowctx.core.partitions.key import PartitionKey

#: So many runs of a batch are looked at that was canceled.
_MOST = 10_000
_WORDS = {
    PartitionState.FAILED: "its engine says that it failed",
    PartitionState.CANCELED: "it was canceled",
}


def settle_run(ledger: Ledger, workflow: str, outcome: PartitionRun, asked_at: datetime | None = None) -> PartitionRun:
    """End a recorded run that its engine calls over.

    A step may have begun after its engine ended the run, and before it was killed for that. So what counts is when the
    engine was asked, and not when it ended the run; only a run that has begun since then is left alone.

    Args:
        ledger: Where it is recorded.
        workflow: The workflow's name.
        outcome: What the engine says of it.
        asked_at: A time on the ledger's clock before the engine was asked; by default when it ended the run.

    Returns:
        How it ended: by the ledger's account, if it has one, since an engine may call done what somebody marked so.
    """
    if not outcome.state.ended:
        return outcome
    partition = PartitionKey.parse(outcome.partition) if outcome.partition else None
    try:
        found = ledger.get_run(outcome.run_id, workflow=workflow, partition=partition)
    except UnknownRun:
        return outcome
    heard_at = outcome.last_seen_at if asked_at is None else max(asked_at, outcome.last_seen_at)
    status: RunStatus | None = found.status
    if status is RunStatus.RUNNING:
        status = None
        if found.last_seen_at is None or found.last_seen_at <= heard_at:  # else it has begun again since
            status = end_run(ledger, found, RunStatus(outcome.state), outcome.error or _WORDS.get(outcome.state))
    state = outcome.state if status is None else PartitionState(status)
    if state is outcome.state or (outcome.state is PartitionState.CANCELED and not state.done):
        return outcome
    return replace(outcome, state=state, error=found.error or (None if state.done else outcome.error))


def end_silent_runs(ledger: Ledger, batch: BatchRecord) -> tuple[int, list[RunRecord]]:
    """End what a canceled batch has running in processes of flowctx's own that have died, as slices that were killed.

    A process gives signs of life; whose lease has run out without one is taken for dead.

    Args:
        ledger: Where it is recorded.
        batch: The batch, which was canceled.

    Returns:
        How many runs it ended, and those that may be under way.
    """
    now, ended, left = ledger.now(), 0, []
    for workflow in batch.workflows:
        running = ledger.list_runs(workflow=workflow, batch_id=batch.batch_id, status=RunStatus.RUNNING, limit=_MOST)
        for run in running:
            if run.engine != "local":
                continue
            if run.lease_until is not None and run.lease_until > now:
                left.append(run)
            else:
                ended += (
                    end_run(ledger, run, RunStatus.CANCELED, "its batch was canceled, and its process died") is not None
                )
    return ended, left
