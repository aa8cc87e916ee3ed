"""What remembers batches, and what is asked of it where there is no such batch."""

from datetime import UTC, datetime

import pytest

from flowctx.core.batches.ledger import meant_batch
from flowctx.core.batches.records import BatchRecord
from flowctx.ledger.memory import MemoryLedger


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("restate-jn", "did you mean 'restate-jan'? "), ("2026", ""), ("restate-feb2", "did you mean 'restate-feb'? ")],
)
def test_the_nearest_batch_is_asked_about(slip, meant):
    """Of batches that are there, one that is nearly called so."""
    batches = MemoryLedger().batches
    assert meant_batch(slip, batches) == ""
    for name in ("restate-jan", "restate-feb"):
        batches.put(BatchRecord(batch_id=name, workflow="nav", import_path=None, created_at=datetime.now(UTC)))
    assert meant_batch(slip, batches) == meant
