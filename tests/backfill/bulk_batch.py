"""A batch that is launched in bulk, of which a test runs the slices."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from backfill.flows import flow
from flowctx import Backfill, BatchStatus
from flowctx.backfill.bulk import slice_of
from flowctx.backfill.slices import split
from flowctx.bulk import SliceProcess
from flowctx.core.batches.bulk import BulkRequest, Slice
from flowctx.core.durability.ledger import Ledger

LEASE = timedelta(seconds=30)


class Bulk:
    """A batch of the flow of these tests."""

    def __init__(self, ledger: Ledger, selection: str, count: int = 1, **params: Any) -> None:
        self.ledger, self.plan = ledger, Backfill(flow, selection, "b", params=params, ledger=ledger)
        ledger.batches.lead("b", "me", LEASE, lambda known: self.plan.record())
        self.slices = [slice_of(part) for part in split(flow, self.plan.selection, [], count)]
        self.request = BulkRequest(
            batch_id="b", launcher="me", launched_at=datetime.now(UTC) - timedelta(seconds=1), params=self.plan.params
        )

    def process(self, part: Slice | None = None) -> SliceProcess:
        """Return the process of a slice, by default the only one."""
        return SliceProcess(flow, self.request, part or self.slices[0], self.ledger)

    def counts(self) -> dict[str, int]:
        """Return how the batch stands."""
        return dict(BatchStatus.of(self.ledger, "b", flow).counts)

    def partitions(self) -> list[str]:
        """Return the texts of its partitions."""
        return [str(key) for key in self.plan.selection]

    @property
    def conf(self) -> dict[str, Any]:
        """What a launch hands to the run of an engine."""
        return {**self.request.to_dict(), "slices": [asdict(part) for part in self.slices]}
