"""Runs of Dagster that are of a batch, whoever started them: of several partitions, with other assets or a prefix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from adapters.engine_servers import Dagster
from flowctx import Backfill, Daily, PartitionScheme, Workflow
from flowctx.backfill import dagster as dagster_launcher
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.backfill.polling import PAGE
from flowctx.core.batches.records import BatchRecord, PartitionState
from flowctx.dagster import partitions_def
from flowctx.dagster.partitions import to_dagster_key

WEEKDAYS = Daily(start="2012-01-02", end="2012-01-31", calendar="WEEKDAYS")
FOLDED = PartitionScheme(tier=["T1", "T2"], venue=["A", "B", "C"])
BOTH = PartitionScheme(venue=["A", "B", "C"], date=WEEKDAYS, tier=["T1", "T2"])


def workflow(scheme: PartitionScheme) -> Workflow:
    """Return a workflow of which one step ends as another one is called."""
    flow = Workflow("filled", partitions=scheme)
    flow.step("raw")(lambda ctx: {})
    flow.step("load__raw")(lambda ctx: {})
    return flow


DAYS = workflow(PartitionScheme(date=WEEKDAYS))


def known(dagster: Dagster, status: str, tags: dict[str, str], **run: Any) -> None:
    """Have Dagster know one run of the batch."""
    steps = [["filled", step] for step in DAYS.steps]
    dagster.knows("run", status, {"flowctx/batch_id": "b", **tags}, steps, **run)


def batch_of(flow: Workflow) -> BatchRecord:
    """Return the batch of all partitions."""
    return Backfill(flow, None, "b", ledger="memory://").record()


def span(first: str, last: str) -> dict[str, str]:
    """Return the tags of a range."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


@pytest.mark.parametrize(
    ("paths", "state"),
    [
        ([["desk", "filled", "raw"], ["desk", "filled", "load__raw"]], PartitionState.OK),
        ([["filled", "raw"], ["filled", "load__raw"], ["headline"]], PartitionState.OK),
        ([["filled", "raw"], ["other", "load__raw"]], PartitionState.PARTIAL),
        ([["filled", "headline"]], None),
        ([["filled"]], None),
    ],
)
def test_runs_are_known_by_the_assets_of_the_workflow(
    dagster: Dagster, paths: list[list[str]], state: PartitionState | None
) -> None:
    """Whatever their keys begin with, and whatever else the run makes."""
    known(dagster, "SUCCESS", {"dagster/partition": "2012-01-05"}, assetSelection=[{"path": path} for path in paths])
    found = list(DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS))
    assert [run.state for run in found] == ([] if state is None else [state])


@pytest.mark.parametrize(
    ("scheme", "first", "last"),
    [
        (FOLDED, "T1~A", "T2~B"),
        (FOLDED, "T1~C", "T2~A"),
        (FOLDED, "T2~A", "T1~C"),
        (BOTH, "2012-01-05|B~T2", "2012-01-09|C~T1"),
        (BOTH, "2012-01-09|A~T1", "2012-01-05|A~T2"),
        (PartitionScheme(date=WEEKDAYS), "2012-01-05", "2012-01-09"),
    ],
)
def test_a_range_is_of_the_partitions_that_dagster_has_in_it(
    dagster: Dagster, scheme: PartitionScheme, first: str, last: str
) -> None:
    """Folded dimensions are one, in the order of their combinations; between ends the wrong way round is nothing."""
    flow, definition = workflow(scheme), partitions_def(scheme)
    assert definition is not None
    ends = [definition.get_partition_key_from_str(k) if "|" in k else k for k in (first, last)]  # type: ignore[attr-defined]
    inside = [str(key) for key in definition.get_partition_keys_in_range(dg.PartitionKeyRange(*ends))]
    known(dagster, "STARTED", span(first, last))
    found = [
        str(to_dagster_key(run.partition, scheme)) for run in DagsterLauncher(dagster.url).find(batch_of(flow), flow)
    ]
    assert sorted(found) == sorted(inside)


