"""Each behaviour that the reference of WorkflowContext shows, as it shows it."""

import dataclasses
import json
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from flowctx import CheckpointState, PartitionKey, StepResult, WorkflowContext


class Step:
    """A step as the reference's runner sees it."""

    def __init__(self, name, function):
        self.name, self.execute = name, function


def test_it_has_exactly_the_twelve_fields():
    """The fields and their order are those of the reference."""
    assert [f.name for f in dataclasses.fields(WorkflowContext)] == [
        "run_id",
        "trace_id",
        "batch_id",
        "started_at",
        "params",
        "step_outputs",
        "metadata",
        "checkpoint",
        "partition",
        "as_of_date",
        "capture_id",
        "idempotency_key",
    ]


def test_defaults():
    """Without arguments it has new UUIDs, the time in UTC, and nothing else."""
    ctx = WorkflowContext()
    assert uuid.UUID(ctx.run_id)
    assert uuid.UUID(ctx.trace_id) != uuid.UUID(ctx.run_id)
    assert ctx.started_at.tzinfo is UTC
    assert datetime.now(UTC) - ctx.started_at < timedelta(minutes=1)
    assert (ctx.params, ctx.step_outputs, ctx.metadata) == ({}, {}, {})
    rest = (ctx.batch_id, ctx.checkpoint, ctx.partition, ctx.as_of_date, ctx.capture_id, ctx.idempotency_key)
    assert rest == (None,) * 6


def test_with_step_output():
    """The runner adds each step's output under the step's name."""
    step = Step("fetch", lambda context, config: StepResult.ok(output={"records": [1, 2]}))
    context, config = WorkflowContext(), {}
    before = context

    result = step.execute(context, config)
    context = context.with_step_output(step.name, result.output)

    assert context.step_outputs == {"fetch": {"records": [1, 2]}}
    assert before.step_outputs == {}


def test_with_updates():
    """The runner merges context_updates into the params."""
    context = WorkflowContext.new(params={"a": 1, "b": 1})
    result = StepResult.ok(context_updates={"b": 2, "c": 3})

    if result.context_updates:
        context = context.with_updates(result.context_updates)

    assert context.params == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize("nothing", [{}, None])
def test_with_no_updates_is_the_same_object(nothing):
    """Merging nothing makes no new context."""
    ctx = WorkflowContext.new(params={"a": 1})
    assert ctx.with_updates(nothing) is ctx


def test_with_partition():
    """The partition's coordinates are attributes of the key."""
    context = WorkflowContext()
    context = context.with_partition(
        date="2026-01-10",
        tier="NMS_TIER_1",
        venue="NYSE",
    )
    assert context.partition == PartitionKey(date="2026-01-10", tier="NMS_TIER_1", venue="NYSE")
    assert context.partition.venue == "NYSE"


def test_get_output():
    """A step reads all of a prior output, one field of it, or a default."""

    def transform_step(ctx: WorkflowContext, config: dict) -> StepResult:
        fetch_result = ctx.get_output("fetch")
        record_count = ctx.get_output("fetch", "record_count", 0)
        validation_passed = ctx.get_output("validate", "passed", False)
        return StepResult.ok({"all": fetch_result, "n": record_count, "passed": validation_passed})

    ctx = WorkflowContext().with_step_output("fetch", {"record_count": 7})
    assert transform_step(ctx, {}).output == {"all": {"record_count": 7}, "n": 7, "passed": False}


@pytest.mark.parametrize("outputs", [{}, {"fetch": {}}])
def test_a_missing_or_empty_output_is_the_default(outputs):
    """get_output of nothing returns the default, with and without a key."""
    ctx = WorkflowContext(step_outputs=outputs)
    assert ctx.get_output("fetch") is None
    assert ctx.get_output("fetch", default="none") == "none"
    assert ctx.get_output("fetch", "records", []) == []


def test_get_param():
    """A parameter has a default."""
    ctx = WorkflowContext.new(params={"symbol": "AAPL"})
    assert (ctx.get_param("symbol"), ctx.get_param("tier"), ctx.get_param("tier", 1)) == ("AAPL", None, 1)


def test_new_basic():
    """new() takes params."""
    ctx = WorkflowContext.new(params={"symbol": "AAPL"})
    assert ctx.params == {"symbol": "AAPL"}


