"""Launching batches on an Airflow that is busy, drops connections, or lets tokens expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.engine_servers import Airflow
from adapters.recorded_parts import record_failure, record_part, record_skip
from backfill.flows import flow
from flowctx import Backfill, BatchError, Daily, EngineError, EngineUnavailable, PartitionScheme, run
from flowctx.airflow import PartitionTimetable
from flowctx.backfill import LaunchListener, LaunchProgress
from flowctx.backfill.again import RunsAgain
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

pytestmark = pytest.mark.needs("airflow", "partitioned runs")  # as the server here

SOME = "date=2012-01-02"  # 3 partitions
NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


def fill(airflow: Airflow, ledger: Ledger, **login: Any) -> LaunchProgress:
    return Backfill(flow, SOME, "b", ledger=ledger).launch(AirflowLauncher(airflow.url, **login))


def test_each_partition_is_one_run(airflow: Airflow, ledger: Ledger) -> None:
    """A run has its partition's key, the batch id in its conf, and an id that is derived from both."""
    assert fill(airflow, ledger).ended == {PartitionState.OK: 3}
    assert [run["partition_key"] for run in airflow.runs.values()] == [f"2012-01-02|T{n}" for n in (1, 2, 3)]
    assert {run["conf"]["batch_id"] for run in airflow.runs.values()} == {"b"}
    assert all(run_id.startswith("batch__b__2012-01-02~T") for run_id in airflow.runs)


@pytest.mark.parametrize("launcher", [AirflowLauncher, DagsterLauncher])
def test_no_run_at_a_time_runs_nothing(launcher: Any) -> None:
    """That is refused, as no workers are here."""
    with pytest.raises(BatchError, match="max_active=0 runs nothing; use 1 or more"):
        launcher("http://127.0.0.1:9", max_active=0)


@pytest.mark.parametrize("engine", ["airflow", "dagster"])
def test_a_part_goes_on(airflow: Airflow, ledger: Ledger, engine: str) -> None:
    """The run of a partition of which some engine has done a part goes on with that, and the others begin anew."""
    record_part(ledger, engine)
    assert fill(airflow, ledger).ended == {PartitionState.OK: 3}
    found = {run["partition_key"]: run["conf"].get("resume_from") for run in airflow.runs.values()}
    assert found == {"2012-01-02|T1": "part", "2012-01-02|T2": None, "2012-01-02|T3": None}


@pytest.mark.parametrize("trouble", [500, 503, 429, "drop", "lose", "page", "move"])
def test_what_passes_is_tried_again(airflow: Airflow, ledger: Ledger, trouble: int | str) -> None:
    """A busy server, a dropped connection and answers of others are waited out; no run is started twice."""
    airflow.troubles = [("POST /api/v2/dags/filled/dagRuns", trouble)]
    assert fill(airflow, ledger).ended == {PartitionState.OK: 3}
    assert len(airflow.runs) == 3


def test_runs_of_a_dag_that_is_not_there_are_no_empty_answer(airflow: Airflow, ledger: Ledger) -> None:
    """Whoever asks for the runs of a DAG that Airflow does not have is told so."""
    fill(airflow, ledger)
    airflow.troubles = [("GET /api/v2/dags/filled", 404)]
    with pytest.raises(EngineError, match="has no DAG 'filled'"):
        list(AirflowLauncher(airflow.url).find(ledger.batches.get("b"), flow))


def test_a_canceled_launch_counts_the_runs_under_way_apart(airflow: Airflow, ledger: Ledger) -> None:
    """What has begun is not left: it is under way, and only the others have not begun."""

    class Cancels(LaunchListener):
        def tick(self, progress: LaunchProgress) -> None:
            if progress.under_way == 2:
                ledger.batches.cancel("b")

    airflow.state = "running"
    launcher = AirflowLauncher(airflow.url, max_active=2)
    progress = Backfill(flow, SOME, "b", ledger=ledger).launch(launcher, listener=Cancels())
    assert (progress.stopped, progress.ended, progress.under_way, progress.left) == ("canceled", {}, 2, 1)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_run_that_is_there_is_taken_over(airflow: Airflow, ledger: Ledger, elsewhere: bool) -> None:
    """A launcher that was killed before it could note its runs finds them there: 409 means that all is well."""
    airflow.end_date = "2999-01-01T00:00:00Z"
    for of in (open_ledger("memory://"), ledger):
        if elsewhere:
            record_failure(of, "dagster", "elsewhere")
        progress = Backfill(flow, SOME, "b", ledger=of).launch(AirflowLauncher(airflow.url), retry_failed=True)
        assert progress.ended == {PartitionState.OK: 3}
    assert len(airflow.runs) == 3


