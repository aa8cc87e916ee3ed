"""Rows and payloads that somebody has tampered with: an error of ours each time, in few words."""

from __future__ import annotations

import sqlite3

import pytest

from flowctx import PayloadError, WorkflowContext
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.data.encoding import from_json
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import make_context
from flowctx.testing.clock import NOON


@pytest.mark.parametrize("value", [[], [1], "x" * 100_000, {"x": 1}])
@pytest.mark.parametrize("tag", ["$uuid", "$date", "$decimal", "$datetime", "$artifact", "$timedelta"])
def test_a_damaged_tag_is_an_error_of_ours(tag, value):
    """Whatever stands under a tag, the error is ours and quotes at most a few hundred characters."""
    with pytest.raises(PayloadError) as caught:
        from_json({tag: value})
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("started_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", [], 5])
def test_a_time_that_cannot_be_is_an_error_of_ours(started_at):
    """A context that started at the edge of time, or at none, is refused in our words."""
    with pytest.raises(PayloadError):
        WorkflowContext.from_dict({**make_context(workflow="w").to_dict(), "started_at": started_at})


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE flowctx_batch SET params = '{'",
        "UPDATE flowctx_batch SET params = '{\"$uuid\": []}'",
        "UPDATE flowctx_batch SET created_at = 'soon'",
        "UPDATE flowctx_launch SET state = 'odd'",
        "UPDATE flowctx_launch SET heard_at = 7",
    ],
)
def test_a_damaged_row_of_a_batch_is_named(sqlite_url, change):
    """A row of a batch or of one of its partitions that is not what was written is an error that names the batch."""
    ledger = SqlLedger(sqlite_url)
    ledger.batches.put(BatchRecord(batch_id="b7", workflow="flow", created_at=NOON))
    run = PartitionRun(partition="n=1", state=PartitionState.OK, run_id="r", engine="local", last_seen_at=NOON)
    ledger.batches.record_outcomes("b7", [run])
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as raw:
        raw.execute(change)
    read = ledger.batches.get if "flowctx_batch" in change else lambda batch: list(ledger.batches.iter_outcomes(batch))
    with pytest.raises(PayloadError, match="batch b7 is damaged"):
        read("b7")
    ledger.close()
