"""How captures and batches stand for whoever reads them."""

from __future__ import annotations

from flowctx.core.batches.ledger import BatchStore
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.core.errors import UnknownBatch


class FindBatch:
    """Finds a batch that may not be there, in a ledger of any kind."""

    batches: BatchStore

    def find_batch(self, batch_id: str) -> BatchRecord | None:
        """Return a batch, or ``None`` if nobody remembers it."""
        try:
            return self.batches.get(batch_id)
        except UnknownBatch:
            return None


def standing(state: CaptureState, status: RunStatus) -> RunStatus:
    """Return how a capture stands, given its state and its run's: only a complete one is ok.

    Example:
        >>> standing(CaptureState.RELEASED, RunStatus.SKIPPED), standing(CaptureState.HELD, RunStatus.OK)
        (<RunStatus.SKIPPED: 'skipped'>, <RunStatus.PARTIAL: 'partial'>)
    """
    if state is CaptureState.COMPLETE:
        return RunStatus.OK
    return RunStatus.PARTIAL if status is RunStatus.OK else status