def test_a_token_that_expires_is_renewed_with_the_password(airflow: Airflow, ledger: Ledger) -> None:
    """With user and password, 401 half-way is a new log-in and nothing else."""
    airflow.troubles = [("POST /api/v2/dags/filled/dagRuns", 401)]
    assert fill(airflow, ledger, user="me", password="secret").complete
    assert airflow.calls.count("POST /auth/token") == 2


def test_a_token_that_expires_alone_ends_the_launch(airflow: Airflow, ledger: Ledger) -> None:
    """Without a password the launch ends with a line that says what to set, and what ran stays noted."""
    airflow.troubles = [("T2", 401), ("T2", 401)]
    with pytest.raises(EngineError, match="set FLOWCTX_AIRFLOW_TOKEN anew"):
        fill(airflow, ledger, token="old")
    assert [run.state for run in ledger.batches.iter_outcomes("b")] == [PartitionState.LAUNCHED]
    assert fill(airflow, ledger, token="new").ended == {PartitionState.OK: 3}


def test_a_refused_partition_is_a_failure_of_its_own(airflow: Airflow, ledger: Ledger) -> None:
    """What Airflow will not run fails with Airflow's words, and the others run."""
    airflow.troubles = [("T2", 400)]
    assert fill(airflow, ledger).ended == {PartitionState.OK: 2, PartitionState.FAILED: 1}
    failed = next(run for run in ledger.batches.iter_outcomes("b") if run.state is PartitionState.FAILED)
    assert (failed.partition, failed.error) == ("date=2012-01-02|tier=T2", "Airflow: busy")


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("page", r"200: <!doctype html><title>Who are you\?</title>"),
        ("move", "302: it sends us to http[^ ]*/elsewhere"),
    ],
)
def test_a_url_of_something_else_is_told_at_once(airflow: Airflow, ledger: Ledger, trouble: str, why: str) -> None:
    """A log-in page and a redirect are no answers: one line has what came, and nobody else is sent the token."""
    airflow.troubles = [("/auth/token", trouble)]
    with pytest.raises(EngineUnavailable, match=rf"cannot be reached \({why}\); is it up, and is the URL right"):
        fill(airflow, ledger)
    assert airflow.calls == ["GET /auth/token"]


def test_a_dag_that_maps_over_a_dimension_is_refused(airflow: Airflow, ledger: Ledger) -> None:
    """One run for several partitions is seen in the words of its timetable, before anything is launched."""
    without_tiers = PartitionScheme(date=Daily(start="2012-01-02", end="2012-03-30", calendar="WEEKDAYS"))
    airflow.dag = {**airflow.dag, "timetable_description": PartitionTimetable(without_tiers).description}
    said = r"one run for each date, not for each date\|tier, as with map_over=.*put dag = workflow_dag\(filled\) beside"
    with pytest.raises(EngineError, match=said):
        fill(airflow, ledger)
    assert (airflow.runs, ledger.batches.all()) == ({}, [])


def test_a_dag_without_partitions_is_told_them_in_conf(airflow: Airflow, ledger: Ledger) -> None:
    """As one of somebody's own, also where some task of it is mapped."""
    airflow.dag = {**airflow.dag, "timetable_partitioned": False}
    airflow.structure = [{"task_id": "tidy", "is_mapped": True, "downstream_task_ids": []}]
    assert fill(airflow, ledger).complete
    assert [run["conf"]["partition"]["tier"] for run in airflow.runs.values()] == ["T1", "T2", "T3"]


def test_a_dag_of_other_dimensions_is_refused(airflow: Airflow, ledger: Ledger) -> None:
    """A DAG file of another time has keys that no run of this batch would have."""
    airflow.dag = {**airflow.dag, "timetable_description": PartitionTimetable(PartitionScheme(venue=["X"])).description}
    with pytest.raises(EngineError, match="one run for each venue, not for each .* let its DAG file have the workflow"):
        fill(airflow, ledger)


def test_the_dag_of_the_workflow_is_taken(airflow: Airflow, ledger: Ledger) -> None:
    """The words of the workflow's own timetable are those that are looked for."""
    assert flow.partitions is not None
    airflow.dag = {**airflow.dag, "timetable_description": PartitionTimetable(flow.partitions).description}
    assert fill(airflow, ledger).complete


