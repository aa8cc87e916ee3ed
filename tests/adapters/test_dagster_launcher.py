"""Launching batches on a Dagster that drops connections, where nobody can choose a run's id."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.engine_servers import Dagster
from adapters.recorded_parts import record_failure, record_part, record_skip
from backfill.flows import flow
from flowctx import Backfill, BatchError, ContextError, EngineError, EngineUnavailable, backfill
from flowctx.backfill import LaunchProgress, http
from flowctx.backfill.dagster import DagsterLauncher, launcher_from_env
from flowctx.backfill.dagster_starting import STARTED, Starting
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

SOME = "date=2012-01-02"  # 3 partitions
#: What happened in a run that had a ledger.
_MARK = {"__typename": "BoolMetadataEntry", "label": "flowctx/ledger"}
HAD_LEDGER = [{"__typename": "LogMessageEvent"}, {"__typename": "MaterializationEvent", "metadataEntries": [_MARK]}]


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


def fill(dagster: Dagster, ledger: Ledger) -> LaunchProgress:
    return Backfill(flow, SOME, "b", ledger=ledger).launch(DagsterLauncher(dagster.url))


def test_each_partition_is_one_run(dagster: Dagster, ledger: Ledger) -> None:
    """A run has Dagster's key of its partition and the batch id as tags."""
    assert fill(dagster, ledger).ended == {PartitionState.OK: 3}
    tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in dagster.runs.values()]
    assert [tag["dagster/partition"] for tag in tags] == [f"2012-01-02|T{n}" for n in (1, 2, 3)]
    assert {tag["dagster/partition/tier"] for tag in tags} == {"T1", "T2", "T3"}
    assert {tag["flowctx/batch_id"] for tag in tags} == {"b"}


def test_of_several_code_locations_one_is_named(dagster: Dagster, ledger: Ledger, monkeypatch) -> None:
    """Where two code locations have the workflow, a batch is refused until one is named; then its job is run."""
    dagster.locations = ("market", "research")
    with pytest.raises(EngineError, match="'filled_job' in 2 code locations, market, research; say which one"):
        fill(dagster, ledger)
    with pytest.raises(EngineError, match="in the code location 'funds'; it is in market, research"):
        launcher_from_env(url=dagster.url, location="funds").check(flow)
    assert dagster.runs == {}
    monkeypatch.setenv("FLOWCTX_DAGSTER_LOCATION", "funds")
    done = backfill(flow, SOME, batch_id="b", on="dagster", url=dagster.url, location="research", ledger=ledger)
    assert done.ended == {PartitionState.OK: 3}
    assert {run["location"] for run in dagster.runs.values()} == {"research"}
    with pytest.raises(BatchError, match="leave it out, or say on='dagster'"):
        backfill(flow, SOME, batch_id="b", location="research", ledger=ledger)
    for name in ("location", "url"):
        with pytest.raises(ContextError, match=f"{name} is ''; it must be text and not empty: leave it out"):
            backfill(flow, SOME, batch_id="b", on="dagster", ledger=ledger, **{name: ""})


def test_a_run_that_dagster_runs_again_is_followed(dagster: Dagster, ledger: Ledger) -> None:
    """With ``run_retries`` a partition has not failed while a retry is to come; how the last of them ends counts."""
    dagster.status, dagster.retries = "FAILURE", 2
    assert Backfill(flow, "date=2012-01-02,tier=T1", "b", ledger=ledger).launch(DagsterLauncher(dagster.url)).ended == {
        PartitionState.OK: 1
    }
    [outcome] = ledger.batches.iter_outcomes("b")
    found = DagsterLauncher(dagster.url).find(ledger.batches.get("b"), flow)
    assert [(run.run_id, run.state) for run in found] == [("run-0~2", PartitionState.OK)]
    assert (outcome.run_id, outcome.attempt, list(dagster.runs)) == ("run-0~2", 3, ["run-0", "run-0~1", "run-0~2"])


@pytest.mark.parametrize(("minutes", "state"), [(1, PartitionState.LAUNCHED), (9, PartitionState.FAILED)])
def test_what_failed_is_under_way_while_a_retry_is_to_come(
    dagster: Dagster, ledger: Ledger, minutes: int, state: PartitionState
) -> None:
    """For some minutes: a daemon that cannot run it again says so in Dagster alone."""
    fill(dagster, ledger)
    run = dagster.runs["run-0"]
    dagster.runs = {"run-0": run}
    run["status"], run["endTime"] = "FAILURE", time.time() - 60 * minutes
    run["tags"].append({"key": "dagster/will_retry", "value": "true"})
    [found] = DagsterLauncher(dagster.url).find(ledger.batches.get("b"), flow)
    assert found.state is state
    assert (found.error or "").endswith("was to run it again (run_retries), and has not") is (minutes == 9)


