"""A run in progress in this process: how its steps are tried, and what of that is recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from flowctx import (
    CaptureHeld,
    ContextConflict,
    LedgerUnavailable,
    PartitionScheme,
    RetryPolicy,
    StepResult,
    StepStatus,
    Workflow,
    run,
)
from flowctx.core.durability.records import RunStatus
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import FakeClock
from flowctx.testing.clock import NOON
from step_by_step import AwayLedger


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def flow():
    return Workflow("flow")


def recorded(ledger, result, step):
    return next(r for r in ledger.steps(ledger.get_run(result.run_id).key) if r.step == step)


def test_a_step_is_tried_with_the_waits_of_its_policy(flow, ledger):
    """A step is tried until it is ok, with the policy's waits, and only its end is recorded."""
    clock, failures = FakeClock(), [ConnectionError("away"), ConnectionError("away")]

    @flow.step(retries=RetryPolicy(retries=5, delay=timedelta(seconds=10)))
    def load(ctx):
        if failures:
            raise failures.pop()

    result = run(flow, ledger=ledger, clock=clock)
    assert [wait.total_seconds() for wait in clock.slept] == [10, 20]
    entry, record = result["load"], recorded(ledger, result, "load")
    assert (entry.status, entry.attempts, entry.duration) == (StepStatus.OK, 3, timedelta(seconds=30))
    assert (record.attempts, record.started_at, record.seconds) == (3, NOON, 30)


@pytest.mark.parametrize("with_ledger", [True, False])
def test_a_step_has_failed_after_its_last_retry(flow, ledger, with_ledger):
    """It fails each time, with a ledger and without one; what follows is not started."""
    flow.step(name="load", retries=2)(lambda ctx: 1 / 0)
    flow.step(name="use")(lambda ctx: None)
    result = run(flow, ledger=ledger if with_ledger else None, clock=FakeClock())
    assert [(e.name, e.status, e.attempts) for e in result.steps] == [
        ("load", StepStatus.FAILED, 3),
        ("use", StepStatus.NOT_RUN, 0),
    ]
    assert isinstance(result["load"].exception, ZeroDivisionError)


def test_a_run_stops_where_it_is_refused():
    """A refused capture, or a ledger that is away, stops the run rather than a step."""
    flow = Workflow("flow", partitions=PartitionScheme(tier=["T1"]))
    flow.step(name="load")(lambda ctx: None)
    away = AwayLedger("record")
    with pytest.raises(LedgerUnavailable):
        run(flow, partition="T1", ledger=away, batch_id="b")
    away.away.clear()
    with pytest.raises(CaptureHeld):
        run(flow, partition="T1", ledger=away, batch_id="b")


@pytest.mark.parametrize("optional", [True, False])
def test_branches_that_disagree_fail_the_step_that_joins_them(flow, ledger, optional):
    """Also an optional one: it saw nothing that it could have failed at."""
    for name in ("a", "b"):
        flow.step(name=name, after=[])(lambda ctx, name=name: StepResult.ok(context_updates={"n": name}))
    flow.step(name="join", after=["a", "b"], optional=optional)(lambda ctx: None)
    result = run(flow, ledger=ledger)
    assert (result["join"].status, ledger.get_run(result.run_id).status) == (StepStatus.FAILED, RunStatus.FAILED)
    assert isinstance(result["join"].exception, ContextConflict)
    assert recorded(ledger, result, "join").after == ("a", "b")


def test_a_clock_that_is_set_back_takes_no_time_from_a_step(flow, ledger):
    """How long a step took is told by a clock that is not set; when it started, by the one that people read."""
    noon = datetime(2026, 1, 9, 12, tzinfo=UTC)
    with time_machine.travel(noon) as traveller:

        @flow.step()
        def load(ctx):
            traveller.shift(timedelta(hours=-1))

        result = run(flow, ledger=ledger)
    record = recorded(ledger, result, "load")
    assert timedelta(0) <= result["load"].duration < timedelta(minutes=1)
    assert 0 <= record.seconds < 60
    assert record.started_at - noon < timedelta(minutes=1)


@pytest.mark.parametrize("clock", [FakeClock(NOON + timedelta(microseconds=123457)), None])
def test_what_is_recorded_of_how_long_a_step_took_is_what_its_run_says(flow, ledger, clock):
    """To the microsecond, which is what a duration holds: no more digits than a clock has."""
    flow.step(name="load")(lambda ctx: clock and clock.advance(timedelta(microseconds=100_002)))
    result = run(flow, ledger=ledger, clock=clock)
    assert recorded(ledger, result, "load").seconds == result["load"].duration.total_seconds()


def test_tries_again_read_what_was_read_before(flow, ledger):
    """A step that is tried again reads the versions that it has read, though there are newer ones by then."""
    source = Workflow("source", params={"n": 1})
    source.step(name="rows")(lambda ctx: {"n": ctx.params["n"]})
    run(source, ledger=ledger)
    seen = []

    @flow.step(retries=1, inputs={"rows": source.output("rows")})
    def load(ctx, rows):
        seen.append(rows["n"])
        if len(seen) == 1:
            run(source, params={"n": 2}, ledger=ledger)
            raise ConnectionError("away")

    assert run(flow, ledger=ledger, clock=FakeClock())["load"].attempts == 2
    assert seen == [1, 1]