def test_a_run_that_was_deleted_failed_and_is_run_anew(airflow: Airflow, ledger: Ledger) -> None:
    """A run that somebody deletes in Airflow is a failure that says so; its retry is a new run."""
    airflow.troubles = [("GET /api/v2/dags/filled/dagRuns/batch__b__2012-01-02~T2", 404)]
    assert fill(airflow, ledger).ended == {PartitionState.OK: 2, PartitionState.FAILED: 1}
    (failed,) = (run for run in ledger.batches.iter_outcomes("b") if run.state is PartitionState.FAILED)
    assert failed.error == "its run was deleted in Airflow"
    del airflow.runs[failed.run_id]
    again = Backfill(flow, SOME, "b", ledger=ledger).launch(AirflowLauncher(airflow.url), retry_failed=True)
    assert again.ended == {PartitionState.OK: 1}
    assert failed.run_id in airflow.runs


def test_complete_steps_of_a_run_that_was_deleted_do_not_run_again(airflow: Airflow, ledger: Ledger) -> None:
    """The retry of a run that is gone from Airflow is another run, which goes on with what the ledger has."""
    some = Backfill(flow, f"{SOME},tier=T2", "b", ledger=ledger)
    (job,) = some.iter_work(None, RunsAgain(retry_failed=True))
    record_failure(ledger, "airflow", job.run_id)
    assert some.launch(AirflowLauncher(airflow.url), retry_failed=True).ended == {PartitionState.OK: 1}
    ((run_id, run),) = airflow.runs.items()
    assert run["conf"]["resume_from"] == job.run_id != run_id


def test_after_a_second_death_what_failed_is_cleared_alone(airflow: Airflow, ledger: Ledger) -> None:
    """Of a run whose process died there is another one; of that one, what is complete in the ledger stays, too."""
    airflow.state, airflow.had_ledger = "failed", True
    airflow.tasks = [{"task_id": "load", "state": "success"}, {"task_id": "check", "state": "failed"}]
    airflow.tasks = [{"try_number": 1, **task} for task in airflow.tasks]
    some = Backfill(flow, f"{SOME},tier=T2", "b", ledger=ledger)
    (job,) = some.iter_work(None, RunsAgain(retry_failed=True))
    record_failure(ledger, "airflow", job.run_id, died=True)
    some.launch(AirflowLauncher(airflow.url), retry_failed=True)
    (again,) = airflow.runs
    record_failure(ledger, "airflow", again, died=True)
    some.launch(AirflowLauncher(airflow.url), retry_failed=True)
    assert [(body["dag_run_id"], body["task_ids"]) for body in airflow.cleared] == [(again, ["check"])]


@pytest.mark.parametrize(("here", "number"), [(1, 1), (1, 2), (2, 2)])
def test_a_run_that_went_on_here_and_failed_runs_again(
    airflow: Airflow, ledger: Ledger, here: int, number: int
) -> None:
    """Whatever Airflow calls it, what is not complete is cleared; with other parameters there is another run."""
    airflow.had_ledger = True
    airflow.tasks = [{"task_id": step, "state": "success", "try_number": 1} for step in flow.steps]
    some = Backfill(flow, f"{SOME},tier=T2", "b", params={"number": 1}, ledger=open_ledger("memory://"))
    some.launch(AirflowLauncher(airflow.url))
    (run_id,) = airflow.runs
    record_failure(ledger, "local", run_id, number=here)
    again = Backfill(flow, f"{SOME},tier=T2", "b", params={"number": number}, ledger=ledger)
    again.launch(AirflowLauncher(airflow.url), retry_failed=True, extend=True)
    if number == 1:
        assert [(body["dag_run_id"], body["task_ids"]) for body in airflow.cleared] == [(run_id, ["check"])]
    else:
        assert airflow.cleared == []
        assert [run["conf"].get("resume_from") for run in airflow.runs.values()] == [None, run_id]
        assert [run["conf"]["number"] for run in airflow.runs.values()] == [1, 2]