@pytest.mark.parametrize("engine", ["airflow", "dagster"])
def test_a_part_goes_on(dagster: Dagster, ledger: Ledger, engine: str) -> None:
    """The run of a partition of which some engine has done a part goes on with that, and the others begin anew."""
    record_part(ledger, engine)
    assert fill(dagster, ledger).ended == {PartitionState.OK: 3}
    tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in dagster.runs.values()]
    found = {tag["dagster/partition"]: tag.get("flowctx/resume_from") for tag in tags}
    assert found == {"2012-01-02|T1": "part", "2012-01-02|T2": None, "2012-01-02|T3": None}


@pytest.mark.parametrize("trouble", [503, "drop", "lose", "page", "move"])
def test_a_lost_answer_is_not_a_second_run(dagster: Dagster, ledger: Ledger, trouble: int | str) -> None:
    """After a call that failed it is looked for the run before it is started again."""
    dagster.troubles = [("launchRun(", trouble)]
    assert fill(dagster, ledger).ended == {PartitionState.OK: 3}
    assert len(dagster.runs) == 3


GONE = {"__typename": "PipelineNotFoundError", "message": "Could not find Pipeline l.r.filled_job"}
UNREACHABLE = {"__typename": "PythonError", "className": "DagsterUserCodeUnreachableError", "message": "no code server"}
FORBIDDEN = {"__typename": "UnauthorizedError", "message": "you may not start runs"}
_ERROR = {"__typename": "RuntimeMismatchConfigError", "message": "no such parameter"}
INVALID = {"__typename": "RunConfigValidationInvalid", "errors": [_ERROR]}
MOVED = {"__typename": "PythonError", "className": "DagsterExecutionStepNotFoundError", "message": "no such step"}
TROUBLE = {"__typename": "PythonError", "className": "OperationalError", "message": "database is locked"}


def answer_first(dagster: Dagster, answer: Any) -> None:
    """Have the first start of a run be answered so."""
    launch, answers = dagster.launchRun, [answer]

    def launched(info: Any, executionParams: Any) -> Any:
        return answers.pop() if answers else launch(info, executionParams)

    dagster.launchRun = launched  # type: ignore[method-assign]


@pytest.mark.parametrize("answer", [GONE, UNREACHABLE, TROUBLE])
def test_what_is_away_for_a_moment_is_waited_for(dagster: Dagster, ledger: Ledger, answer: Any) -> None:
    """A code location that is deployed anew fails no partition, nor does a database that is busy."""
    answer_first(dagster, answer)
    assert fill(dagster, ledger).ended == {PartitionState.OK: 3}


def older(dagster: Dagster) -> dict[str, Any]:
    """Return the runs of a launch that nobody noted, which Dagster has forgotten."""
    fill(dagster, open_ledger("memory://"))
    runs = {f"old-{run_id}": run | {"runId": f"old-{run_id}"} for run_id, run in dagster.runs.items()}
    dagster.runs = {}
    return runs


def test_what_waits_takes_no_look_from_others(dagster: Dagster, ledger: Ledger) -> None:
    """While the first job waits for its code, runs of the others begin that a killed launcher had asked for."""
    runs, launch, asked = older(dagster), dagster.launchRun, []

    def launched(info: Any, executionParams: Any) -> Any:
        asked.append(executionParams)
        if len(asked) < 4:
            return GONE
        dagster.runs.update([(run_id, run) for run_id, run in runs.items() if run_id != "old-run-0"])
        return launch(info, executionParams)

    dagster.launchRun = launched  # type: ignore[method-assign]
    some = Backfill(flow, SOME, "b", ledger=ledger)
    assert some.launch(DagsterLauncher(dagster.url, max_active=3)).ended == {PartitionState.OK: 3}
    assert len(dagster.runs) == 3


