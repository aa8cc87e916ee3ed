"""The same workflow gives the same results here and as Dagster assets."""

from dataclasses import replace
from datetime import date

import pytest

from flowctx import (
    ContextError,
    Daily,
    PartitionScheme,
    QualityMetrics,
    RetryPolicy,
    StepResult,
    StepStatus,
    UnknownPartition,
    Workflow,
    run,
)
from flowctx.core.run import RunResult
from flowctx.dagster import run_workflow
from flowctx.examples.prices import prices

KEY = {"date": "2012-10-26", "symbol": "IBM"}
SCHEME = PartitionScheme(symbol=["IBM", "A|B"], date=Daily(start="2012-10-01", end="2012-10-31", calendar="WEEKDAYS"))


def alike(workflow: Workflow, **about: object) -> RunResult:
    """Run a workflow here and on Dagster, compare all that must be equal, and return what Dagster says."""
    about = {"batch_id": "batch-1", "trace_id": "trace-1", **about}
    here, there = run(workflow, **about), run_workflow(workflow, **about)
    assert [replace(step, duration=there[step.name].duration) for step in here.steps] == list(there.steps)
    assert there.outputs_digest == here.outputs_digest
    for name in ("params", "partition", "as_of_date", "batch_id", "trace_id", "capture_id", "idempotency_key"):
        assert getattr(there.context, name) == getattr(here.context, name)
    assert there.status == here.status
    return there


@pytest.mark.parametrize("symbol", ["IBM", "FB"])
def test_the_example_is_alike(symbol: str) -> None:
    """An ordinary partition of the example gives the same outputs, byte for byte."""
    assert alike(prices, partition={"date": "2012-10-26", "symbol": symbol}).status == "ok"


def test_a_skip_is_alike() -> None:
    """A skipped step skips all after it, with its own reason, and counts as one attempt."""
    result = alike(prices, partition="2010-01-05|FB")
    assert result.status is StepStatus.SKIPPED
    assert result["summarise"].error == "FB did not trade on 2010-01-05"


def test_a_gate_is_alike() -> None:
    """A failure that no retry helps is tried once, keeps its message and metrics, and nothing runs after it."""
    result = alike(prices, partition="2000-09-29|AAPL", params={"max_move": 0.25})
    assert (result["validate"].attempts, result["validate"].error) == (1, "-52% in a day")
    assert result["validate"].quality is not None
    assert result["summarise"].status is StepStatus.NOT_RUN


def _flow(**params: object) -> Workflow:
    return Workflow("flow", partitions=SCHEME, params=params)


def test_a_retried_step_is_alike() -> None:
    """A step that fails for a while is tried again as its policy says."""
    flow, calls = _flow(), []

    @flow.step(retries=RetryPolicy(retries=3))
    def flaky(ctx):
        calls.append(ctx.capture_id)
        if len(calls) % 3:
            raise ConnectionError("reset by peer")
        return {"calls": 3}

    assert alike(flow, partition=KEY)["flaky"].attempts == 3
    assert len(set(calls)) == 1


def test_exhausted_retries_are_alike() -> None:
    """When the retries are used up, the step's own message is what remains."""
    flow = _flow()

    @flow.step(retries=1)
    def down(ctx):
        raise TimeoutError("no answer in 30 s")

    result = alike(flow, partition=KEY)
    assert (result["down"].attempts, result["down"].category) == (2, "TIMEOUT")
    assert "no answer in 30 s" in result["down"].error


def test_a_conflict_is_alike() -> None:
    """Two branches that write a parameter differently fail where they join, naming both."""
    flow = _flow()

    @flow.step(after=[])
    def left(ctx):
        return StepResult.ok(context_updates={"best": 1})

    @flow.step(after=[])
    def right(ctx):
        return StepResult.ok(context_updates={"best": 2})

    @flow.step(after=["left", "right"])
    def join(ctx):
        return {}

    result = alike(flow, partition=KEY)
    assert result["join"].error.startswith("ContextConflict: steps 'left' and 'right' both wrote")