@pytest.mark.parametrize(
    ("beside", "operator"), [(None, ""), ("live.load", "StepOperator"), ("live.load", "@task"), ("load", "@task")]
)
def test_steps_in_a_task_group_are_known_by_their_names(
    airflow: Airflow, ledger: Ledger, beside: str | None, operator: str
) -> None:
    """In the XCom of a run and for a retry from a step on, which is refused where it could be either of two tasks."""
    airflow.had_ledger, airflow.most = True, 100
    ended = {"state": "success", "try_number": 1}
    airflow.tasks = [{"task_id": f"eod.{step}", "operator_name": "StepOperator", **ended} for step in flow.steps]
    some = Backfill(flow, f"{SOME},tier=T2", "b", ledger=ledger)
    assert some.launch(AirflowLauncher(airflow.url)).ended == {PartitionState.PARTIAL: 1}  # the ledger has nothing
    record_failure(ledger, "airflow", *airflow.runs)
    airflow.tasks += [{"task_id": beside, "operator_name": operator, **ended}] if beside else []
    launcher, how = AirflowLauncher(airflow.url), {"retry_failed": True, "from_step": "load"}
    if refused := operator == "StepOperator":
        with pytest.raises(EngineError, match="has no task, or several, named as step 'load', from which"):
            some.launch(launcher, **how)
    else:
        some.launch(launcher, **how)
    assert [body["task_ids"] for body in airflow.cleared] == ([] if refused else [["eod.check", "eod.load"]])


def test_a_step_that_the_run_has_not_yet_runs_with_all_of_it(airflow: Airflow, ledger: Ledger) -> None:
    """The DAG has got it since: nobody knows from the run's own tasks which of them follow it."""
    airflow.tasks = [{"task_id": "load", "state": "failed", "try_number": 1, "operator_name": "StepOperator"}]
    airflow.tasks += [{"task_id": "publish", "state": "success", "try_number": 1, "operator_name": "StepOperator"}]
    assert fill(airflow, ledger).failed == 3
    airflow.structure = [{"task_id": f"eod.{step}", "downstream_task_ids": []} for step in ("load", "check", "publish")]
    again = Backfill(flow, SOME, "b", ledger=ledger)
    again.launch(AirflowLauncher(airflow.url), retry_failed=True, from_step="check")
    assert [body["task_ids"] for body in airflow.cleared] == [["load", "publish"]] * 3


def test_what_a_run_has_no_more_does_not_run_again(airflow: Airflow, ledger: Ledger) -> None:
    """A mapped step that has one value less when it was cleared keeps an instance that Airflow calls removed."""
    ended = {"state": "success", "try_number": 1, "operator_name": "StepOperator"}
    airflow.tasks = [{"task_id": "load", "map_index": 0, **ended}, {"task_id": "check", **ended, "state": "failed"}]
    airflow.tasks += [{"task_id": "load", "map_index": 1, **ended, "state": "removed"}]
    assert fill(airflow, ledger).failed == 3
    Backfill(flow, SOME, "b", ledger=ledger).launch(AirflowLauncher(airflow.url), retry_failed=True)
    assert [body["task_ids"] for body in airflow.cleared] == [["check"]] * 3


def test_of_a_mapped_step_the_instance_that_failed_runs_again(airflow: Airflow, ledger: Ledger) -> None:
    """What the others have handed on stays."""
    ended = {"state": "success", "try_number": 1, "operator_name": "StepOperator"}
    airflow.tasks = [{"task_id": "load", "map_index": n, **ended} for n in (0, 2)]
    airflow.tasks += [{"task_id": "load", "map_index": 1, **ended, "state": "failed"}]
    airflow.tasks += [{"task_id": "check", **ended, "state": "upstream_failed"}]
    assert fill(airflow, ledger).failed == 3
    Backfill(flow, SOME, "b", ledger=ledger).launch(AirflowLauncher(airflow.url), retry_failed=True)
    assert [body["task_ids"] for body in airflow.cleared] == [["check", ["load", 1]]] * 3


def test_a_run_that_skipped_all_that_it_has_was_skipped(airflow: Airflow, ledger: Ledger) -> None:
    """A task that its DAG has no more does not make it a success."""
    airflow.tasks = [{"task_id": step, "state": "skipped", "try_number": 1} for step in flow.steps]
    airflow.tasks += [{"task_id": "tidy", "state": "removed", "try_number": 1}]
    assert fill(airflow, ledger).ended == {PartitionState.SKIPPED: 3}


def test_a_skip_here_is_tried_again_on_airflow(airflow: Airflow, ledger: Ledger) -> None:
    """What Airflow had skipped before is cleared, as where nobody had tried it here."""
    airflow.tasks = [{"task_id": step, "state": "skipped", "try_number": 1} for step in flow.steps]
    some = Backfill(flow, f"{SOME},tier=T1", "b", ledger=ledger)
    some.launch(AirflowLauncher(airflow.url))
    (run_id,) = airflow.runs
    record_skip(ledger, "local", run_id)
    some.launch(AirflowLauncher(airflow.url), retry_skipped=True)
    assert [(body["dag_run_id"], body["task_ids"]) for body in airflow.cleared] == [(run_id, sorted(flow.steps))]