@pytest.mark.parametrize(("batch_id", "found"), [("", 1), ("b", 1), ("another", 0)])
def test_a_backfill_that_is_told_of_a_batch_is_none_of_its_own(dagster: Dagster, batch_id: str, found: int) -> None:
    """Its runs say both, and capture for the batch."""
    tags = {"dagster/partition": "2012-01-05", "dagster/backfill": "b", "flowctx/batch_id": batch_id}
    known(dagster, "SUCCESS", {tag: value for tag, value in tags.items() if value})
    run = dagster.runs["run"]
    run["tags"] = [tag for tag in run["tags"] if tag["key"] != "flowctx/batch_id" or batch_id]
    assert len({one.run_id for one in DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)}) == found


def test_a_range_of_another_scheme_is_none_of_the_batch(dagster: Dagster) -> None:
    """Its keys may mean something else by now."""
    known(dagster, "STARTED", span("2012-01-05|T1", "2012-01-06|T1"))
    assert list(DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)) == []


def materialized(step: str, *days: int) -> list[dict[str, Any]]:
    """Return the events of a run that made a step of some days."""
    made = {"__typename": "MaterializationEvent", "metadataEntries": [], "assetKey": {"path": ["filled", step]}}
    return [{**made, "partition": f"2012-01-0{day}"} for day in days]


@pytest.mark.parametrize(
    ("status", "states"),
    [("SUCCESS", ["ok", "skipped", "ok"]), ("FAILURE", ["ok", "failed", "failed"]), ("CANCELED", ["canceled"] * 3)],
)
def test_each_partition_of_a_range_stands_for_itself(dagster: Dagster, status: str, states: list[str]) -> None:
    """Where some were skipped, or one was done before a step of another failed, Dagster tells of each."""
    failure = {"__typename": "RunFailureEvent", "message": "no rows"}
    dagster.events = [*materialized("raw", 5, 9), *materialized("load__raw", 5), failure]
    known(dagster, status, span("2012-01-05", "2012-01-09"))
    found = list(DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS))
    assert [run.state for run in found] == states
    assert [run.error for run in found] == ["no rows" if state == "failed" else None for state in states]


@pytest.mark.parametrize(
    ("status", "steps", "state"),
    [
        ("FAILURE", ["raw", "load__raw"], "ok"),
        ("FAILURE", ["raw"], "failed"),
        ("SUCCESS", ["raw"], "ok"),
        ("SUCCESS", ["headline"], "skipped"),
    ],
)
def test_what_others_have_done_in_its_run_is_theirs(
    dagster: Dagster, status: str, steps: list[str], state: str
) -> None:
    """An asset of one's own, or of another workflow, neither fails nor does a partition in whose run it is."""
    made = [event for step in steps for event in materialized(step, 5)]
    headline = {"assetKey": {"path": ["headline"]}}
    made = [event | (headline if event["assetKey"]["path"][-1] == "headline" else {}) for event in made]
    dagster.events = [*made, {"__typename": "RunFailureEvent", "message": "no headline"}]
    assets = [{"path": path} for path in (["filled", "raw"], ["filled", "load__raw"], ["headline"])]
    known(dagster, status, {"dagster/partition": "2012-01-05"}, assetSelection=assets)
    assert [run.state for run in DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)] == [state]


def test_a_range_of_ops_is_one(dagster: Dagster) -> None:
    """They make no assets, and Dagster tells nothing of their partitions."""
    dagster.events = [{"__typename": "ExecutionStepOutputEvent", "metadataEntries": []}]
    none = {"__typename": "RunStatsSnapshot", "materializations": 0}
    known(dagster, "SUCCESS", span("2012-01-05", "2012-01-09"), jobName="filled", assetSelection=None, stats=none)
    assert {run.state for run in DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)} == {PartitionState.OK}


