"""Runs of a batch that Dagster executes again, without a ledger: with which parameters, and which of them counts."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.engine_servers import Dagster
from backfill.flows import flow
from flowctx import Backfill
from flowctx.backfill import LaunchListener, LaunchProgress
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.backfill.dagster_config import RUN_TAG
from flowctx.core.batches.outcomes import winning_outcome
from flowctx.core.batches.records import PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

DAY = "date=2012-01-02"
LOAD = {"path": ["filled", "load"]}


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


def launch(dagster: Dagster, ledger: Ledger, tiers: str, number: int, **how: Any) -> None:
    """Launch a batch of some partitions of a day."""
    plan = Backfill(flow, f"{DAY},tier={tiers}", "b", params={"number": number}, ledger=ledger)
    plan.launch(DagsterLauncher(dagster.url), **how)


def configured(dagster: Dagster) -> list[int]:
    """Return the parameter of each run."""
    return [run["config"]["resources"]["filled_params"]["config"]["number"] for run in dagster.runs.values()]


def test_a_failure_of_before_the_new_parameters_is_no_run_of_them(dagster: Dagster, ledger: Ledger) -> None:
    """A batch that got others for what it added executes nothing again that has the ones of before."""
    dagster.status, dagster.reexecutes = "FAILURE", True
    launch(dagster, ledger, "T1", 1)
    launch(dagster, ledger, "T1|T2", 2, extend=True)
    launch(dagster, ledger, "T1|T2", 2, retry_failed=True)
    assert configured(dagster) == [1, 2, 2, 2]
    assert [run.get("parentRunId") for run in dagster.runs.values()] == [None, None, None, "run-1"]


def test_what_others_have_started_is_executed_again_once(dagster: Dagster, ledger: Ledger) -> None:
    """A run of the UI or of a schedule has no name of ours; the answer to its re-execution may be lost all the same."""
    dagster.status, dagster.reexecutes = "FAILURE", True
    launch(dagster, open_ledger("memory://"), "T1", 1)
    run = dagster.runs["run-0"]
    run["tags"] = [tag for tag in run["tags"] if tag["key"] != RUN_TAG]
    dagster.status, dagster.troubles = "SUCCESS", [("launchRunReexecution(", "lose")]
    launch(dagster, ledger, "T1", 1, retry_failed=True)
    assert list(dagster.runs) == ["run-0", "run-1"]
    assert [one.state for one in ledger.batches.iter_outcomes("b")] == [PartitionState.OK]


@pytest.mark.parametrize("chosen", [{"stepKeysToExecute": ["filled__load"]}, {"assetSelection": [LOAD]}])
def test_a_part_that_failed_goes_on_as_a_run_of_all(dagster: Dagster, ledger: Ledger, chosen: dict[str, Any]) -> None:
    """Executed again from its failure, it would be the same part, and the partition as little done as before."""
    dagster.status, dagster.reexecutes = "FAILURE", True
    launch(dagster, open_ledger("memory://"), "T1", 1)
    dagster.runs["run-0"].update(chosen)
    dagster.status = "SUCCESS"
    launch(dagster, ledger, "T1", 1, retry_failed=True)
    assert [run.get("parentRunId") for run in dagster.runs.values()] == [None, None]
    assert [one.state for one in ledger.batches.iter_outcomes("b")] == [PartitionState.OK]


def put(dagster: Dagster, ledger: Ledger, runs: list[dict[str, Any]]) -> None:
    """Let Dagster have runs in place of the one that a launch began."""
    launch(dagster, ledger, "T1", 1)
    launched = dagster.runs.pop("run-0")
    for run in runs:
        tags = [{"key": key, "value": value} for key, value in run["tags"].items()]
        dagster.runs[run["runId"]] = {**launched, **run, "tags": tags}


def again(run_id: str, parent: str, status: str, ended: float, **tags: str) -> dict[str, Any]:
    """Return a run that goes on with another one from its failure."""
    of_batch = {
        "dagster/partition": "2012-01-02|T1",
        "flowctx/batch_id": "b",
        "dagster/is_resume_retry": "true",
        **tags,
    }
    return {"runId": run_id, "parentRunId": parent, "status": status, "endTime": ended, "tags": of_batch}


#: One run failed, Dagster ran it again by itself, and that again; what there is of them, and which run counts.
AUTO = [
    again("a", "", "FAILURE", 1, **{"dagster/auto_retry_run_id": "b"}),
    again("b", "a", "FAILURE", 2, **{"dagster/auto_retry_run_id": "c"}),
    again("c", "b", "FAILURE", 3),
]


@pytest.mark.parametrize(
    ("runs", "counts"),
    [
        (AUTO, "c"),
        ([AUTO[0], AUTO[2]], "c"),
        (AUTO[:2], "b"),
        (AUTO[1:], "c"),
        (AUTO[:1], "a"),
        ([*AUTO, again("of a", "a", "SUCCESS", 4)], "of a"),
        ([*AUTO, again("of a", "a", "STARTED", 0)], "of a"),
        ([*AUTO[:2], again("c", "b", "SUCCESS", 3), again("of a", "a", "FAILURE", 4)], "c"),
        ([AUTO[0], again("of a", "a", "SUCCESS", 4)], "of a"),
    ],
)
def test_of_runs_that_go_on_with_each_other_the_last_counts(
    dagster: Dagster, ledger: Ledger, runs: list[dict[str, Any]], counts: str
) -> None:
    """Whichever of them was deleted, and also if somebody executed an older one again; what is done stays done."""
    put(dagster, ledger, [{**run, "startTime": run["endTime"], "updateTime": run["endTime"]} for run in runs])
    found = list(DagsterLauncher(dagster.url).find(ledger.batches.get("b"), flow))
    assert winning_outcome(found).run_id == counts


class Resumes(LaunchListener):
    """Somebody has a run executed again while a launch is at another partition; it ends once it is followed."""

    def __init__(self, dagster: Dagster, tier: str, number: int) -> None:
        self.dagster, self.tier, self.number = dagster, tier, number

    def tick(self, progress: LaunchProgress) -> None:
        again = self.dagster.runs.get("again")
        if again is not None and progress.ended and progress.under_way:
            again["status"] = "SUCCESS"
        if again is None:
            key = {"key": "dagster/partition", "value": f"2012-01-02|{self.tier}"}
            (run,) = (one for one in self.dagster.runs.values() if key in one["tags"])
            parent = {"key": "dagster/parent_run_id", "value": run["runId"]}
            config = {"resources": {"filled_params": {"config": {"number": self.number}}}}
            child = {"tags": [*run["tags"], parent], "config": config, "parentRunId": run["runId"]}
            self.dagster.runs["again"] = {**run, "runId": "again", "status": "STARTED", **child}


@pytest.mark.parametrize("number", [1, 2])
def test_what_somebody_has_executed_again_meanwhile_is_followed(dagster: Dagster, ledger: Ledger, number: int) -> None:
    """Beside it no second run is started, whose turn came later; nor beside one with other parameters."""
    dagster.status, dagster.reexecutes = "FAILURE", True
    launch(dagster, ledger, "T1|T2", 1)
    dagster.status = "SUCCESS"
    plan = Backfill(flow, f"{DAY},tier=T1|T2", "b", params={"number": 1}, ledger=ledger)
    resumes = Resumes(dagster, "T2", number)
    plan.launch(DagsterLauncher(dagster.url, max_active=1), retry_failed=True, listener=resumes)
    parents = [(name, run.get("parentRunId")) for name, run in dagster.runs.items()]
    assert sorted(parents[2:]) == [("again", "run-1"), ("run-2", "run-0")]
    outcomes = {run.partition[-2:]: run for run in ledger.batches.iter_outcomes("b")}
    state = PartitionState.OK if number == 1 else PartitionState.FAILED
    assert (outcomes["T1"].state, outcomes["T2"].state) == (PartitionState.OK, state)


class Fails(LaunchListener):
    """Lets a run fail once it is followed."""

    def __init__(self, dagster: Dagster, run_id: str) -> None:
        self.dagster, self.run_id = dagster, run_id

    def tick(self, progress: LaunchProgress) -> None:
        if progress.under_way:
            self.dagster.runs[self.run_id]["status"] = "FAILURE"


@pytest.mark.parametrize("deleted", [(), ("b",)])
def test_a_retry_of_the_first_run_is_none_of_what_goes_on_with_it(
    dagster: Dagster, ledger: Ledger, deleted: tuple[str, ...]
) -> None:
    """Dagster's UI hands on all tags to a run of which somebody has chosen the steps."""
    runs = (*AUTO[:2], again("chosen", "a", "STARTED", 4, **{"dagster/auto_retry_run_id": "b"}))
    put(dagster, ledger, [{**run, "startTime": 1.0, "updateTime": run["endTime"]} for run in runs])
    for run_id in deleted:
        del dagster.runs[run_id]
    plan = Backfill(flow, f"{DAY},tier=T1", "b", params={"number": 1}, ledger=open_ledger("memory://"))
    plan.launch(DagsterLauncher(dagster.url), listener=Fails(dagster, "chosen"))
    assert plan.ledger is not None
    (outcome,) = plan.ledger.batches.iter_outcomes("b")
    assert (outcome.run_id, outcome.state) == ("chosen", PartitionState.FAILED)