def test_instances_of_a_mapped_step_say_that_they_had_a_ledger(airflow: Airflow, ledger: Ledger) -> None:
    """Each hands on its own: what another ledger has of a run is lost here, and what failed there runs whole."""
    airflow.had_ledger = True
    instances = [{"task_id": step, "map_index": n} for step in flow.steps for n in (0, 1)]
    airflow.tasks = [{"state": "success", "try_number": 1, **instance} for instance in instances]
    assert fill(airflow, ledger).ended == {PartitionState.PARTIAL: 3}
    airflow.runs, airflow.state, other = {}, "failed", open_ledger("memory://")
    airflow.tasks[0]["state"] = "failed"
    assert fill(airflow, other).failed == 3
    Backfill(flow, SOME, "b", ledger=other).launch(AirflowLauncher(airflow.url), retry_failed=True)
    assert [body["task_ids"] for body in airflow.cleared] == [sorted(flow.steps)] * 3


def test_a_skip_is_not_lost(airflow: Airflow, ledger: Ledger) -> None:
    """It has made nothing that a ledger could have lost."""
    airflow.had_ledger = True
    airflow.tasks = [{"task_id": step, "state": "skipped", "try_number": 1} for step in flow.steps]
    assert fill(airflow, ledger).ended == {PartitionState.SKIPPED: 3}


def test_runs_that_were_deleted_need_no_stopping(airflow: Airflow) -> None:
    """Canceling what is not there any more is no trouble."""
    batch = Backfill(flow, SOME, "b", ledger="memory://").record()
    gone = PartitionRun(partition="p", state=PartitionState.LAUNCHED, run_id="r", engine="airflow", last_seen_at=NOW)
    (run,) = AirflowLauncher(airflow.url).cancel(batch, [gone])
    assert (run.partition, run.run_id, run.state) == ("p", "r", PartitionState.CANCELED)


def test_a_run_of_another_dag_is_stopped_there(airflow: Airflow) -> None:
    """The ledger does not tell which DAG it is of: one with another id, which somebody else has started, goes on."""
    airflow.most, airflow.state = 100, "failed"
    for dag_id, batch_id in (("nightly", "b"), ("other", "c")):
        run = {"dag_run_id": dag_id, "dag_id": dag_id, "state": "queued", "conf": {"batch_id": batch_id}}
        airflow.runs[dag_id] = {**run, "end_date": airflow.end_date}
    batch = Backfill(flow, SOME, "b", ledger="memory://").record()
    live = [
        PartitionRun(partition=name, state=PartitionState.RUNNING, run_id=name, engine="airflow", last_seen_at=NOW)
        for name in airflow.runs
    ]
    stopped = [run.run_id for run in AirflowLauncher(airflow.url).cancel(batch, live)]
    assert stopped == ["nightly", "other"]
    assert [call.split("/")[4] for call in airflow.calls if call.startswith("PATCH")] == ["nightly"]


@pytest.mark.parametrize("dag_id", ["filled", "nightly"])
def test_a_run_that_has_ended_meanwhile_is_left_as_it_is(airflow: Airflow, dag_id: str) -> None:
    """It was asked about before others were stopped; Airflow would call it failed, and no ledger may know better."""
    airflow.most = 100
    batch = Backfill(flow, SOME, "b", ledger="memory://").record()
    runs = []
    for run_id, state in (("done", "success"), ("live", "queued")):
        airflow.runs[run_id] = {"dag_run_id": run_id, "dag_id": dag_id, "state": state, "conf": {"batch_id": "b"}}
        airflow.runs[run_id]["end_date"] = None
        live = {"state": PartitionState.RUNNING, "engine": "airflow", "last_seen_at": NOW}
        runs.append(PartitionRun(partition="p", run_id=run_id, **live))  # type: ignore[arg-type]
    assert [run.run_id for run in AirflowLauncher(airflow.url).cancel(batch, runs)] == ["live"]
    assert [call for call in airflow.calls if call.startswith("PATCH")] == [f"PATCH /api/v2/dags/{dag_id}/dagRuns/live"]