def test_after_a_run_that_was_found_all_are_waited_for_anew(
    dagster: Dagster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code was away for a moment, and is once more an hour later: that is no hour in which it was away."""
    runs, launch, asked, late = older(dagster), dagster.launchRun, [], [0.0]
    monotonic = time.monotonic
    monkeypatch.setattr(http.time, "monotonic", lambda: monotonic() + late[0])

    def launched(info: Any, executionParams: Any) -> Any:
        asked.append(executionParams)
        if len(asked) == 1:
            dagster.runs["old-run-0"] = runs["old-run-0"]
            return GONE
        late[0] = 3600.0
        return GONE if len(asked) == 2 else launch(info, executionParams)

    dagster.launchRun = launched  # type: ignore[method-assign]
    assert fill(dagster, ledger).ended == {PartitionState.OK: 3}
    assert (list(dagster.runs), len(asked)) == (["old-run-0", "run-1", "run-2"], 4)


@pytest.mark.parametrize("answer", [GONE, UNREACHABLE, TROUBLE, FORBIDDEN])
def test_what_concerns_all_runs_ends_the_launch(
    dagster: Dagster, ledger: Ledger, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that stays away, or a user who may start nothing, fails no partition: the same command goes on."""
    monkeypatch.setattr(http, "_PATIENCE_SECONDS", 0.0)
    dagster.instead = [("launchRun(", {"data": {"launchRun": answer}})]
    with pytest.raises(EngineError, match=answer["message"]):
        fill(dagster, ledger)
    assert list(ledger.batches.iter_outcomes("b")) == []
    dagster.instead = []
    assert fill(dagster, ledger).ended == {PartitionState.OK: 3}


@pytest.mark.parametrize(("answer", "why"), [(INVALID, "no such parameter"), (MOVED, "no such step")])
def test_what_concerns_one_run_is_its_failure(dagster: Dagster, ledger: Ledger, answer: Any, why: str) -> None:
    """Dagster says why it does not start it, and starts the others."""
    answer_first(dagster, answer)
    assert fill(dagster, ledger).ended == {PartitionState.FAILED: 1, PartitionState.OK: 2}
    assert [run.error for run in ledger.batches.iter_outcomes("b") if run.error] == [f"Dagster: {why}"]


def test_a_launch_that_waits_for_code_can_be_canceled(dagster: Dagster, ledger: Ledger) -> None:
    """No run begins once the batch is canceled, although the code is back by then."""
    launch = dagster.launchRun

    def away(info: Any, executionParams: Any) -> Any:
        dagster.launchRun = launch  # type: ignore[method-assign]
        ledger.batches.cancel("b")
        return GONE

    dagster.launchRun = away  # type: ignore[method-assign]
    assert fill(dagster, ledger).stopped == "canceled"
    assert dagster.runs == {}


def test_a_start_that_took_too_long_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call may take all the time for which the launch is patient, which begins after that."""
    now, answers = [0.0], [{"__typename": STARTED}]
    monkeypatch.setattr(http.time, "monotonic", lambda: now[0])

    def start() -> Any:
        now[0] += 61.0
        if now[0] < 100:
            raise EngineUnavailable("timed out")
        return answers[0]

    starting = Starting()
    assert [starting.once(start, lambda: None) for _ in range(2)] == [None, *answers]


def test_a_run_that_begins_after_its_start_was_lost_is_no_second_one() -> None:
    """Dagster makes a run once its code has answered: it is looked for again before another one is asked for."""
    asked, looked = [], [None, {"runId": "late"}]

    def start() -> Any:
        asked.append("run")
        raise EngineUnavailable("timed out")

    starting = Starting()
    answers = [starting.once(start, lambda: looked.pop(0), again=True) for _ in range(2)]
    assert (answers, asked) == ([None, {"__typename": STARTED, "run": {"runId": "late"}}], ["run"])


def test_code_that_is_gone_is_waited_for_once_where_a_run_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A re-execution that is refused is no sign that the code is back."""
    now = [0.0]
    monkeypatch.setattr(http.time, "monotonic", lambda: now[0])
    starting, answers = Starting(), []
    while now[0] < 200 and None in (answers or [None]):
        assert starting.once(lambda: MOVED, lambda: None, again=True) is MOVED
        answers = [starting.once(lambda: GONE, lambda: None)]
        now[0] += 10
    assert (answers, now[0] < 100) == ([GONE], True)


@pytest.mark.parametrize("answer", [GONE, MOVED, TROUBLE])
def test_what_failed_and_cannot_be_re_executed_is_run_anew(dagster: Dagster, ledger: Ledger, answer: Any) -> None:
    """Its job is gone, say, or a step of it has another name: its retry is a new run as the job is now, at once."""
    asked: list[str] = []

    def gone(info: Any, reexecutionParams: Any) -> Any:
        asked.append(reexecutionParams["parentRunId"])
        return answer

    dagster.status = "FAILURE"
    assert fill(dagster, ledger).failed == 3
    dagster.status, dagster.launchRunReexecution = "SUCCESS", gone  # type: ignore[method-assign]
    again = Backfill(flow, SOME, "b", ledger=ledger).launch(DagsterLauncher(dagster.url), retry_failed=True)
    assert (again.ended, len(dagster.runs)) == ({PartitionState.OK: 3}, 6)
    assert asked == ["run-0", "run-1", "run-2"]


def test_something_that_refuses_all_runs_ends_the_launch(
    dagster: Dagster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that lets queries through, and no start of a run, is not asked for ever."""
    monkeypatch.setattr(http, "_PATIENCE_SECONDS", 1.0)
    dagster.troubles = [("launchRun(", "page")] * 9
    with pytest.raises(EngineUnavailable, match="Who are you"):
        fill(dagster, ledger)


def test_a_run_that_was_deleted_is_run_anew(dagster: Dagster, ledger: Ledger) -> None:
    """What failed and was cleaned away since cannot be re-executed; its retry is a new run, at once."""
    dagster.status = "FAILURE"
    assert fill(dagster, ledger).failed == 3
    dagster.runs.clear()
    dagster.status = "SUCCESS"
    again = Backfill(flow, SOME, "b", ledger=ledger).launch(DagsterLauncher(dagster.url), retry_failed=True)
    assert again.ended == {PartitionState.OK: 3}


def test_a_failure_of_an_earlier_launch_is_not_that_of_this_one(dagster: Dagster, ledger: Ledger) -> None:
    """What failed in Dagster, and then here, runs there at the next retry: its old run is not taken for the new one."""
    some = Backfill(flow, f"{SOME},tier=T2", "b", ledger=ledger)
    dagster.status = "FAILURE"
    assert some.launch(DagsterLauncher(dagster.url)).failed == 1
    record_failure(ledger, "local", "run-0")
    dagster.status = "SUCCESS"
    assert some.launch(DagsterLauncher(dagster.url), retry_failed=True).ended == {PartitionState.OK: 1}
    assert list(dagster.runs) == ["run-0", "run-1"]


def test_an_earlier_failure_is_not_the_run_of_a_lost_answer(dagster: Dagster, ledger: Ledger) -> None:
    """Also of a partition that comes after those for which a killed launcher may have asked."""
    some = Backfill(flow, f"{SOME},tier=T1|T2", "b", ledger=ledger)
    dagster.status = "FAILURE"
    assert some.launch(DagsterLauncher(dagster.url)).failed == 2
    for tier in ("T1", "T2"):
        record_failure(ledger, "local", f"run-{tier}", tier=tier)
    dagster.status, dagster.troubles = "SUCCESS", [("launchRun(", "none"), ("launchRun(", 503)]
    done = some.launch(DagsterLauncher(dagster.url, max_active=1), retry_failed=True)
    assert (done.ended, len(dagster.runs)) == ({PartitionState.OK: 2}, 4)


def test_complete_steps_of_a_run_that_was_deleted_do_not_run_again(dagster: Dagster, ledger: Ledger) -> None:
    """The retry of a run that is gone from Dagster goes on with what the ledger has."""
    record_failure(ledger, "dagster", "gone")
    some = Backfill(flow, f"{SOME},tier=T2", "b", ledger=ledger)
    assert some.launch(DagsterLauncher(dagster.url), retry_failed=True).ended == {PartitionState.OK: 1}
    (run,) = dagster.runs.values()
    assert {tag["key"]: tag["value"] for tag in run["tags"]}["flowctx/resume_from"] == "gone"


def test_a_retry_from_a_step_is_a_new_run(dagster: Dagster, ledger: Ledger) -> None:
    """What failed and is to run again from a step on is not taken for the run that failed."""
    dagster.status = "FAILURE"
    fill(dagster, ledger)
    dagster.status = "SUCCESS"
    backfill = Backfill(flow, SOME, "b", ledger=ledger)
    again = backfill.launch(DagsterLauncher(dagster.url), retry_failed=True, from_step="check")
    assert (again.ended, len(dagster.runs)) == ({PartitionState.OK: 3}, 6)


def test_why_it_failed_is_found_late_in_the_events(dagster: Dagster, ledger: Ledger) -> None:
    """The events of a run that has many come in pages; the step that failed may be on any of them."""
    dagster.status = "FAILURE"
    category = {"__typename": "TextMetadataEntry", "label": "flowctx/category", "text": "DATA_QUALITY"}
    rows = {"__typename": "IntMetadataEntry", "label": "rows"}
    metadata = {"description": "12 rows are missing", "metadataEntries": [rows, category]}
    failure = {"stepKey": "filled__check", "failureMetadata": metadata, "error": None}
    dagster.events = [{"__typename": "LogMessageEvent"}, {"__typename": "ExecutionStepFailureEvent", **failure}]
    fill(dagster, ledger)
    found = {(run.step, run.error, run.category) for run in ledger.batches.iter_outcomes("b")}
    assert found == {("check", "12 rows are missing", "DATA_QUALITY")}


@pytest.mark.parametrize(
    "found",
    [
        {"data": {"runsOrError": {"__typename": "PythonError", "message": "no such table"}}},
        {"data": {"runsOrError": None}, "errors": [{"message": "no such table"}]},
        {"data": None, "errors": [{"message": "no such table"}]},
    ],
)
def test_an_error_is_not_the_answer_that_there_is_nothing(
    dagster: Dagster, ledger: Ledger, found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Dagster cannot say which runs there are, the launch ends with its words, and starts nothing twice."""
    monkeypatch.setattr(http, "_PATIENCE_SECONDS", 0.0)
    dagster.instead = [("runsOrError", found)]
    with pytest.raises(EngineError, match=r"^Dagster at [^ ]* answers (200: )?no such table$"):
        fill(dagster, ledger)
    assert dagster.runs == {}


def test_runs_that_were_deleted_need_no_stopping(dagster: Dagster) -> None:
    """Canceling what is not there any more is no trouble, and takes no time."""
    batch = Backfill(flow, SOME, "b", ledger="memory://").record()
    now = datetime(2026, 1, 9, 12, tzinfo=UTC)
    gone = PartitionRun(partition="p", state=PartitionState.LAUNCHED, run_id="r", engine="dagster", last_seen_at=now)
    (run,) = DagsterLauncher(dagster.url).cancel(batch, [gone])
    assert (run.partition, run.run_id, run.state) == ("p", "r", PartitionState.CANCELED)


def test_runs_of_a_launch_that_was_killed_are_found(dagster: Dagster, ledger: Ledger) -> None:
    """Runs that nobody could note are found by their tags: nothing is left to run."""
    fill(dagster, open_ledger("memory://"))
    assert fill(dagster, ledger).before == {PartitionState.OK: 3}
    assert len(dagster.runs) == 3


@pytest.mark.parametrize(
    ("chosen", "state"),
    [
        ({"stepKeysToExecute": ["filled__load"]}, PartitionState.PARTIAL),
        ({"assetSelection": [{"path": ["filled", "load"]}]}, PartitionState.PARTIAL),
        ({"stats": {"__typename": "RunStatsSnapshot", "materializations": 0}}, PartitionState.SKIPPED),
    ],
)
def test_a_success_of_a_part_is_none_of_all(
    dagster: Dagster, ledger: Ledger, chosen: dict[str, Any], state: PartitionState
) -> None:
    """What Dagster calls a success does not make a batch ok if some steps were not part of it."""
    fill(dagster, open_ledger("memory://"))
    for run in dagster.runs.values():
        run.update(chosen)
    batch = Backfill(flow, SOME, "b", ledger=ledger).record()
    assert {run.state for run in DagsterLauncher(dagster.url).find(batch, flow)} == {state}


def test_what_a_check_ran_is_no_run_of_the_batch(dagster: Dagster, ledger: Ledger) -> None:
    """A run of a check alone says nothing of its partition."""
    fill(dagster, open_ledger("memory://"))
    for run in dagster.runs.values():
        run["assetCheckSelection"] = [{"name": "quality"}]
    batch = Backfill(flow, SOME, "b", ledger=ledger).record()
    assert list(DagsterLauncher(dagster.url).find(batch, flow)) == []


def test_what_the_ledger_has_lost_runs_again(dagster: Dagster, ledger: Ledger, caplog: Any) -> None:
    """A ledger that was away, or is an older backup, has nothing of what Dagster calls done: it all runs again."""
    dagster.events = HAD_LEDGER
    assert fill(dagster, ledger).ended == {PartitionState.PARTIAL: 3}
    fill(dagster, open_ledger("memory://"))  # one that knows nothing of the batch
    assert len(dagster.runs) == 6
    assert "dagster has 3 partitions as done, and the ledger has nothing of what they made" in caplog.text


def test_a_run_of_many_partitions_is_asked_once(dagster: Dagster, ledger: Ledger) -> None:
    """Whether a run had a ledger is one question for all of its partitions."""
    fill(dagster, ledger)
    launcher, run = DagsterLauncher(dagster.url), next(ledger.batches.iter_outcomes("b"))
    before = len(dagster.calls)
    assert launcher.had_ledger(run) is False
    asked = len(dagster.calls)
    assert launcher.had_ledger(replace(run, partition="date=2012-01-03|tier=T1")) is False
    assert (asked > before, len(dagster.calls)) == (True, asked)


def test_of_a_failure_that_the_ledger_has_lost_all_runs_again(dagster: Dagster, ledger: Ledger) -> None:
    """What was complete before the step that failed is not in the ledger: its retry is a new run of all."""
    dagster.status, dagster.events = "FAILURE", HAD_LEDGER
    assert fill(dagster, ledger).failed == 3
    Backfill(flow, SOME, "b", ledger=ledger).launch(DagsterLauncher(dagster.url), retry_failed=True)
    assert len(dagster.runs) == 6


def test_a_partition_of_a_range_is_retried_alone(dagster: Dagster, ledger: Ledger) -> None:
    """A re-execution would be of the whole range, once for each partition of it that failed."""
    dagster.status = "FAILURE"
    fill(dagster, open_ledger("memory://"))
    ends = {"start": "2012-01-02|T1", "end": "2012-01-02|T3"}
    tags = {"flowctx/batch_id": "b", **{f"dagster/asset_partition_range_{end}": key for end, key in ends.items()}}
    of_all = dagster.runs.pop("run-0") | {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
    dagster.runs, dagster.status = {"of-all": of_all}, "SUCCESS"
    again = Backfill(flow, SOME, "b", ledger=ledger).launch(DagsterLauncher(dagster.url), retry_failed=True)
    assert again.ended == {PartitionState.OK: 3}
    made = [{tag["key"]: tag["value"] for tag in run["tags"]} for name, run in dagster.runs.items() if name != "of-all"]
    assert [tag["dagster/partition"] for tag in made] == [f"2012-01-02|T{n}" for n in (1, 2, 3)]


def test_a_skip_in_a_range_runs_anew(dagster: Dagster, ledger: Ledger) -> None:
    """A run that went on with it would find its steps complete, and be skipped for ever."""
    record_skip(ledger, "dagster", "of-all")
    one = Backfill(flow, f"{SOME},tier=T1", "b", ledger=ledger)
    ends = {
        "dagster/asset_partition_range_start": "2012-01-02|T1",
        "dagster/asset_partition_range_end": "2012-01-02|T3",
    }
    tags = [{"key": key, "value": value} for key, value in {"flowctx/batch_id": "b", **ends}.items()]
    fill(dagster, open_ledger("memory://"))
    dagster.runs = {"of-all": dagster.runs["run-0"] | {"runId": "of-all", "tags": tags}}
    assert one.launch(DagsterLauncher(dagster.url), retry_skipped=True).ended == {PartitionState.OK: 1}
    (run,) = (run for name, run in dagster.runs.items() if name != "of-all")
    assert "flowctx/resume_from" not in {tag["key"] for tag in run["tags"]}


def test_new_parameters_are_those_of_another_run(dagster: Dagster, ledger: Ledger) -> None:
    """A re-execution would have the parameters of what failed: a retry with others is a run of its own."""
    dagster.status = "FAILURE"
    first = Backfill(flow, SOME, "b", params={"number": 1}, ledger=ledger)
    assert first.launch(DagsterLauncher(dagster.url)).failed == 3
    dagster.status = "SUCCESS"
    again = Backfill(flow, SOME, "b", params={"number": 2}, ledger=ledger)
    assert again.launch(DagsterLauncher(dagster.url), retry_failed=True, extend=True).ended == {PartitionState.OK: 3}
    configs = [run["config"]["resources"]["filled_params"]["config"]["number"] for run in dagster.runs.values()]
    assert configs == [1, 1, 1, 2, 2, 2]
