"""What the fields of a context may be."""

import warnings
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from flowctx import ContextError, PartitionError, PartitionKey, PlainDataError, WorkflowContext
from flowctx.core.workflow.context_fields import as_date, as_dict, as_partition, as_utc


def test_an_instant_is_kept_in_utc() -> None:
    """The same instant, whatever zone it was said in, and a naive one is refused."""
    tokyo = datetime(2026, 1, 10, 9, tzinfo=timezone(timedelta(hours=9)))
    assert as_utc(tokyo) == tokyo
    assert as_utc(tokyo).tzinfo is UTC
    with pytest.raises(ContextError, match="has no time zone"):
        as_utc(datetime(2026, 1, 10))  # noqa: DTZ001


def test_a_date_is_no_instant() -> None:
    """A datetime is another day elsewhere, so it is not taken for a date; nor is text."""
    assert as_date(date(2026, 1, 10)) == date(2026, 1, 10)
    for value, match in ((datetime(2026, 1, 10, tzinfo=UTC), "say which day"), ("2026-01-10", "must be a date")):
        with pytest.raises(ContextError, match=match):
            as_date(value)


def test_a_partition_is_a_key_or_its_dimensions() -> None:
    """A dict of dimensions becomes a key; anything else is refused with an example."""
    assert as_partition({"date": "2026-01-10"}) == PartitionKey(date="2026-01-10")
    for value in ("2026-01-10", {1: "a"}):
        with pytest.raises(PartitionError, match="must be a dict of dimensions"):
            as_partition(value)


def test_a_dict_is_plain_and_frozen() -> None:
    """What is given is copied, so that changing it later changes nothing; a list is refused."""
    given = {"a": [1]}
    kept = as_dict(given, "params")
    given["a"].append(2)
    assert kept == {"a": [1]}
    with pytest.raises(PlainDataError, match="params is a list"):
        as_dict([1], "params")


def test_other_fields_of_a_payload_are_told() -> None:
    """A payload without a version, such as another library's, has its unknown fields named; ours says nothing."""
    payload = {"run_id": "r", "trace_id": "t", "started_at": "2026-01-10T00:00:00+00:00"}
    with pytest.warns(UserWarning, match="has 'outputs', which is no field.*did you mean 'step_outputs'"):
        read = WorkflowContext.from_dict({**payload, "outputs": {"fetch": {"rows": 3}}})
    assert read.step_outputs == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        WorkflowContext.from_dict({**WorkflowContext.new().to_dict(), "newer": 1})
        WorkflowContext.from_dict({**payload, "step_outputs": {}})