def test_a_deadlock_on_the_first_call_is_waited_out(airflow: Airflow) -> None:
    """Airflow's own 500, as when its scheduler and a PATCH lock each other's rows, is tried again at once."""
    batch = Backfill(flow, SOME, "b", ledger="memory://").record()
    airflow.troubles = [("PATCH", 500)]
    airflow.runs["r"] = {"dag_run_id": "r", "dag_id": "filled", "state": "queued", "end_date": None}
    live = PartitionRun(partition="p", state=PartitionState.LAUNCHED, run_id="r", engine="airflow", last_seen_at=NOW)
    assert [run.state for run in AirflowLauncher(airflow.url, token="t").cancel(batch, [live])] == ["canceled"]
    assert len([call for call in airflow.calls if call.startswith("PATCH")]) == 2


@pytest.mark.parametrize("batch_id", ["b", "reprise d'été|%_\"\\"])
def test_all_runs_of_a_batch_are_found(airflow: Airflow, batch_id: str) -> None:
    """An Airflow that lists two runs at a time tells of all, also of a batch whose id is written otherwise in JSON."""
    backfill = Backfill(flow, SOME, batch_id, ledger="memory://")
    launcher = AirflowLauncher(airflow.url)
    backfill.launch(launcher)
    airflow.most = 2
    assert [run.state for run in launcher.find(backfill.record(), flow)] == [PartitionState.OK] * 3


def test_an_engine_that_is_not_there_is_told_at_once(ledger: Ledger) -> None:
    """A URL where nobody listens is one line, at once, and no batch is remembered."""
    with pytest.raises(EngineUnavailable, match="^Airflow at http://127.0.0.1:9 cannot be reached [^;]*; [^;]*$"):
        Backfill(flow, SOME, "b", ledger=ledger).launch(AirflowLauncher("http://127.0.0.1:9"))
    assert ledger.batches.all() == []


def test_what_was_stopped_runs_whole(airflow: Airflow, ledger: Ledger) -> None:
    """A run that somebody marked as failed while its first task ran is no success after that task's retry alone."""
    airflow.state = "failed"
    airflow.structure = [{"task_id": "one", "downstream_task_ids": ["two"]}, {"task_id": "two"}]
    airflow.tasks = [{"task_id": "one", "state": "failed", "try_number": 1}, {"task_id": "two", "state": "skipped"}]
    airflow.tasks = [{"try_number": 0, **task} for task in airflow.tasks]
    assert fill(airflow, ledger).ended == {PartitionState.CANCELED: 3}
    fill(airflow, ledger)
    assert {tuple(body["task_ids"]) for body in airflow.cleared} == {("one", "two")}
    assert {body["include_downstream"] for body in airflow.cleared} == {True}


@pytest.mark.parametrize(("version", "latest"), [("3.0.6", None), ("3.1.0", True), ("3.3.2", True)])
def test_what_runs_again_runs_the_latest_code(
    airflow: Airflow, ledger: Ledger, version: str, latest: bool | None
) -> None:
    """A cleared run would keep the version of its bundle, with the mistake in it; older servers know no choice."""
    airflow.state, airflow.version = "failed", version
    fill(airflow, ledger)
    Backfill(flow, SOME, "b", ledger=ledger).launch(AirflowLauncher(airflow.url), retry_failed=True)
    assert [body.get("run_on_latest_version") for body in airflow.cleared] == [latest] * 3
    assert airflow.calls.count("GET /api/v2/version") == 1


def test_a_success_after_a_step_that_could_not_run_is_a_failure(airflow: Airflow, ledger: Ledger) -> None:
    """An ordinary task fails, so that a step never runs, and the clean-up makes it a success of Airflow's."""
    airflow.tasks = [
        {"task_id": "fetch", "state": "failed", "try_number": 1, "operator_name": "@task"},
        {"task_id": "load", "state": "upstream_failed", "try_number": 0, "operator_name": "StepOperator"},
        {"task_id": "tidy", "state": "success", "try_number": 1, "operator_name": "StepOperator"},
    ]
    names = [task["task_id"] for task in airflow.tasks]
    airflow.structure = [{"task_id": name, "downstream_task_ids": names[n : n + 1]} for n, name in enumerate(names, 1)]
    assert fill(airflow, ledger).ended == {PartitionState.FAILED: 3}
    assert {run.step for run in ledger.batches.iter_outcomes("b")} == {"fetch"}
    airflow.runs, airflow.tasks = {}, airflow.tasks[1:]  # as after somebody has marked it as successful
    other = open_ledger("memory://")
    assert fill(airflow, other).failed == 3
    assert {run.error for run in other.batches.iter_outcomes("b")} == {"load did not run: what went before had failed"}


