"""Runs of Dagster that are of a range of partitions, or of two workflows: followed, and tried again, for each alone."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.engine_servers import Dagster
from adapters.other_workflow import other
from backfill.flows import flow
from flowctx import Backfill, Workflow
from flowctx.backfill import JointBackfill, LaunchListener, LaunchProgress
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.core.batches.records import PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

DAY = "date=2012-01-02"  # 3 partitions
RANGE = {
    "dagster/asset_partition_range_start": "2012-01-02|T1",
    "dagster/asset_partition_range_end": "2012-01-02|T3",
}
ONE = {"dagster/partition": "2012-01-02|T1"}


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


class Ends(LaunchListener):
    """Lets a run end once a launch follows so many partitions of it."""

    def __init__(self, dagster: Dagster, partitions: int, status: str) -> None:
        self.dagster, self.partitions, self.status = dagster, partitions, status

    def tick(self, progress: LaunchProgress) -> None:
        if progress.under_way == self.partitions:
            self.dagster.runs["shared"]["status"] = self.status


def shared(dagster: Dagster, status: str, tags: dict[str, str], *workflows: Workflow) -> None:
    """Have Dagster know one run of the batch, which it has begun by itself."""
    steps = [[workflow.name, step] for workflow in workflows for step in workflow.steps]
    dagster.knows("shared", status, {"dagster/backfill": "b", **tags}, steps)


def made(workflow: Workflow, *tiers: str) -> list[dict[str, Any]]:
    """Return the events of a run that made all of a workflow for some tiers."""
    event = {"__typename": "MaterializationEvent", "metadataEntries": []}
    paths = [[workflow.name, step] for step in workflow.steps]
    return [{**event, "assetKey": {"path": path}, "partition": f"2012-01-02|{t}"} for t in tiers for path in paths]


@pytest.mark.parametrize(("status", "rest"), [("SUCCESS", "skipped"), ("FAILURE", "failed"), ("CANCELED", "canceled")])
@pytest.mark.parametrize(("workers", "at_once"), [(1, 1), (2, 3)])
def test_all_partitions_of_a_range_are_followed(
    dagster: Dagster, ledger: Ledger, status: str, rest: str, workers: int, at_once: int
) -> None:
    """It is one run, and its end is that of each partition that it is of, as it is when it is looked for later on."""
    shared(dagster, "STARTED", RANGE, flow)
    dagster.events = [*made(flow, "T1", "T3"), {"__typename": "RunFailureEvent", "message": "no rows"}]
    done = "canceled" if status == "CANCELED" else "ok"
    plan = Backfill(flow, DAY, "b", ledger=ledger)
    progress = plan.launch(DagsterLauncher(dagster.url, max_active=workers), listener=Ends(dagster, at_once, status))
    found = [str(run.state) for run in ledger.batches.iter_outcomes("b")]
    assert found == [done, rest, done]
    assert (sum(progress.ended.values()), list(dagster.runs)) == (3, ["shared"])
    anew = [str(run.state) for run in DagsterLauncher(dagster.url).find(ledger.batches.get("b"), flow)]
    assert anew == found


def test_a_run_of_two_workflows_is_followed_for_both(dagster: Dagster, ledger: Ledger) -> None:
    """One of them is done, and the other has failed."""
    dagster.jobs = ("filled_job", "other_job")
    shared(dagster, "STARTED", ONE, flow, other)
    dagster.events = [*made(other, "T1"), {"__typename": "RunFailureEvent", "message": "no rows"}]
    both = JointBackfill([Backfill(one, f"{DAY},tier=T1", "b", ledger=ledger) for one in (flow, other)])
    both.launch(DagsterLauncher(dagster.url), listener=Ends(dagster, 2, "FAILURE"))
    found = {
        name: [str(run.state) for run in ledger.batches.iter_outcomes("b", workflow=name)]
        for name in ("filled", "other")
    }
    assert found == {"filled": ["failed"], "other": ["ok"]}


@pytest.mark.parametrize("status", ["FAILURE", "CANCELED"])
def test_a_run_of_two_workflows_is_not_executed_again_for_each(dagster: Dagster, ledger: Ledger, status: str) -> None:
    """Its re-execution would be of both, and be asked for twice: each goes on in a run of its own job."""
    dagster.jobs, dagster.reexecutes = ("filled_job", "other_job"), True
    shared(dagster, status, ONE, flow, other)
    both = JointBackfill([Backfill(one, f"{DAY},tier=T1", "b", ledger=ledger) for one in (flow, other)])
    progress = both.launch(DagsterLauncher(dagster.url), retry_failed=True)
    assert progress.ended == {PartitionState.OK: 2}
    assert [run.get("parentRunId") for run in dagster.runs.values()] == [None] * 3
