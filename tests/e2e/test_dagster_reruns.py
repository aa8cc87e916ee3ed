"""Runs that failed and go on, on a real daemon: re-executed by hand, and retried by the daemon."""

from __future__ import annotations

import pytest

from e2e.dagster_stack import DagsterStack, by_status
from flowctx.backfill import graphql
from flowctx.dagster import WorkflowIOManager

pytestmark = pytest.mark.e2e


def launch(dagster: DagsterStack, job: str, key: str, *, location: str = "tests", **tags: str) -> str:
    """Start a job for a partition and return the run's id."""
    every = {"dagster/partition": key} | tags
    params = {
        "selector": {"repositoryName": "__repository__", "repositoryLocationName": location, "jobName": job},
        "executionMetadata": {"tags": [{"key": name, "value": value} for name, value in every.items()]},
    }
    answer = dagster.graphql(graphql.LAUNCH, params=params)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def test_reexecution_from_failure_continues(dagster: DagsterStack, outputs: WorkflowIOManager) -> None:
    """Continuing a failed run from the UI keeps batch, trace and capture, and reads what the first run stored."""
    flag = dagster.home / "flag"
    flag.write_text("always")
    first = launch(dagster, "again_job", "2012-10-26", batch_id="fix-1")
    (failed,) = dagster.wait_for_runs(1, {"batch_id": "fix-1"})
    assert failed["status"] == "FAILURE"
    flag.unlink()
    answer = dagster.graphql(graphql.AGAIN, params={"parentRunId": first, "strategy": "FROM_FAILURE"})[
        "launchRunReexecution"
    ]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    runs = dagster.wait_for_runs(2, {"flowctx/batch_id": "fix-1"})
    assert by_status(runs) == ["FAILURE", "SUCCESS"]
    loaded = outputs.output("again/load", "2012-10-26")
    assert (loaded["fetched_by"], loaded["capture"]) == (first, "2012-10-26|fix-1")
    assert loaded["trace"] == outputs.output("again/fetch", "2012-10-26")["trace"]


def test_an_automatic_retry_of_a_run_continues(dagster: DagsterStack, outputs: WorkflowIOManager) -> None:
    """A run that the daemon retries has the trace and capture of the first, also outside of a batch."""
    (dagster.home / "flag").write_text("once")
    first = launch(dagster, "again_job", "2012-10-27", **{"dagster/max_retries": "1", "test": "retry"})
    runs = dagster.wait_for_runs(2, {"test": "retry"})
    assert by_status(runs) == ["FAILURE", "SUCCESS"]
    loaded = outputs.output("again/load", "2012-10-27")
    assert (loaded["fetched_by"], loaded["capture"]) == (first, f"2012-10-27|{first}")
