"""What the ledger remembers, as values."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import PartitionKey, StepResult, StepStatus
from flowctx.core.data.plain import FrozenDict
from flowctx.core.durability.records import CaptureKey, RunKey, RunRecord, StepRecord
from flowctx.testing import make_context
from flowctx.testing.clock import NOON

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5)
KEYS = st.builds(
    RunKey,
    workflow=TEXT,
    run_id=TEXT,
    partition=st.none() | st.builds(lambda value: PartitionKey(tier=value), st.sampled_from(["A", "B"])),
)


@given(KEYS, KEYS)
def test_keys_have_equal_digests_if_they_are_equal(one, other):
    """The digest stands for workflow, run and partition together, and for nothing else."""
    assert (one.digest == other.digest) == (one == other)
    assert len(one.digest) == 32


def test_a_digest_is_a_promise():
    """Databases hold it: it stays what it is."""
    key = RunKey(workflow="prices", run_id="r1", partition=PartitionKey(date="2012-01-03"))
    assert key.digest == "2b5298946a791bb8221dc224521373bd"
    assert key.text == "prices r1 (date=2012-01-03)"


def test_a_run_is_known_by_its_context():
    """Its key and its capture are those of the context that its first step saw."""
    run = RunRecord(workflow="flow", context=make_context(workflow="flow", partition={"tier": "A"}, capture_id="c1"))
    assert run.key == RunKey(workflow="flow", run_id="run-1", partition=PartitionKey(tier="A"))
    assert run.capture == CaptureKey(idempotency_key=run.context.idempotency_key, capture_id="c1")
    assert run.run_id == "run-1"


@pytest.mark.parametrize(
    ("metadata", "engine"),
    [
        ({"engine": {"name": "airflow"}}, "airflow"),
        ({"engine": {}}, "local"),
        ({"engine": "x"}, "local"),
        ({}, "local"),
    ],
)
def test_the_engine_is_that_of_the_metadata(metadata, engine):
    """A context that says nothing of an engine ran in this process."""
    assert RunRecord(workflow="flow", context=make_context(metadata=metadata)).engine == engine


@pytest.mark.parametrize(("selected", "part"), [((), False), (("a",), True)])
def test_a_run_of_some_steps_is_a_part(selected, part):
    """A run that is to do all steps selects none."""
    assert RunRecord(workflow="flow", context=make_context(), steps=("a", "b"), selected=selected).is_part is part


def test_a_context_without_ids_captures_nothing():
    """What has no capture id or no idempotency key writes no capture."""
    ctx = make_context()
    for field in ("capture_id", "idempotency_key"):
        assert RunRecord(workflow="flow", context=replace(ctx, **{field: None})).capture is None


@pytest.mark.parametrize(
    ("status", "complete"), [("ok", True), ("skipped", True), ("failed", False), ("not_run", False)]
)
def test_a_step_that_found_nothing_to_do_is_complete(status, complete):
    """What is ok or skipped need not run again; what failed or was not run does."""
    assert StepRecord(step="a", status=StepStatus(status), started_at=NOON).complete is complete


def test_the_result_of_a_record_is_that_of_the_step():
    """With the output at hand, a record gives back the result that was recorded."""
    failed = StepResult.fail("no", category="TIMEOUT", output={"n": 1})
    record = StepRecord(step="a", status=failed.status, error=failed.error, category=failed.category, started_at=NOON)
    assert record.result(FrozenDict(failed.output)) == failed