def test_a_range_is_canceled_with_all_its_partitions(dagster: Dagster) -> None:
    """They are of one run: when that has stopped, so have they."""
    known(dagster, "STARTED", span("2012-01-05", "2012-01-09"))
    launcher = DagsterLauncher(dagster.url)
    under_way = list(launcher.find(batch_of(DAYS), DAYS))
    dagster.runs["run"]["status"] = "CANCELED"
    stopped = list(launcher.cancel(batch_of(DAYS), under_way))
    assert [run.partition for run in stopped] == [f"date=2012-01-0{day}" for day in (5, 6, 9)]
    assert {run.state for run in stopped} == {PartitionState.CANCELED}


@pytest.mark.parametrize(("chosen", "state"), [(None, "ok"), (["filled__raw"], "partial")])
def test_a_part_that_ends_while_it_is_canceled_is_one(dagster: Dagster, chosen: Any, state: str) -> None:
    """Whoever cancels does not know the workflow: what somebody has chosen of it is not called done."""
    key = {"dagster/partition": "2012-01-05"}
    known(dagster, "STARTED", key, assetSelection=None, jobName="filled_job", stepKeysToExecute=chosen)
    (run,) = DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)
    dagster.runs["run"]["status"] = "SUCCESS"
    (over,) = DagsterLauncher(dagster.url).cancel(batch_of(DAYS), [run])
    assert over.state == state


def test_what_is_being_canceled_is_under_way(dagster: Dagster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its step may be at something for minutes: it has not stopped, and a launch follows it and begins no other."""
    known(dagster, "CANCELING", {"dagster/partition": "2012-01-05"})
    launcher = DagsterLauncher(dagster.url)
    (run,) = launcher.find(batch_of(DAYS), DAYS)
    assert run.state is PartitionState.RUNNING
    monkeypatch.setattr(dagster_launcher, "_STOP_SECONDS", 0.1)
    assert list(launcher.cancel(batch_of(DAYS), [run])) == []


def test_what_does_not_stop_is_in_the_way_of_no_other(dagster: Dagster, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs are at a step, the others are asked to stop, too."""
    known(dagster, "CANCELED", {"dagster/partition": "2012-01-05"})
    (run,) = DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)
    for number in range(PAGE):
        dagster.runs[f"a{number}"] = dagster.runs["run"] | {"runId": f"a{number}", "status": "CANCELING"}
    runs = [replace(run, run_id=run_id, state=PartitionState.RUNNING) for run_id in dagster.runs]
    monkeypatch.setattr(dagster_launcher, "_STOP_SECONDS", 0.1)
    assert [one.run_id for one in DagsterLauncher(dagster.url).cancel(batch_of(DAYS), runs)] == ["run"]


#: Each kind of a retry: its tag, and where a run says which steps it is of.
RETRIES = {
    "is_resume_retry": ("stepKeysToExecute", ["filled__raw"], ["filled__load__raw"]),
    "is_asset_resume_retry": ("assetSelection", [{"path": ["filled", "raw"]}], [{"path": ["filled", "load__raw"]}]),
}


@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize("retry", RETRIES)
def test_a_retry_is_of_what_the_first_run_was_of(dagster: Dagster, retry: str, part: bool) -> None:
    """Of all, or of the part that somebody chose; and what that had made before counts, though the rest is skipped."""
    field, first, rest = RETRIES[retry]
    key = {"dagster/partition": "2012-01-05"}
    common = {"jobName": "filled_job", "assetSelection": None}
    known(dagster, "FAILURE", key, **{**common, field: rest if part else first + rest})
    dagster.runs["first"] = dagster.runs.pop("run") | {"runId": "first"}
    made = {"parentRunId": "first", "stats": {"__typename": "RunStatsSnapshot", "materializations": 0}}
    known(dagster, "SUCCESS", {**key, f"dagster/{retry}": "true"}, **{**common, field: rest, **made})
    run, _ = DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)
    assert (run.run_id, run.state) == ("run", PartitionState.PARTIAL if part else PartitionState.OK)