def test_a_success_with_a_step_that_never_ran_is_partial(airflow: Airflow, ledger: Ledger) -> None:
    """Airflow's success does not make a batch ok whose second step was left as skipped."""
    airflow.structure = [{"task_id": "one", "downstream_task_ids": ["two"]}, {"task_id": "two"}]
    airflow.tasks = [
        {"task_id": "one", "state": "success", "try_number": 2},
        {"task_id": "two", "state": "skipped", "try_number": 0},
    ]
    progress = fill(airflow, ledger)
    assert (progress.ended, progress.complete) == ({PartitionState.PARTIAL: 3}, False)


def test_a_run_whose_watcher_had_nothing_to_do_is_complete(airflow: Airflow, ledger: Ledger) -> None:
    """The task that fails a run in which another failed is skipped in a good one, and is not run again."""
    rule = {"downstream_task_ids": [], "trigger_rule": "one_failed"}
    airflow.structure = [{"task_id": "load", "downstream_task_ids": ["watcher"]}, {"task_id": "watcher", **rule}]
    airflow.tasks = [
        {"task_id": "load", "state": "success", "try_number": 1},
        {"task_id": "watcher", "state": "skipped", "try_number": 0},
    ]
    progress = fill(airflow, ledger)
    assert (progress.ended, progress.complete) == ({PartitionState.OK: 3}, True)
    assert {run.error for run in ledger.batches.iter_outcomes("b")} == {None}


def test_what_the_ledger_has_lost_runs_again(airflow: Airflow, ledger: Ledger, caplog: Any) -> None:
    """A ledger that was away, or is an older backup, has nothing of what Airflow calls done: it all runs again."""
    airflow.had_ledger, airflow.most = True, 2
    airflow.tasks = [{"task_id": step, "state": "success", "try_number": 1} for step in flow.steps]
    progress = fill(airflow, ledger)
    assert (progress.ended, progress.complete) == ({PartitionState.PARTIAL: 3}, False)
    assert {run.error for run in ledger.batches.iter_outcomes("b")} == {
        "airflow calls it done, and the ledger has nothing of it: see whether tasks there write to this ledger "
        "(FLOWCTX_LEDGER_URL)"
    }
    (warning,) = [text for text in caplog.messages if "3 partitions as done" in text]
    assert "; before they run again, see whether tasks there write to this ledger (FLOWCTX_LEDGER_URL)" in warning
    fill(airflow, open_ledger("memory://"))  # one that knows nothing of the batch
    assert {tuple(body["task_ids"]) for body in airflow.cleared} == {tuple(sorted(flow.steps))}
    assert [len(airflow.runs), len(airflow.cleared)] == [3, 3]
    assert "airflow has 3 partitions as done, and the ledger has nothing of what they made" in caplog.text


def test_what_an_xcom_backend_keeps_is_not_taken_for_nothing(airflow: Airflow, ledger: Ledger, caplog: Any) -> None:
    """Nobody here can tell whether such a run had a ledger: that is warned of, and a retry clears all of it."""
    airflow.xcom_path, airflow.most = "s3://xcom/filled/1.json", 100
    airflow.tasks = [{"task_id": step, "state": "success", "try_number": 1} for step in flow.steps]
    assert fill(airflow, ledger).ended == {PartitionState.OK: 3}
    unknown = [text for text in caplog.messages if "had a ledger is not known, so it is ok: what step 'load'" in text]
    assert len(unknown) == 3
    assert "is at 's3://xcom/filled/1.json', where workers alone can read it (xcom_backend in [core])" in unknown[0]
    airflow.runs, airflow.state = {}, "failed"
    airflow.tasks = [{"task_id": "load", "state": "success", "try_number": 1}, {"task_id": "check", "state": "failed"}]
    airflow.tasks = [{"try_number": 1, **task} for task in airflow.tasks]
    other = open_ledger("memory://")
    assert fill(airflow, other).failed == 3
    assert {run.error for run in other.batches.iter_outcomes("b")} == {"its task failed; see its log in Airflow"}
    Backfill(flow, SOME, "b", ledger=other).launch(AirflowLauncher(airflow.url), retry_failed=True)
    assert {tuple(body["task_ids"]) for body in airflow.cleared} == {("check", "load")}