@pytest.mark.parametrize("deleted", [(), ("b",)])
def test_a_part_that_was_executed_again_is_one(dagster: Dagster, ledger: Ledger, deleted: tuple[str, ...]) -> None:
    """Somebody chose the steps of the first run; a retry of a retry of it has no more, also if that was deleted."""
    first = again("a", "", "FAILURE", 1, **{"dagster/auto_retry_run_id": "b", "dagster/is_resume_retry": "false"})
    runs = (first, AUTO[1], again("c", "b", "SUCCESS", 3, **{"dagster/root_run_id": "a"}))
    put(dagster, ledger, [{**run, "stepKeysToExecute": ["load"]} for run in runs])
    for run_id in deleted:
        del dagster.runs[run_id]
    states = {run.run_id: run.state for run in DagsterLauncher(dagster.url).find(ledger.batches.get("b"), flow)}
    assert states["c"] is PartitionState.PARTIAL


def test_steps_that_somebody_chose_of_a_retry_are_a_part(dagster: Dagster, ledger: Ledger) -> None:
    """Dagster's UI hands on all tags of the retry but one, so that they say of its assets that nobody chose them."""
    handed_on = {"dagster/is_asset_resume_retry": "true", "dagster/is_resume_retry": "false"}
    chosen = {**again("chosen", "b", "SUCCESS", 3, **handed_on), "stepKeysToExecute": ["load"]}
    put(dagster, ledger, [AUTO[0], again("b", "a", "FAILURE", 2, **handed_on), chosen])
    states = {run.run_id: run.state for run in DagsterLauncher(dagster.url).find(ledger.batches.get("b"), flow)}
    assert states["chosen"] is PartitionState.PARTIAL