@pytest.mark.parametrize(("labels", "state"), [(["flowctx/skipped"], "skipped"), (["path"], "ok")])
def test_an_output_that_stands_for_a_skip_is_none(dagster: Dagster, labels: list[str], state: str) -> None:
    """Dagster has one where steps after it run all the same: a run in which all were skipped is skipped."""
    entries = [{"__typename": "BoolMetadataEntry", "label": label} for label in labels]
    dagster.events = [{"__typename": "ExecutionStepOutputEvent", "metadataEntries": entries}]
    nothing = {"__typename": "RunStatsSnapshot", "materializations": 0}
    known(dagster, "SUCCESS", {"dagster/partition": "2012-01-05"}, stats=nothing)
    assert [run.state for run in DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)] == [state]


@pytest.mark.parametrize(
    ("key", "step"),
    [
        ("filled__load__raw", "load__raw"),
        ("desk__filled__load__raw", "load__raw"),
        ("load__raw", "load__raw"),
        ("filled__raw", "raw"),
        ("raw", "raw"),
        ("desk__headline", "headline"),
        ("other__raw", "other__raw"),
    ],
)
def test_a_step_is_known_by_its_whole_name(dagster: Dagster, key: str, step: str) -> None:
    """Two underlines may be in the name of a step, and join the parts of the name of an asset's op."""
    failure = {"stepKey": key, "failureMetadata": {"description": "no rows", "metadataEntries": []}}
    dagster.events = [{"__typename": "ExecutionStepFailureEvent", "error": None, **failure}]
    known(dagster, "FAILURE", {"dagster/partition": "2012-01-05"})
    (run,) = DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)
    assert (run.step, run.error) == (step, "no rows")


def test_a_failure_of_its_own_comes_before_those_of_others(dagster: Dagster) -> None:
    """A run may be of another workflow, too, of which a step failed earlier."""
    failure = {"__typename": "ExecutionStepFailureEvent", "error": None}
    steps = [("other__raw", "no file"), ("filled__raw", "no rows")]
    failures = [(key, {"description": why, "metadataEntries": []}) for key, why in steps]
    dagster.events = [{**failure, "stepKey": key, "failureMetadata": metadata} for key, metadata in failures]
    known(dagster, "FAILURE", {"dagster/partition": "2012-01-05"})
    (run,) = DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)
    assert (run.step, run.error) == ("raw", "no rows")


@pytest.mark.parametrize(
    "event",
    [
        {"__typename": "RunFailureEvent"},
        {"__typename": "ExecutionStepFailureEvent", "stepKey": "filled__raw", "failureMetadata": None},
    ],
)
def test_why_a_run_failed_is_told_without_secrets(dagster: Dagster, event: dict[str, Any]) -> None:
    """The URL of a database may be in what Dagster says."""
    message = "postgresql://me:hunter2@db\nis away"
    dagster.events = [{**event, "message": message, "error": {"message": message}}]
    known(dagster, "FAILURE", {"dagster/partition": "2012-01-05"})
    (run,) = DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)
    assert run.error == "postgresql://me:***@db is away"


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        (["filled__raw", "filled__load__raw"], PartitionState.OK),
        (["filled__load__raw"], PartitionState.PARTIAL),
        (["other__raw", "filled__load__raw"], PartitionState.PARTIAL),
    ],
)
@pytest.mark.parametrize("assets", [None, [{"path": ["filled", step]} for step in DAYS.steps]])
def test_a_run_of_all_steps_is_no_part(dagster: Dagster, keys: list[str], state: PartitionState, assets: Any) -> None:
    """Nor does one step stand for another whose name its own ends with; a run of all assets may be of some steps."""
    known(dagster, "SUCCESS", {"dagster/partition": "2012-01-05"}, stepKeysToExecute=keys, assetSelection=assets)
    dagster.runs["run"]["jobName"] = "filled_job"
    (run,) = DagsterLauncher(dagster.url).find(batch_of(DAYS), DAYS)
    assert run.state is state
