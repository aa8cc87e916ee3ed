"""What a real Dagster runs in part, day by day without partitions, or skips: the ledger has what happened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from e2e.dagster_stack import ENDED, DagsterStack
from e2e.flow_folder import Home
from e2e.part_flows import days, holes, parts, ticks
from e2e.test_dead_runs import calls
from flowctx import BatchStatus, PartitionKey
from flowctx.backfill import graphql
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.dagster import WorkflowIOManager

pytestmark = pytest.mark.e2e

HOLES = ["2012-10-24", "2012-10-25", "2012-10-26"]

#: Days of ranges of which the second fails, or ends its process.
RANGES = {
    "fails": ["2012-10-01", "2012-10-02", "2012-10-03"],
    "exits": ["2012-10-08", "2012-10-09", "2012-10-10"],
}
STATUSES = """
query ($keys: [AssetKeyInput!]!) {
  assetNodes(assetKeys: $keys) { assetKey { path } assetPartitionStatuses {
    ... on TimePartitionStatuses { ranges { status startKey endKey } } } }
}
"""
BACKFILL = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }
"""
JOB_BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { __typename ... on LaunchBackfillSuccess { backfillId } }
}
"""


@pytest.fixture(scope="module")
def home(dagster: DagsterStack, session: Path) -> Home:
    """The folder with the ledger of the code location, in which commands are typed."""
    return Home(session / "moved", {"FLOWCTX_DAGSTER_URL": dagster.url, "PYTHONPATH": str(Path(__file__).parent)})


@pytest.fixture(scope="module")
def ledger(home: Home) -> Iterator[Ledger]:
    """That ledger."""
    ledger = home.ledger
    yield ledger
    ledger.close()


@pytest.fixture(scope="module", autouse=True)
def backfills(dagster: DagsterStack) -> dict[str, str]:
    """Dagster's own backfills over a holiday, begun before the other tests: of assets by range, and of the job."""
    location = {"repositoryName": "__repository__", "repositoryLocationName": "moved"}
    job = {
        "selector": {"partitionSetName": "holes_job_partition_set", "repositorySelector": location},
        "partitionNames": HOLES[1:2],
        "tags": [{"key": "batch_id", "value": "holes-job"}],
    }
    answer = dagster.graphql(JOB_BACKFILL, params=job)["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    tags, own = {"batch_id": "holes"}, ("holes/fetch", "holes/close", "own_holes")
    found = {"job": str(answer["backfillId"]), "assets": dagster.launch_backfill(HOLES, *own, tags=tags)}
    for how, dates in RANGES.items():
        config = {"resources": {"holes_params": {"config": {how: dates[1]}}}}
        found[how] = dagster.launch_backfill(dates, *own[:2], tags={"batch_id": how}, config=config)
    return found


def launch(
    dagster: DagsterStack,
    job: str,
    tags: Mapping[str, str],
    *,
    assets: Sequence[str] | None = None,
    checks: Sequence[str] | None = None,
    steps: Sequence[str] | None = None,
    parent: str | None = None,
) -> dict[str, Any]:
    """Run a job, or some assets, checks or steps of it, to its end and return the run."""
    selector: dict[str, Any] = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "moved",
        "jobName": job,
    }
    if assets is not None:
        selector["assetSelection"] = [{"path": ["parts", asset]} for asset in assets]
    if checks is not None:
        selector["assetCheckSelection"] = [
            {"assetKey": {"path": ["parts", asset]}, "name": "quality"} for asset in checks
        ]
    metadata: dict[str, Any] = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
    params = {"selector": selector, "executionMetadata": metadata}
    if steps is not None:
        params["stepKeys"] = list(steps)
    field, query = "launchRun", graphql.LAUNCH
    if parent is not None:
        metadata |= {"parentRunId": parent, "rootRunId": parent}
        field, query = "launchRunReexecution", AGAIN
    answer = dagster.graphql(query, params=params)[field]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run_id = answer["run"]["runId"]

    def found() -> list[dict[str, Any]]:
        return [run for run in dagster.runs() if run["runId"] == run_id and run["status"] in ENDED]

    dagster.wait_until(found, f"run {run_id}")
    return found()[0]


