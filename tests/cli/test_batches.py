"""``flowctx batches``: each of several batches stands as its own runs do."""

from __future__ import annotations

import os

import pytest

from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.ledger import open_ledger
from flowctx.testing import make_context


@pytest.mark.parametrize("number", [1, 2, 5])
def test_each_batch_is_counted_for_itself(shell, number):
    """They are counted on two connections, and each has its own numbers all the same."""
    ledger = open_ledger(os.environ["FLOWCTX_LEDGER_URL"])
    for batch in range(1, number + 1):
        for run in range(batch):
            ctx = make_context(workflow="w", run_id=f"r{batch}-{run}", partition={"n": run}, batch_id=f"b{batch}")
            ledger.finish(ledger.begin(RunRecord(workflow="w", context=ctx, steps=("a",))), RunStatus.OK)
    ledger.close()
    counted = {one["batch_id"]: one["counts"] for one in shell("batches", "--json")}
    assert counted == {f"b{batch}": {"ok": batch} for batch in range(1, number + 1)}
