"""Runs that failed and go on, on a real daemon: re-executed by hand, and retried by the daemon."""

from __future__ import annotations

import time

import pytest

from e2e.dagster_stack import DagsterStack, by_status
from flowctx.backfill import graphql
from flowctx.dagster import WorkflowIOManager

pytestmark = pytest.mark.e2e


def launch(
    dagster: DagsterStack, job: str, key: str, *, location: str = "tests", config: object = None, **tags: str
) -> str:
    """Start a job for a partition and return the run's id."""
    every = {"dagster/partition": key} | tags
    params = {
        "selector": {"repositoryName": "__repository__", "repositoryLocationName": location, "jobName": job},
        "runConfigData": config or {},
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


def retried(dagster: DagsterStack) -> tuple[str, str]:
    """Let a job fail once and be retried, and return its run and its date.

    Dagster 1.13 stores that a run failed before it changes the run's status, and a daemon that looks in between takes
    the run for one that is not to be retried, for good. So each date is given some turns of the daemon.
    """
    for date in ("2012-10-25", "2012-10-27", "2012-10-28"):
        (dagster.home / "flag").write_text("once")
        first = launch(dagster, "again_job", date, **{"dagster/max_retries": "1", "test": f"retry {date}"})
        dagster.wait_for_runs(1, {"test": f"retry {date}"})
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if len(dagster.runs({"test": f"retry {date}"})) > 1:
                return first, date
            time.sleep(1)
    raise AssertionError(f"Dagster retried none of three runs\n{dagster.logs()}")


def test_an_automatic_retry_of_a_run_continues(dagster: DagsterStack, outputs: WorkflowIOManager) -> None:
    """A run that the daemon retries has the trace and capture of the first, also outside of a batch."""
    first, date = retried(dagster)
    runs = dagster.wait_for_runs(2, {"test": f"retry {date}"})
    assert by_status(runs) == ["FAILURE", "SUCCESS"]
    loaded = outputs.output("again/load", date)
    assert (loaded["fetched_by"], loaded["capture"]) == (first, f"{date}|{first}")