def test_new_with_partition():
    """new() takes a partition as a dict, and the business date."""
    ctx = WorkflowContext.new(
        params={"symbol": "AAPL"},
        partition={"date": "2026-01-10", "tier": "NMS_TIER_1"},
        as_of_date=date(2026, 1, 10),
    )
    assert ctx.partition.to_dict() == {"date": "2026-01-10", "tier": "NMS_TIER_1"}
    assert ctx.as_of_date == date(2026, 1, 10)


def test_new_with_tracing():
    """new() takes the caller's trace and batch ids."""
    ctx = WorkflowContext.new(params={}, trace_id="external-trace-123", batch_id="backfill-2026-01")
    assert (ctx.trace_id, ctx.batch_id) == ("external-trace-123", "backfill-2026-01")


def test_to_dict_and_from_dict():
    """Storing loses nothing, the checkpoint and the idempotency key included."""
    ctx = replace(
        WorkflowContext.new(
            params={"a": 1}, batch_id="b", partition={"date": "2026-01-10"}, as_of_date=date(2026, 1, 10)
        ),
        checkpoint=CheckpointState(
            completed=("fetch",), failed="validate", error="no rows", attempt=2, resumed_from="r0"
        ),
        capture_id="2026-01-10|b",
        idempotency_key="k",
    ).with_step_output("fetch", {"rows": 3})
    assert WorkflowContext.from_dict(json.loads(json.dumps(ctx.to_dict()))) == ctx


def test_from_dict_of_the_reference_payload():
    """The reference's own to_dict() shape, which has no version, loads."""
    payload = {
        "run_id": "r",
        "trace_id": "t",
        "batch_id": None,
        "started_at": "2026-01-10T09:30:00+00:00",
        "params": {"$weird": 1},
        "step_outputs": {"fetch": {"rows": 3}},
        "metadata": {},
        "partition": {"date": "2026-01-10", "tier": "OTC"},
        "as_of_date": "2026-01-10",
        "capture_id": "c",
    }
    ctx = WorkflowContext.from_dict(payload)
    assert ctx.started_at == datetime(2026, 1, 10, 9, 30, tzinfo=UTC)
    assert (ctx.params, ctx.get_output("fetch", "rows")) == ({"$weird": 1}, 3)
    assert (ctx.partition.tier, ctx.as_of_date, ctx.capture_id) == ("OTC", date(2026, 1, 10), "c")


def test_best_practice_read_prior_outputs():
    """A step fails in words when what it needs is not there."""

    def step(ctx, config):
        records = ctx.get_output("fetch", "records", [])
        if not records:
            return StepResult.fail("No records from fetch step")
        return StepResult.ok({"n": len(records)})

    assert step(WorkflowContext(), {}).error == "No records from fetch step"


def test_best_practice_context_updates():
    """context_updates come back beside the output."""
    result = StepResult.ok(
        output={"valid_count": 100},
        context_updates={"validation_passed": True},
    )
    assert (result.output, result.context_updates) == ({"valid_count": 100}, {"validation_passed": True})


def test_best_practice_capture_id():
    """dataclasses.replace sets the capture id."""
    ctx = context = WorkflowContext.new(partition={"date": "2026-01-10", "tier": "OTC"})
    capture_id = f"{ctx.partition.date}|{ctx.partition.tier}|{ctx.run_id}"
    context = replace(context, capture_id=capture_id)
    assert context.capture_id == f"2026-01-10|OTC|{ctx.run_id}"


def test_best_practice_partition():
    """Steps read the partition by attribute."""
    ctx = WorkflowContext.new(
        partition={"week_ending": "2026-01-10", "tier": "NMS_TIER_1"},
    )
    assert (ctx.partition.week_ending, ctx.partition.tier) == ("2026-01-10", "NMS_TIER_1")


def test_thread_safety():
    """Versions made from one context do not touch it, nor each other."""
    ctx1 = WorkflowContext.new(params={"a": 1})
    ctx2 = ctx1.with_updates({"b": 2})
    ctx3 = ctx1.with_updates({"c": 3})

    assert ctx1.params == {"a": 1}
    assert ctx2.params == {"a": 1, "b": 2}
    assert ctx3.params == {"a": 1, "c": 3}
