"""Whether a run on an engine had the parameters of a batch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from flowctx import PartitionScheme, Workflow
from flowctx.backfill.again import had_params, had_params_of_batch
from flowctx.core.batches.records import BatchRecord
from flowctx.core.data.encoding import to_json
from flowctx.core.data.secrets import with_digests

flow = Workflow(
    "told",
    partitions=PartitionScheme(tier=["T1"]),
    params={"limit": 1, "since": date(2012, 1, 3), "api_token": "", "any": None},
)


def batch(**params: Any) -> BatchRecord:
    """Return a batch as a ledger has it."""
    now = datetime(2026, 1, 9, tzinfo=UTC)
    return BatchRecord(batch_id="b", workflow="told", selection="tier=T1", params=with_digests(params), created_at=now)


@pytest.mark.parametrize(
    ("given", "params", "had"),
    [
        ({"limit": "2"}, {"limit": 2}, True),
        ({"limit": 2, "batch_id": "b"}, {"limit": 2}, True),
        ({"since": "2012-01-04"}, {"since": date(2012, 1, 4)}, True),
        (to_json({"since": date(2012, 1, 4)}), {"since": date(2012, 1, 4)}, True),
        ({"limit": 1}, {}, True),
        ({"limit": 2}, {}, False),
        ({}, {"limit": 1}, True),
        ({}, {"limit": 2}, False),
        ({"limit": "two"}, {"limit": 2}, False),
        ({"api_token": "hunter2"}, {"api_token": "hunter2"}, True),
        ({"api_token": "hunter3"}, {"api_token": "hunter2"}, False),
        ({"removed": 1}, {"removed": 1}, True),
        ({}, {"removed": 1}, False),
    ],
)
def test_parameters_are_compared_as_the_workflow_reads_them(
    given: dict[str, Any], params: dict[str, Any], had: bool
) -> None:
    """Text that somebody typed is read, what was not given is the default, and a secret is known by its digest."""
    assert had_params(flow, given, params) is had
    assert had_params_of_batch(flow, given, batch(**params)) is had


def test_a_run_that_goes_on_has_what_it_was_not_given() -> None:
    """The one before it had that."""
    assert had_params(flow, {}, {"limit": 2}, resumes=True)
    assert not had_params(flow, {"limit": 1}, {"limit": 2}, resumes=True)
    assert not had_params(flow, {"limit": 1}, {"limit": 2}, resumes=True, exactly=False)


def test_what_is_not_asked_for_may_be_what_it_was() -> None:
    """Of a run that a ledger has, which says what else it was given."""
    assert had_params(flow, {"limit": 2}, {}, exactly=False)
    assert not had_params(flow, {"limit": 2}, {"limit": 1}, exactly=False)


def test_a_batch_says_what_it_can() -> None:
    """What a function makes for each partition is not known from its record, nor anything of what nobody planned."""
    made = replace(batch(limit=2), params_from="flows:limits@1")
    assert had_params_of_batch(flow, {"limit": 2, "any": 3}, made)
    assert not had_params_of_batch(flow, {"limit": 1}, made)
    assert had_params_of_batch(flow, {"limit": 1}, replace(made, selection=None))


def test_where_parameters_need_not_be_declared_a_run_has_all_that_it_was_given() -> None:
    """What says who the run is, and what an engine writes beside, is none; of a recorded run, the ledger tells."""
    free = Workflow("free", partitions=PartitionScheme(tier=["T1"]))
    assert not had_params(free, {"limit": 1}, {})
    assert had_params(free, {"limit": 1}, {}, exactly=False)
    assert had_params(free, {"batch_id": "b", "openlineage": {}, "airflow/x": 1, "limit": 1}, {"limit": 1})