@pytest.mark.parametrize(
    ("rest", "state"),
    [(["check"], PartitionState.PARTIAL), ([*flow.steps], PartitionState.OK), (None, PartitionState.OK)],
)
def test_a_retry_of_what_was_deleted_may_be_a_part(
    dagster: Dagster, ledger: Ledger, rest: list[str] | None, state: PartitionState
) -> None:
    """Nobody knows any more which steps were to run before, unless it ran all of them itself."""
    put(dagster, ledger, [{**again("c", "b", "SUCCESS", 3, **{"dagster/root_run_id": "a"}), "stepKeysToExecute": rest}])
    (found,) = DagsterLauncher(dagster.url).find(ledger.batches.get("b"), flow)
    why = "run b, with which it goes on, was deleted in Dagster" if state is PartitionState.PARTIAL else None
    assert (found.state, found.error) == (state, why)


def test_what_was_done_stays_so_though_its_parent_was_deleted(dagster: Dagster, ledger: Ledger) -> None:
    """The ledger knew that it was whole; another one does not, and runs it anew."""
    rest = {**again("c", "a", "SUCCESS", 3), "stepKeysToExecute": ["check"]}
    put(dagster, ledger, [again("a", "", "FAILURE", 1, **{"dagster/is_resume_retry": "false"}), rest])
    config = {"resources": {"filled_params": {"config": {"number": 1}}}}
    assert {str(run["config"]) for run in dagster.runs.values()} == {str(config)}
    launch(dagster, ledger, "T1", 1)
    del dagster.runs["a"]
    launch(dagster, ledger, "T1", 1)
    assert [*dagster.runs] == ["c"]
    launch(dagster, open_ledger("memory://"), "T1", 1)
    assert len(dagster.runs) == 2
