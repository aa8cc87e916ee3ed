"""A batch whose parameters something makes for each partition: what it is known by, and what all partitions have."""

from __future__ import annotations

import pytest

from flowctx import Backfill, BatchError, PartitionScheme, Workflow
from flowctx.core.batches.partition_params import PartitionParams
from flowctx.ledger.memory import MemoryLedger

flow = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2"]), params={"limit": 1, "note": ""})


class Noted(PartitionParams):
    """Notes the tier."""

    name = "noted"

    def __call__(self, key):
        """Return the parameters of one partition."""
        return {"note": key.tier, **self.params}


class NotedOtherwise(Noted):
    """The same, with other code."""

    def __call__(self, key):
        """Return the parameters of one partition."""
        return {"note": key.tier.lower(), **self.params}


def test_a_batch_is_known_by_the_name_and_by_what_all_partitions_have():
    """Its record has both, and a job has what is made for its partition, too."""
    batch = Backfill(flow, None, "b", params=Noted({"limit": 3}), ledger="memory://")
    assert (batch.record().params_from, batch.record().params) == ("noted", {"limit": 3})
    assert batch.job(flow.partitions[0], None).params == {"limit": 3, "note": "T1"}


def test_it_goes_on_with_other_code_and_not_with_other_parameters():
    """The name stands for the code; whoever extends a batch has to name all that it has."""
    ledger = MemoryLedger()
    ledger.batches.put(Backfill(flow, None, "b", params=Noted({"limit": 3}), ledger=ledger).record())
    Backfill(flow, None, "b", params=NotedOtherwise({"limit": 3}), ledger=ledger).reconcile()
    with pytest.raises(BatchError, match="has the parameters {'limit': 3}, and this asks for {'limit': 4}"):
        Backfill(flow, None, "b", params=Noted({"limit": 4}), ledger=ledger).reconcile()
    with pytest.raises(BatchError, match="of which this says nothing"):
        Backfill(flow, None, "b", params=Noted({}), ledger=ledger).reconcile(extend=True)
