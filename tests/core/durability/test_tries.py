"""What a try at a step needs and leaves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flowctx import ContextError, ErrorCategory, StepResult, StepStatus, Workflow
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import RunRecord
from flowctx.core.durability.tries import config_of, failure_of, record_try, tolerated, traceback_of
from flowctx.core.execution.execute import Outcome
from flowctx.core.execution.upstream import Upstream
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import make_context

FLOW = Workflow("flow")
FLOW.step(name="load", config={"limit": 3})(lambda ctx, config: None)
FLOW.step(name="extra", optional=True)(lambda ctx: None)
LOAD, EXTRA = FLOW["load"], FLOW["extra"]


def failed(why="away"):
    exc = ConnectionError(why)
    return Outcome(result=StepResult.fail(why), exception=exc.with_traceback(None))


@pytest.mark.parametrize(
    ("of_run", "own", "found"),
    [
        ({}, None, None),
        ({}, {"limit": 4}, {"limit": 4}),
        ({"load": {"limit": 5}}, None, {"limit": 5}),
        ({"load": {"limit": 5}}, {"limit": 4, "more": 1}, {"limit": 5, "more": 1}),
        ({"other": {"limit": 5}}, None, None),
    ],
)
def test_what_the_caller_of_a_run_sets_comes_last(of_run, own, found):
    """It is on top of what the engine sets, which is on top of what the workflow says."""
    ctx = make_context(workflow="flow", metadata={"step_config": of_run} if of_run else {})
    assert config_of(LOAD, ctx, own) == found


def test_what_we_refuse_is_a_failure_with_our_words():
    """It names the kind of error, and whether trying again helps."""
    result = failure_of(ContextError("no such date"))
    assert (result.status, result.error, result.category) == (
        StepStatus.FAILED,
        "ContextError: no such date",
        ErrorCategory.CONFIGURATION,
    )


def test_only_an_optional_step_may_fail():
    """Its failure does not count, and it hands nothing on; why it failed stays."""
    kept = tolerated(EXTRA, failed("no rows"))
    assert (kept.result.status, kept.result.output, kept.result.error) == (StepStatus.TOLERATED, {}, "no rows")
    assert tolerated(LOAD, failed()).result.status is StepStatus.FAILED


def test_a_traceback_is_of_what_failed():
    """Of what is ok, or raised nothing, there is none; secrets are masked."""
    ctx = make_context(workflow="flow", params={"api_token": "hunter2hunter2"})
    assert traceback_of(LOAD, Outcome(result=StepResult.ok()), ctx, None) is None
    assert traceback_of(LOAD, Outcome(result=StepResult.fail("no rows")), ctx, None) is None
    text = traceback_of(LOAD, failed("hunter2hunter2 is refused"), ctx, None)
    assert "ConnectionError: *** is refused" in text


@pytest.mark.parametrize(("config", "recorded"), [({"limit": 4}, {"limit": 4}), ({"limit": {1}}, {"limit": 3})])
def test_how_a_step_ended_is_recorded(config, recorded):
    """Also with a configuration that cannot be, which is what it failed at: then it is recorded without it."""
    ledger, ctx = MemoryLedger(), make_context(workflow="flow")
    recorder = Recorder(ledger, ledger.begin(RunRecord(workflow="flow", context=ctx)))
    outcome = failed()
    record_try(
        recorder,
        LOAD,
        outcome,
        Upstream().envelope("load", outcome.result),
        seen=ctx,
        after=(),
        attempts=2,
        started_at=datetime(2026, 1, 9, tzinfo=UTC),
        seconds=1.5,
        config=config,
        inputs=None,
    )
    (record,) = ledger.steps(recorder.run.key)
    assert (record.status, record.attempts, record.seconds, record.config) == (StepStatus.FAILED, 2, 1.5, recorded)
