"""What a batch hands to the tasks of an engine."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from flowctx import BatchError
from flowctx.core.batches.bulk import BulkRequest, bulk_name

REQUEST = BulkRequest(
    batch_id="restate",
    launcher="host:1:ab",
    launched_at=datetime(2026, 1, 9, 12, tzinfo=UTC),
    params={"day": date(2026, 1, 9), "limit": Decimal("1.10")},
    retry_failed=True,
    from_step="check",
    max_failures=3,
)


def test_it_is_read_back_from_json_as_it_was():
    """Dates and decimals of parameters stay what they are, and what an engine adds beside it is nothing to it."""
    data = json.loads(json.dumps({**REQUEST.to_dict(), "slices": []}))
    assert BulkRequest.from_dict(data) == REQUEST


def test_a_newer_form_is_refused():
    """The message names both forms, and what to do."""
    with pytest.raises(BatchError, match="are of form 2, and flowctx here knows form 1; have the same version"):
        BulkRequest.from_dict({**REQUEST.to_dict(), "version": 2})


def test_the_name_of_a_bulk_dag_is_that_of_the_workflow():
    """Two underscores keep it apart from names of workflows."""
    assert bulk_name("prices") == "prices__bulk"