#: Some steps of an earlier run again, as the UI's launchpad does.
AGAIN = """
mutation ($params: ExecutionParams!) {
  launchRunReexecution(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""


def run_parts(
    dagster: DagsterStack, tier: str, batch_id: str | None, *, on_captured: str = "recapture", **what: Any
) -> dict[str, Any]:
    """Run the workflow, or a part of it, for a tier."""
    tags = {"dagster/partition": tier, "flowctx/on_captured": on_captured}
    tags |= {"flowctx/batch_id": batch_id} if batch_id else {}
    return launch(dagster, "parts_job", tags, **what)


def break_step(dagster: DagsterStack, batch_id: str, step: str) -> None:
    """Let a step of a batch fail; an empty name mends all."""
    Path(dagster.env["DYING"], f"broken-{batch_id}").write_text(step)


def captures(ledger: Ledger, workflow: str) -> dict[str, str]:
    """Return the state of each capture of a workflow, by its id."""
    return {capture.key.capture_id: str(capture.state) for capture in ledger.captures(workflow=workflow)}


def current(ledger: Ledger, tier: str) -> str | None:
    """Return the run whose capture of a tier is current."""
    found = ledger.captures(workflow="parts", partition=PartitionKey(tier=tier))
    return next((one.run_id for one in reversed(found) if one.state is CaptureState.COMPLETE), None)


def test_some_assets_are_a_part(dagster: DagsterStack, ledger: Ledger, home: Home) -> None:
    """One asset of two is a part that no batch counts as done; a batch that is launched then runs the rest."""
    run = run_parts(dagster, "T3", "d-sub", assets=["first"])
    found = ledger.get_run(run["runId"])
    assert (found.status, found.selected) == (RunStatus.PARTIAL, ("first",))
    assert "T3|d-sub" not in captures(ledger, "parts")
    status = BatchStatus.of(ledger, "d-sub", parts)
    assert (status.counts, status.complete) == ({"partial": 1}, False)
    home.run("backfill", "part_flows:parts", "--batch", "d-sub", "--select", "tier=T3", "--on", "dagster")
    assert captures(ledger, "parts")["T3|d-sub"] == "complete"
    assert BatchStatus.of(ledger, "d-sub", parts).counts == {"ok": 1}
    assert calls(dagster, "d-sub") == ["first", "second"]


def test_a_part_shadows_no_capture(dagster: DagsterStack, ledger: Ledger) -> None:
    """An asset alone, one that fails, or a check leaves the capture that is there current.

    A run that skips what is captured does not take a part for that.
    """
    run_parts(dagster, "T2", None, assets=["first"])
    whole = run_parts(dagster, "T2", "d-whole", on_captured="skip")
    assert current(ledger, "T2") == whole["runId"]
    run_parts(dagster, "T2", None, assets=["first"])
    run_parts(dagster, "T2", "d-whole", assets=[], checks=["first"])
    break_step(dagster, "d-whole", "second")
    failed = run_parts(dagster, "T2", "d-whole", assets=["second"])
    assert (failed["status"], ledger.get_run(failed["runId"]).status) == ("FAILURE", RunStatus.FAILED)
    assert current(ledger, "T2") == whole["runId"]
    assert BatchStatus.of(ledger, "d-whole", parts).counts == {"ok": 1}


def test_some_steps_of_a_failed_run_are_not_all(dagster: DagsterStack, ledger: Ledger, home: Home) -> None:
    """Re-executing steps of a failed run, which succeed, makes it whole only once none is missing.

    Then the failed run says how it went on, and a resume of it repeats nothing.
    """
    break_step(dagster, "d-again", "second")
    failed = run_parts(dagster, "T3", "d-again")
    break_step(dagster, "d-again", "")
    for steps, counts in (["first"], {"partial": 1}), (["second"], {"ok": 1}):
        again = run_parts(dagster, "T3", "d-again", steps=[f"parts__{step}" for step in steps], parent=failed["runId"])
        assert again["status"] == "SUCCESS"
        assert BatchStatus.of(ledger, "d-again", parts).counts == counts
        assert (captures(ledger, "parts")["T3|d-again"] == "complete") is (counts == {"ok": 1})
    before = calls(dagster, "d-again")
    shown, _ = home.run("show", failed["runId"])
    assert (f"flowctx show {again['runId']}" in shown, "flowctx resume" in shown) == (True, False)
    resumed = json.loads(home.run("resume", failed["runId"], "--json")[0])
    assert (resumed["status"], resumed["context"]["run_id"]) == ("ok", again["runId"])
    assert calls(dagster, "d-again") == before == ["first", "second", "first", "second"]


def test_from_a_step_on_is_whole_with_what_came_before(dagster: DagsterStack, ledger: Ledger, home: Home) -> None:
    """Run again from a step on, a run is whole with the steps before it; else an older one is current."""
    old, run = (run_parts(dagster, "T6", batch_id)["runId"] for batch_id in ("d-old", "d-from"))
    resume = ("resume", run, "--on", "dagster", "--workflow", "part_flows:parts", "--from-step", "second", "--json")
    assert current(ledger, "T6") == run
    break_step(dagster, "d-from", "second")
    failed = json.loads(home.run(*resume, code=1)[0])
    assert (failed["status"], current(ledger, "T6")) == ("failed", old)
    break_step(dagster, "d-from", "")
    done = json.loads(home.run(*resume)[0])
    assert (ledger.get_run(done["run_id"]).status, current(ledger, "T6")) == (RunStatus.OK, done["run_id"])
    assert calls(dagster, "d-from") == ["first", *["second"] * 3]


def test_each_day_is_its_own(dagster: DagsterStack, ledger: Ledger, outputs: WorkflowIOManager) -> None:
    """Without partitions, three days of one batch are three captures, files and rows, of which one has failed."""
    names = ["2026-01-08", "2026-01-09", "2026-01-10"]
    for day in names:
        launch(dagster, "days_job", {"flowctx/batch_id": "d-days", "flowctx/as_of_date": day})
    found = {capture: state for capture, state in captures(ledger, "days").items() if capture.endswith("|d-days")}
    assert found == {
        "2026-01-08|d-days": "complete",
        "2026-01-09|d-days": "released",
        "2026-01-10|d-days": "complete",
    }
    status = BatchStatus.of(ledger, "d-days", days)
    assert (status.counts, status.total) == ({"ok": 2, "failed": 1}, 3)
    assert [failure.label for failure in status.failures] == ["2026-01-09"]
    assert status.grid is not None
    assert (status.grid.rows, status.grid.cells) == (names, b"ofo")
    for day in (names[0], names[2]):
        assert str(outputs.output("days/load", capture_id=f"{day}|d-days")["day"]) == day


def test_each_tick_of_a_schedule_is_its_own(dagster: DagsterStack, ledger: Ledger) -> None:
    """Two ticks of one day, in one batch that skips what is captured, are two runs, captures and rows."""
    runs = dagster.wait_for_runs(2, {"dagster/schedule_name": "ticks_schedule"}, seconds=600)
    found = {capture.split("|")[0]: state for capture, state in captures(ledger, "ticks").items()}
    assert len(found) == len(runs)
    assert set(found.values()) == {"complete"}
    status = BatchStatus.of(ledger, "ticks", ticks)
    assert status.counts == {"ok": len(runs)}
    assert status.grid is not None
    assert sorted(status.grid.rows) == sorted(found)


def test_what_is_skipped_is_not_materialised(
    dagster: DagsterStack, ledger: Ledger, home: Home, backfills: dict[str, str]
) -> None:
    """A day that is skipped in the run of a range has no materialisation: of steps, and of a user's own asset.

    Why is in ``runs``, in ``status`` and on the page.
    """
    dagster.wait_until(lambda: ended_backfill(dagster, backfills["assets"]), "the backfill of assets", seconds=600)
    keys = [{"path": path} for path in (["holes", "fetch"], ["holes", "close"], ["own_holes"])]
    nodes = dagster.graphql(STATUSES, keys=keys)["assetNodes"]
    assert len(nodes) == 3
    for node in nodes:
        ranges = node["assetPartitionStatuses"]["ranges"]
        made = [
            (one["startKey"], one["endKey"])
            for one in ranges
            if one["status"] == "MATERIALIZED" and one["startKey"] in HOLES
        ]
        assert made == [("2012-10-24", "2012-10-24"), ("2012-10-26", "2012-10-26")], node
    assert BatchStatus.of(ledger, "holes", holes).skips == {"a holiday": 1}
    status = home.status("holes", "--html", "page.html")
    assert (status["counts"], status["skips"]) == ({"ok": 2, "skipped": 1}, {"a holiday": 1})
    assert "a holiday" in (home.folder / "page.html").read_text()
    [skipped] = json.loads(home.run("runs", "--batch", "holes", "--status", "skipped", "--json")[0])
    assert (skipped["partition"], skipped["error"]) == ("date=2012-10-25", "a holiday")


def test_a_backfill_of_the_job_with_a_skip_is_completed(
    dagster: DagsterStack, ledger: Ledger, backfills: dict[str, str]
) -> None:
    """Dagster calls its own backfill of a job completed when its runs succeed, also where all was skipped."""
    dagster.wait_until(lambda: ended_backfill(dagster, backfills["job"]), "the backfill of the job", seconds=600)
    assert ended_backfill(dagster, backfills["job"]) == "COMPLETED_SUCCESS"
    assert BatchStatus.of(ledger, "holes-job", holes).counts == {"skipped": 1}


@pytest.mark.parametrize(
    ("how", "runs"),
    [
        (
            "fails",
            {
                "2012-10-01": ("partial", "step fetch failed for other partitions of the range: date=2012-10-02"),
                "2012-10-02": ("failed", "step 'fetch': a bad day"),
                "2012-10-03": ("partial", "step fetch failed for other partitions of the range: date=2012-10-02"),
            },
        ),
        (
            "exits",
            {
                "2012-10-08": ("failed", "Dagster calls it failed; step 'close' had not ended"),
                "2012-10-09": ("failed", "Dagster calls it failed; step 'fetch' had not ended"),
            },
        ),
    ],
)
def test_nothing_of_a_failed_range_is_left_running(
    dagster: DagsterStack, ledger: Ledger, home: Home, backfills: dict[str, str], how: str, runs: Mapping[str, Any]
) -> None:
    """Where a day of a range fails, or its process dies, each day that began is over, holds nothing, and says why."""
    dagster.wait_for_runs(1, {"dagster/backfill": backfills[how]})
    dagster.wait_until(
        lambda: RunStatus.RUNNING not in {run.status for run in ledger.list_runs(batch_id=how)},
        "the end of the range in the ledger",
    )
    found = json.loads(home.run("runs", "--batch", how, "--json")[0])
    # What Dagster itself says of a process that is gone depends on which of its daemons found out.
    errors = {run["partition"].removeprefix("date="): re.sub(": [^;]*;", ";", run["error"]) for run in found}
    assert {day: (run["status"], errors[day]) for day, run in zip(errors, found, strict=True)} == runs
    states = {capture: state for capture, state in captures(ledger, "holes").items() if capture.endswith(f"|{how}")}
    assert states == {f"{day}|{how}": "released" for day in runs}


def ended_backfill(dagster: DagsterStack, backfill_id: str) -> str | None:
    """Return how a backfill ended, or ``None`` while it goes on."""
    status = str(dagster.graphql(BACKFILL, id=backfill_id)["partitionBackfillOrError"]["status"])
    return status if status in ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED") else None
