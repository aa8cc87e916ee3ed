"""The contract of an engine, as tests: whatever it runs, the outcome is that of a run in this process."""

from __future__ import annotations

import traceback
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flowctx import (
    ContextError,
    FlowctxError,
    RunFailed,
    RunResult,
    StepStatus,
    UnknownPartition,
    Workflow,
    WorkflowContext,
    run,
)
from flowctx.core.renames import old_method, warn_renamed
from flowctx.testing.engine_flows import (
    KEY,
    SCHEME,
    a_set,
    bug,
    conditional,
    conflict,
    failing,
    flaky,
    hidden,
    no_answer,
    notified,
    ordinary,
    raising,
)

#: Fields of the context that do not depend on the engine, once the batch and the trace are given.
SAME = ("params", "partition", "as_of_date", "idempotency_key", "batch_id", "trace_id")


def _capture(result: RunResult) -> str:
    return str(result.context.capture_id).replace(result.run_id, "RUN")


class EngineContract:
    """Tests that every engine passes; inherit them and say how to run a workflow there.

    Example:
        ::

            class TestMyEngine(EngineContract):
                def run_on_engine(self, workflow, **kwargs):
                    return my_engine.run(workflow, **kwargs)
    """

    def run_on_engine(self, workflow: Workflow, **kwargs: Any) -> RunResult:
        """Run ``workflow`` on the engine, with the arguments of :func:`flowctx.run`, and return what happened."""
        old: Any = getattr(self, "run_there", None)
        if old is None:
            raise TypeError(f"{type(self).__name__} must say how to run a workflow: define run_on_engine()")
        warn_renamed("EngineContract.run_there()", "EngineContract.run_on_engine()")
        result: RunResult = old(workflow, **kwargs)
        return result

    alike = old_method("EngineContract", "alike", "assert_same_as_local")

    def assert_same_as_local(self, workflow: Workflow, **kwargs: Any) -> RunResult:
        """Run a workflow here and there, assert that all is equal that must be, and return what came out there."""
        kwargs = {"batch_id": "batch-1", "trace_id": "trace-1", **kwargs}
        here, there = run(workflow, **kwargs), self.run_on_engine(workflow, **kwargs)
        assert [replace(step, duration=timedelta(0)) for step in there.steps] == [
            replace(step, duration=timedelta(0)) for step in here.steps
        ]
        assert there.status == here.status
        assert there.outputs_digest == here.outputs_digest
        for name in SAME:
            assert getattr(there.context, name) == getattr(here.context, name), name
        # Without partition and date, only its id tells a run from another.
        assert _capture(there) == _capture(here)
        for name in ("calendar", "window", "due"):
            assert there.context.metadata.get(name) == here.context.metadata.get(name), name
        return there

    @pytest.mark.parametrize("partition", [KEY, "A%7CB|2012-10-26", "date=2012-10-26,symbol=IBM"])
    def test_an_ordinary_run(self, partition: Any) -> None:
        """Outputs of every kind, updates, joins and parameters are equal, byte for byte in their JSON form."""
        params = {"limit": 4, "odd": date(2012, 1, 1)}
        result = self.assert_same_as_local(ordinary(), partition=partition, params=params)
        assert result.status is StepStatus.OK
        assert str(result.context.capture_id).endswith("|2012-10-26|batch-1")

    def test_each_step_is_called_once(self, tmp_path: Path) -> None:
        """What an engine has done it does not do again."""
        flow, calls = Workflow("called"), tmp_path / "calls"

        @flow.step()
        def note(ctx: WorkflowContext) -> None:
            with calls.open("a") as file:
                file.write(f"{ctx.run_id}\n")

        there = self.assert_same_as_local(flow)
        assert calls.read_text().splitlines().count(there.run_id) == 1

    def test_a_skipped_run(self) -> None:
        """A skip cascades to all that follow, each with the reason of the first."""
        result = self.assert_same_as_local(ordinary(), partition={**KEY, "symbol": "FB"})
        assert result.status is StepStatus.SKIPPED
        assert {step.error for step in result.steps} == {"FB did not trade"}

    def test_a_retried_run(self) -> None:
        """A step that fails for a while is tried again as its policy says."""
        assert self.assert_same_as_local(flaky())["fetch"].attempts == 3

    def test_a_failing_run(self) -> None:
        """A failure that no retry can mend fails at once, in the step's own words; other branches go on."""
        result = self.assert_same_as_local(failing())
        assert (result["gate"].attempts, result["gate"].error) == (1, "40% in a day")
        assert (result["later"].status, result["beside"].status) == (StepStatus.NOT_RUN, StepStatus.OK)

    @pytest.mark.parametrize(
        ("function", "retries", "attempts", "words"),
        [(no_answer, 1, 2, "no answer in 30 s"), (bug, 0, 1, "KeyError: 'missing'"), (a_set, 2, 1, "use sorted(...)")],
    )
    def test_a_broken_run(self, function: Any, retries: int, attempts: int, words: str) -> None:
        """Exceptions, bugs and outputs that cannot flow fail assert_same_as_local, with as many attempts."""
        broken = self.assert_same_as_local(raising(function.__name__, function, retries))["broken"]
        assert (broken.status, broken.attempts) == (StepStatus.FAILED, attempts)
        assert words in str(broken.error)

    def test_a_conflict(self) -> None:
        """Two branches that write a parameter differently fail where they join, naming both."""
        assert "steps 'one' and 'other' both wrote the parameter 'mode'" in str(
            self.assert_same_as_local(conflict())["join"].error
        )

    @pytest.mark.parametrize("full", [False, True])
    def test_a_condition(self, full: bool) -> None:
        """A step whose condition does not hold is skipped with all that follow it; other branches go on."""
        result = self.assert_same_as_local(conditional(), params={"full": full})
        wanted = StepStatus.OK if full else StepStatus.SKIPPED
        assert (result["enrich"].status, result["join"].status, result["report"].status) == (
            wanted,
            wanted,
            StepStatus.OK,
        )

    @pytest.mark.parametrize("full", [False, True])
    def test_a_step_left_out_and_a_failed_notification(self, full: bool) -> None:
        """A step that asks only that nothing failed runs after skips; what is optional fails without failing the run.

        Its failure is told, and the steps after it run without an output of it.
        """
        result = self.assert_same_as_local(notified(), params={"full": full})
        assert (result.status, result["rank"].status) == (StepStatus.OK, "ok" if full else "skipped")
        assert result.context.get_output("report") == {"sent": False, "stored": [3, 3 if full else 0]}
        assert (result["notify"].status, result["notify"].attempts) == (StepStatus.TOLERATED, 2)
        assert "the mail server does not answer" in str(result["notify"].error)
        assert (result.failed_steps, result.error_step) == (["notify"], None)

    def test_a_failure_before_a_step_that_asks_for_none(self) -> None:
        """A step that runs after skips does not run after a failure."""
        result = self.assert_same_as_local(notified(), params={"records": 0})
        assert (result.status, result.error_step) == (StepStatus.FAILED, "fetch")
        assert {result[name].status for name in ("store", "notify", "report")} == {StepStatus.NOT_RUN}

    @pytest.mark.parametrize("broken", [True, False])
    def test_a_failure_beside_a_skip(self, broken: bool) -> None:
        """A failure goes before a skip, also where that came first: what follows both is not run."""
        result = self.assert_same_as_local(hidden(), params={"broken": broken})
        wanted = ("failed", "not_run", "not_run") if broken else ("ok", "skipped", "ok")
        assert (result.status, result["join"].status, result["publish"].status) == wanted

    def test_the_configuration_of_a_step_is_set_by_who_starts_the_run(self) -> None:
        """It comes on top of the step's own, as the type that it has there, tagged JSON too; the rest stays."""
        flow = Workflow("configured")
        flow.step("gate", config={"limit": 3, "rate": Decimal("0.1"), "note": "x"})(lambda ctx, config: dict(config))
        result = self.assert_same_as_local(flow, step_config={"gate": {"limit": 4, "rate": "0.25"}})
        assert result.context.get_output("gate") == {"limit": 4, "rate": Decimal("0.25"), "note": "x"}

    def test_the_cause_of_a_failure(self) -> None:
        """Whoever reads a failure sees the line of the step that raised."""
        flow = Workflow("raising")

        @flow.step()
        def divide(ctx: WorkflowContext) -> dict[str, Any]:
            return {"share": 1 / len(ctx.step_outputs)}

        with pytest.raises(RunFailed) as caught:
            self.run_on_engine(flow).raise_for_failure()
        assert "1 / len(ctx.step_outputs)" in "".join(traceback.format_exception(caught.value))

    def test_a_run_without_a_scheme(self) -> None:
        """The caller may give any partition and business date, or none."""
        flow = Workflow("plain")
        flow.step("only")(lambda ctx: {"partition": ctx.partition, "as_of": ctx.as_of_date})
        self.assert_same_as_local(flow)
        self.assert_same_as_local(flow, partition={"venue": "NYSE"}, as_of_date=date(2012, 10, 26))
        assert self.assert_same_as_local(flow, partition={"date": "2012-10-26"}).context.as_of_date == date(
            2012, 10, 26
        )

    def test_a_run_outside_a_batch(self) -> None:
        """The run names the capture; the idempotency key is the same each time."""
        first, second = (self.run_on_engine(ordinary(), partition=KEY) for _ in range(2))
        assert first.context.capture_id == f"IBM|2012-10-26|{first.run_id}" != second.context.capture_id
        assert first.context.idempotency_key == second.context.idempotency_key

    @pytest.mark.parametrize(
        ("kwargs", "error", "words"),
        [
            ({}, ContextError, "no partition was given; name one in the form symbol=...,date=..."),
            ({"partition": {**KEY, "date": "2012-10-27"}}, UnknownPartition, "2012-10-26"),
            ({"partition": KEY, "params": ["x"]}, FlowctxError, "it must be a dict"),
            ({"partition": KEY, "params": {"batch_id": "b"}}, ContextError, "params has batch_id, which say who"),
            ({"partition": KEY, "params": {"from_step": "only"}}, ContextError, "params has from_step"),
        ],
    )
    def test_bad_input_is_refused_before_anything_runs(self, kwargs: Any, error: type[Exception], words: str) -> None:
        """A wrong partition or parameters are an error, and no step is called."""
        flow = Workflow("refusing", partitions=SCHEME)
        called: list[str] = []
        flow.step("only")(lambda ctx: called.append(ctx.run_id))
        with pytest.raises(error, match=words):
            self.run_on_engine(flow, **kwargs)
        assert called == []
