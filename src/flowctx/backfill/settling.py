"""What an engine says is over is over in the ledger too."""

from __future__ import annotations

from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunStatus
from flowctx.core.errors import UnknownRun
from flowctx.core.partitions.key import PartitionKey

_WORDS = {
    PartitionState.FAILED: "its engine says that it failed",
    PartitionState.CANCELED: "it was canceled",
}


def settle_run(ledger: Ledger, workflow: str, outcome: PartitionRun) -> None:
    """End a recorded run that its engine calls over.

    Args:
        ledger: Where it is recorded.
        workflow: The workflow's name.
        outcome: What the engine says of it.
    """
    if not outcome.state.ended:
        return
    partition = PartitionKey.parse(outcome.partition) if outcome.partition else None
    try:
        found = ledger.get_run(outcome.run_id, workflow=workflow, partition=partition)
    except UnknownRun:
        return
    if found.last_seen_at is None or found.last_seen_at <= outcome.last_seen_at:  # else it has begun again since
        end_run(ledger, found, RunStatus(outcome.state), outcome.error or _WORDS.get(outcome.state))