def test_what_counts_as_done_is_asked_about_once(airflow: Airflow, ledger: Ledger) -> None:
    """Where tasks write to no ledger, the next launch takes the engine's word of what it has noted."""
    airflow.most = 100
    assert fill(airflow, ledger).ended == {PartitionState.OK: 3}
    asked = [call for call in airflow.calls if "xcomEntries" in call]
    assert fill(airflow, ledger).before == {PartitionState.OK: 3}
    assert [call for call in airflow.calls if "xcomEntries" in call] == asked


def test_what_was_pruned_is_not_lost(airflow: Airflow, ledger: Ledger) -> None:
    """A version that was superseded and forgotten was there: it is not made again, and is not current again."""
    fill(airflow, open_ledger("memory://"))
    for batch_id, tiers in (("b", ("T1", "T2", "T3")), ("later", ("T1", "T2"))):
        for tier in tiers:
            run(flow, partition=f"2012-01-02|{tier}", batch_id=batch_id, ledger=ledger)
    assert ledger.prune(ledger.now() + timedelta(seconds=1)).runs == 2
    airflow.had_ledger, airflow.most = True, 100
    assert fill(airflow, ledger).before == {PartitionState.OK: 3}
    assert airflow.cleared == []


def test_of_a_failure_that_the_ledger_has_lost_all_runs_again(airflow: Airflow, ledger: Ledger) -> None:
    """What was complete before the step that failed is not in the ledger, so it is cleared, too."""
    airflow.state, airflow.had_ledger = "failed", True
    airflow.tasks = [{"task_id": "load", "state": "success", "try_number": 1}, {"task_id": "check", "state": "failed"}]
    airflow.tasks = [{"try_number": 1, **task} for task in airflow.tasks]
    assert fill(airflow, ledger).failed == 3
    Backfill(flow, SOME, "b", ledger=ledger).launch(AirflowLauncher(airflow.url), retry_failed=True)
    assert {tuple(body["task_ids"]) for body in airflow.cleared} == {("check", "load")}


def test_new_parameters_are_those_of_another_run(airflow: Airflow, ledger: Ledger) -> None:
    """A clear would keep the conf of what failed: a retry with other parameters is a run of its own, once."""
    airflow.state = "failed"
    first = Backfill(flow, SOME, "b", params={"number": 1}, ledger=ledger)
    assert first.launch(AirflowLauncher(airflow.url)).failed == 3
    airflow.state = "success"
    for _ in range(2):
        again = Backfill(flow, SOME, "b", params={"number": 2}, ledger=ledger)
        again.launch(AirflowLauncher(airflow.url), retry_failed=True, extend=True)
    assert [run["conf"]["number"] for run in airflow.runs.values()] == [1, 1, 1, 2, 2, 2]
    assert airflow.cleared == []


def test_a_failure_of_before_the_new_parameters_is_no_run_of_them(airflow: Airflow, ledger: Ledger) -> None:
    """A batch that got others for what it added clears nothing that has the ones of before."""
    airflow.state = "failed"
    for tiers, number, again in (("T1", 1, False), ("T1|T2", 2, False), ("T1|T2", 2, True)):
        some = Backfill(flow, f"{SOME},tier={tiers}", "b", params={"number": number}, ledger=ledger)
        some.launch(AirflowLauncher(airflow.url), extend=True, retry_failed=again)
    confs = {run["dag_run_id"]: run["conf"]["number"] for run in airflow.runs.values()}
    assert (list(confs.values()), [confs[body["dag_run_id"]] for body in airflow.cleared]) == ([1, 2, 2], [2])


@pytest.mark.parametrize("had_ledger", [False, True])
def test_a_success_with_other_parameters_is_no_run_of_these(airflow: Airflow, ledger: Ledger, had_ledger: bool) -> None:
    """Of a batch that another ledger remembers, say: what it made of others is not what is due, and there is a run."""
    airflow.had_ledger, airflow.most = had_ledger, 100 * had_ledger  # where it lists none, they have begun since
    for of, number in ((open_ledger("memory://"), 1), (ledger, 2)):
        some = Backfill(flow, SOME, "b", params={"number": number}, ledger=of)
        some.launch(AirflowLauncher(airflow.url))
    assert [run["conf"]["number"] for run in airflow.runs.values()] == [1, 1, 1, 2, 2, 2]
    made = {run.run_id for run in ledger.batches.iter_outcomes("b")}
    assert (made, airflow.cleared) == (set(list(airflow.runs)[3:]), [])