def test_a_condition_is_alike() -> None:
    """A step whose condition does not hold is skipped, and so is what follows it, but no other branch."""
    flow = _flow(deep=False)

    @flow.step()
    def fetch(ctx):
        return {"n": 1}

    @flow.step(when=lambda ctx: ctx.params["deep"])
    def dig(ctx):
        return {}

    @flow.step(after=["dig"])
    def polish(ctx):
        return {}

    @flow.step(after=["fetch"])
    def show(ctx):
        return {"n": ctx.get_output("fetch", "n") + 1}

    assert [step.status for step in alike(flow, partition=KEY).steps] == ["ok", "skipped", "skipped", "ok"]
    assert alike(flow, partition=KEY, params={"deep": True})["polish"].status == "ok"


def test_a_large_output_is_alike() -> None:
    """An output over the size that an envelope may have elsewhere is kept in its file."""
    flow = _flow()

    @flow.step()
    def fetch(ctx):
        return {"rows": ["x" * 100] * 1000}

    @flow.step()
    def count(ctx):
        return {"rows": len(ctx.get_output("fetch", "rows"))}

    assert alike(flow, partition=KEY).context.get_output("count", "rows") == 1000


def test_a_wrong_output_is_alike() -> None:
    """A step that returns what is no plain data fails once, naming the step and the remedy."""
    flow = _flow()

    @flow.step(retries=2)
    def fetch(ctx):
        return {"symbols": {"IBM"}}

    assert "use sorted(...)" in alike(flow, partition=KEY)["fetch"].error


def test_parameters_and_plain_data_are_alike() -> None:
    """Parameters of every kind reach the steps unchanged, and earlier outputs are there at any distance."""
    flow = _flow(since=date(2012, 1, 1), limit=None)

    @flow.step()
    def first(ctx):
        return {"since": ctx.params["since"], "raw": b"\0\xff", "nan": float("nan")}

    @flow.step()
    def second(ctx):
        quality = QualityMetrics(counts={"rows": 1}, passed=False, reasons=("late",))
        return StepResult.ok({"n": 1}, context_updates={"seen": ctx.as_of_date}, quality=quality)

    @flow.step()
    def third(ctx):
        return {"first": ctx.step_outputs["first"], "seen": ctx.params["seen"], "odd": ctx.params["$odd"]}

    key = {"date": "2012-10-26", "symbol": "A|B"}
    result = alike(flow, partition=key, params={"since": date(2012, 2, 2), "$odd": [1, {"$date": "x"}]})
    assert result.context.capture_id == "A%7CB|2012-10-26|batch-1"


def test_an_unpartitioned_workflow_is_alike() -> None:
    """Without a scheme the caller may give any partition and business date, or none."""
    flow = Workflow("plain")

    @flow.step()
    def only(ctx):
        return {"partition": ctx.partition, "as_of": ctx.as_of_date}

    alike(flow)
    alike(flow, partition={"venue": "NYSE"}, as_of_date=date(2012, 10, 26))


def test_outside_a_batch_the_run_names_the_capture() -> None:
    """Trace and capture derive from the run when the caller gives neither."""
    first, second = run_workflow(prices, partition=KEY), run_workflow(prices, partition=KEY)
    assert first.context.capture_id == f"2012-10-26|IBM|{first.run_id}"
    assert first.context.trace_id != second.context.trace_id
    assert first.context.idempotency_key == second.context.idempotency_key


def test_what_cannot_run_is_refused() -> None:
    """A partition that is not there, none at all, and parameters that say who the run is are errors before any run."""
    with pytest.raises(UnknownPartition, match="2012-10-27"):
        run_workflow(prices, partition="2012-10-27|IBM")
    with pytest.raises(ContextError, match=r"pass partition=dict\(date=..., symbol=...\)"):
        run_workflow(prices)
    with pytest.raises(ContextError, match="pass them as arguments"):
        run_workflow(prices, partition=KEY, params={"batch_id": "b"})


def test_a_run_is_quiet(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    """Dagster says nothing on the console, and nothing warns."""
    run_workflow(prices, partition="2000-09-29|AAPL", params={"max_move": 0.25})
    assert capfd.readouterr() == ("", "")
    assert not [str(warning.message) for warning in recwarn.list]
