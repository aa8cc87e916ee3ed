"""A workflow's definitions on a real daemon and web server: ticks, backfills, re-executions, retries of runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.dagster_stack import DagsterStack, dagster_stack
from flowctx.dagster import WorkflowIOManager

pytestmark = pytest.mark.e2e

DEFINITIONS = """
import os
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from flowctx import Daily, PartitionScheme, Workflow
from flowctx.dagster import workflow_definitions
from flowctx.examples.prices import prices

flag = Path(os.environ["FLAG"])
tick = datetime.fromisoformat(os.environ["TICK"])
again = Workflow("again", partitions=PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31")))


@again.step()
def fetch(ctx):
    return {"run": ctx.run_id, "trace": ctx.trace_id}


@again.step()
def load(ctx):
    if flag.exists():
        if flag.read_text() == "once":
            flag.unlink()
        raise ValueError("not yet")
    return {"fetched_by": ctx.get_output("fetch", "run"), "trace": ctx.trace_id, "capture": ctx.capture_id}


ranged = Workflow("ranged", partitions=PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31")))


@ranged.step()
def only(ctx):
    return {"day": ctx.as_of_date.day, "run": ctx.run_id}


live = Workflow("live", partitions=PartitionScheme(
    date=Daily(start=tick.date() - timedelta(days=5), delay=timedelta(hours=tick.hour, minutes=tick.minute)),
    venue=["NYSE", "N|Y"],
))


@live.step()
def watch(ctx):
    return {"as_of": ctx.as_of_date, "partition": ctx.partition}


defs = dg.Definitions.merge(
    *(workflow_definitions(flow) for flow in (prices, again, live)),
    workflow_definitions(ranged, backfill_policy=dg.BackfillPolicy.single_run()),
    dg.Definitions(executor=dg.in_process_executor),
)
"""

STEPS = ("fetch", "validate", "returns", "volatility", "summarise")

LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""

AGAIN = """
mutation ($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""

START = """
mutation ($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) { __typename ... on PythonError { message } }
}
"""

BACKFILL = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) { __typename ... on PartitionBackfill { status } } }
"""

REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "tests"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterStack]:
    """A Dagster with the example and three small workflows."""
    home = tmp_path_factory.mktemp("dagster")
    # Late enough for a slow machine to be up by then; the other tests fill the time.
    tick = (datetime.now(UTC) + timedelta(minutes=4)).replace(second=0, microsecond=0)
    with dagster_stack(home, DEFINITIONS, env={"FLAG": str(home / "flag"), "TICK": tick.isoformat()}) as running:
        selector = {**REPOSITORY, "scheduleName": "live_schedule"}
        running.graphql(START, selector=selector)
        yield running


@pytest.fixture(scope="module")
def outputs(stack: DagsterStack) -> WorkflowIOManager:
    """Where the workflows keep their outputs by default."""
    return WorkflowIOManager(base_path=str(stack.home / "storage" / "flowctx"))


def launch(stack: DagsterStack, job: str, key: str, **tags: str) -> str:
    """Start a job for a partition and return the run's id."""
    every = {"dagster/partition": key} | tags
    params = {
        "selector": {**REPOSITORY, "pipelineName": job},
        "mode": "default",
        "executionMetadata": {"tags": [{"key": name, "value": value} for name, value in every.items()]},
    }
    answer = stack.graphql(LAUNCH, params=params)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def by_status(runs: list[dict[str, Any]]) -> list[str]:
    return sorted(run["status"] for run in runs)


def test_a_backfill_of_dates_and_symbols(stack: DagsterStack, outputs: WorkflowIOManager) -> None:
    """Each partition of a backfill is a run of its own with its own context, found by the batch, skips among them."""
    keys = ["2012-05-17|FB", "2012-05-17|IBM", "2012-05-18|FB", "2012-05-18|IBM"]
    assets = [f"daily_prices/{step}" for step in STEPS]
    backfill = stack.launch_backfill(keys, *assets, tags={"flowctx/batch_id": "restate-1"})
    runs = stack.wait_for_runs(4, {"flowctx/batch_id": "restate-1"})
    assert by_status(runs) == ["SUCCESS"] * 4
    assert sorted(run["tags"]["dagster/partition"] for run in runs) == keys
    for key in keys[1:]:
        capture = key + "|restate-1"
        summary = outputs.output("daily_prices/summarise", key, capture_id=capture)
        assert summary["symbol"] == key.split("|")[1]
    assert outputs.captures("daily_prices/summarise", "2012-05-17|FB") == []
    stack.wait_until(lambda: _backfill_status(stack, backfill) not in ("REQUESTED", "COMPLETED"), "the backfill")
    # All runs succeeded, but Dagster 1.13 counts a partition that was skipped as one that failed to materialise.
    assert _backfill_status(stack, backfill) == "COMPLETED_FAILED"


def _backfill_status(stack: DagsterStack, backfill: str) -> str:
    return str(stack.graphql(BACKFILL, id=backfill)["partitionBackfillOrError"]["status"])


def test_a_backfill_without_a_batch_id_is_the_batch(stack: DagsterStack, outputs: WorkflowIOManager) -> None:
    """Dagster's own backfill names the batch, and its runs are found by our tag as well; one run may hold a range."""
    days = ["2012-10-01", "2012-10-02", "2012-10-03"]
    backfill = stack.launch_backfill(days, "ranged/only")
    (run,) = stack.wait_for_runs(1, {"dagster/backfill": backfill})
    assert run["status"] == "SUCCESS"
    assert [found["runId"] for found in stack.runs({"flowctx/batch_id": backfill})] == [run["runId"]]
    for number, day in enumerate(days, 1):
        found = outputs.output("ranged/only", day, capture_id=f"{day}|{backfill}")
        assert found == {"day": number, "run": run["runId"]}


def test_reexecution_from_failure_continues(stack: DagsterStack, outputs: WorkflowIOManager) -> None:
    """Continuing a failed run from the UI keeps batch, trace and capture, and reads what the first run stored."""
    flag = stack.home / "flag"
    flag.write_text("always")
    first = launch(stack, "again_job", "2012-10-26", batch_id="fix-1")
    (failed,) = stack.wait_for_runs(1, {"batch_id": "fix-1"})
    assert failed["status"] == "FAILURE"
    flag.unlink()
    answer = stack.graphql(AGAIN, params={"parentRunId": first, "strategy": "FROM_FAILURE"})["launchRunReexecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    runs = stack.wait_for_runs(2, {"flowctx/batch_id": "fix-1"})
    assert by_status(runs) == ["FAILURE", "SUCCESS"]
    loaded = outputs.output("again/load", "2012-10-26")
    assert (loaded["fetched_by"], loaded["capture"]) == (first, "2012-10-26|fix-1")
    assert loaded["trace"] == outputs.output("again/fetch", "2012-10-26")["trace"]


def test_an_automatic_retry_of_a_run_continues(stack: DagsterStack, outputs: WorkflowIOManager) -> None:
    """A run that the daemon retries has the trace and capture of the first, also outside of a batch."""
    (stack.home / "flag").write_text("once")
    first = launch(stack, "again_job", "2012-10-27", **{"dagster/max_retries": "1", "test": "retry"})
    runs = stack.wait_for_runs(2, {"test": "retry"})
    assert by_status(runs) == ["FAILURE", "SUCCESS"]
    loaded = outputs.output("again/load", "2012-10-27")
    assert (loaded["fetched_by"], loaded["capture"]) == (first, f"2012-10-27|{first}")


def test_a_tick_runs_what_is_due(stack: DagsterStack, outputs: WorkflowIOManager) -> None:
    """The workflow's own schedule starts a run for each key of the date that is due, and no other."""
    tags = {"dagster/schedule_name": "live_schedule"}
    runs = stack.wait_for_runs(2, tags, seconds=600)
    assert by_status(runs) == ["SUCCESS", "SUCCESS"]
    for run in runs:
        key = run["tags"]["dagster/partition"]
        found = outputs.output("live/watch", key)
        assert str(found["as_of"]) == run["tags"]["flowctx/as_of_date"] == key.split("|")[0]
        assert found["partition"]["venue"] in ("NYSE", "N|Y")
    assert len({run["tags"]["flowctx/as_of_date"] for run in runs}) == 1


def test_logs_are_clean(stack: DagsterStack) -> None:
    """Neither the code server nor the daemon complains about definitions of ours."""
    for path in Path(stack.home).glob("*.log"):
        text = path.read_text(errors="replace")
        assert "Warning: " not in text.replace("SyntaxWarning: ", ""), path
