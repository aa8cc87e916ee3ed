"""Runs that engines have of a batch, with other parameters than a ledger that is new to the batch is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.engine_servers import Airflow, Dagster, Server
from adapters.recorded_parts import record_failure
from backfill.flows import flow
from flowctx import Backfill, BatchError, BatchStatus, PartitionKey, Workflow
from flowctx.backfill import LaunchListener, LaunchProgress, LocalLauncher
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.backfill.dagster_config import RUN_TAG
from flowctx.cli.standing import ask_engine
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

pytestmark = pytest.mark.needs("airflow", "partitioned runs")  # as the server here


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


def launch(server: Server, ledger: Ledger, params: Any, **how: Any) -> LaunchProgress:
    """Launch one partition of a batch."""
    launcher = AirflowLauncher(server.url) if isinstance(server, Airflow) else DagsterLauncher(server.url)
    return Backfill(flow, "date=2012-01-02,tier=T2", "b", params=params, ledger=ledger).launch(launcher, **how)


class EndsSoon(LaunchListener):
    """Lets the runs of Airflow end after some looks at them."""

    def __init__(self, airflow: Airflow) -> None:
        self.airflow, self.looks = airflow, 0

    def tick(self, progress: LaunchProgress) -> None:
        self.looks += 1
        if self.looks > 3:
            self.airflow.state = "success"


OTHERS = [({"number": 1}, {"number": 2}), ({"number": 2}, {}), ({}, {"number": 2})]


@pytest.mark.parametrize("most", [0, 100])  # of runs that are listed
@pytest.mark.parametrize(("first", "then"), OTHERS)
def test_airflow_runs_what_had_other_parameters(
    airflow: Airflow, ledger: Ledger, first: dict[str, Any], then: dict[str, Any], most: int
) -> None:
    """A success that was given others, or none where the batch has some, is no run of the batch."""
    airflow.most = most
    launch(airflow, open_ledger("memory://"), first)
    assert launch(airflow, ledger, then).ended == {PartitionState.OK: 1}
    assert [run["conf"].get("number") for run in airflow.runs.values()] == [first.get("number"), then.get("number")]
    assert launch(airflow, open_ledger("memory://"), then).complete
    assert len(airflow.runs) == 2


@pytest.mark.parametrize(("first", "then"), OTHERS)
def test_dagster_runs_what_had_other_parameters(
    dagster: Dagster, ledger: Ledger, first: dict[str, Any], then: dict[str, Any]
) -> None:
    """As on Airflow."""
    launch(dagster, open_ledger("memory://"), first)
    assert launch(dagster, ledger, then).ended == {PartitionState.OK: 1}
    configs = [(run["config"] or {}).get("resources", {}).get("filled_params", {}) for run in dagster.runs.values()]
    assert [one.get("config", {}).get("number") for one in configs] == [first.get("number"), then.get("number")]
    assert launch(dagster, open_ledger("memory://"), then).complete
    assert len(dagster.runs) == 2


def test_what_the_ledger_knows_keeps_its_parameters(airflow: Airflow, ledger: Ledger) -> None:
    """What is done is not done again because the batch got others."""
    airflow.most = 100
    launch(airflow, ledger, {"number": 1})
    assert launch(airflow, ledger, {"number": 2}, extend=True).before == {PartitionState.OK: 1}
    assert len(airflow.runs) == 1


@pytest.mark.parametrize("most", [0, 100])
def test_airflow_starts_nothing_beside_a_run_with_other_parameters(airflow: Airflow, ledger: Ledger, most: int) -> None:
    """It is not followed as if it were one of the batch; who launches the batch is told of it."""
    airflow.most = most
    launch(airflow, open_ledger("memory://"), {"number": 1})
    (run,) = airflow.runs.values()
    airflow.state = run["state"] = "running"
    assert launch(airflow, ledger, {"number": 2}).ended == {PartitionState.FAILED: 1}
    (failed,) = ledger.batches.iter_outcomes("b")
    beside = f"run {run['dag_run_id']} of it is under way, with other parameters"
    assert (failed.error or "").startswith(f"Airflow: {beside}")
    airflow.state = run["state"] = "success"
    assert launch(airflow, ledger, {"number": 2}, retry_failed=True).ended == {PartitionState.OK: 1}


def test_dagster_starts_nothing_beside_a_run_with_other_parameters(dagster: Dagster, ledger: Ledger) -> None:
    """As on Airflow."""
    launch(dagster, open_ledger("memory://"), {"number": 1})
    dagster.runs["run-0"]["status"] = "STARTED"
    assert launch(dagster, ledger, {"number": 2}).ended == {PartitionState.FAILED: 1}
    (failed,) = ledger.batches.iter_outcomes("b")
    assert (failed.error or "").startswith("Dagster: run run-0 of it is under way, with other parameters")
    assert len(dagster.runs) == 1
    dagster.runs["run-0"]["status"] = "SUCCESS"
    assert launch(dagster, ledger, {"number": 2}, retry_failed=True).ended == {PartitionState.OK: 1}


@pytest.mark.parametrize("ours", [False, True])
def test_nothing_is_started_beside_any_run_with_other_parameters(dagster: Dagster, ledger: Ledger, ours: bool) -> None:
    """However many partitions there are, and though nobody has given their runs the names that a launch gives."""
    days = Backfill(flow, "date=2012-01-02", "b", params={"number": 1}, ledger=open_ledger("memory://"))
    days.launch(DagsterLauncher(dagster.url))
    for run in dagster.runs.values():
        run["status"] = "STARTED"
        run["tags"] = [tag for tag in run["tags"] if ours or tag["key"] != RUN_TAG]
    again = Backfill(flow, "date=2012-01-02..2012-01-03", "b", params={"number": 2}, ledger=ledger)
    for how in ({}, {"retry_failed": True}):
        done = again.launch(DagsterLauncher(dagster.url, max_active=1), **how)
        assert (done.ended[PartitionState.FAILED], len(dagster.runs)) == (3, 6)
    for run in dagster.runs.values():
        run["status"] = "SUCCESS"
    assert again.launch(DagsterLauncher(dagster.url), retry_failed=True).ended == {PartitionState.OK: 3}


def test_nothing_is_started_beside_a_run_that_others_started(airflow: Airflow, ledger: Ledger) -> None:
    """Airflow refuses a second run of one id alone, and a person or a backfill chooses another one."""
    airflow.most = 100
    launch(airflow, open_ledger("memory://"), {"number": 1})
    ((_, run),) = airflow.runs.items()
    airflow.runs = {"manual": {**run, "dag_run_id": "manual", "state": "running"}}
    assert launch(airflow, ledger, {"number": 2}).ended == {PartitionState.FAILED: 1}
    (failed,) = ledger.batches.iter_outcomes("b")
    assert (failed.error or "").startswith("Airflow: run manual of it is under way, with other parameters")
    assert list(airflow.runs) == ["manual"]


@pytest.mark.parametrize("died", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_a_run_that_somebody_has_cleared_is_let_run(airflow: Airflow, ledger: Ledger, number: int, died: bool) -> None:
    """A failure of the ledger's that waits for Airflow again is not cleared meanwhile, and nothing runs beside it."""
    airflow.most = 100
    launch(airflow, open_ledger("memory://"), {"number": 1})
    ((run_id, run),) = airflow.runs.items()
    airflow.state = run["state"] = "running"
    record_failure(ledger, "airflow", run_id, died=died, number=1)
    how = {"retry_failed": True, "extend": True, "listener": EndsSoon(airflow)}
    launch(airflow, ledger, {"number": number}, **how)
    assert (airflow.cleared, len(airflow.runs), airflow.state) == ([], 1, "success" if number == 1 else "running")
    (outcome,) = ledger.batches.iter_outcomes("b")
    assert ("is under way, with other parameters" in (outcome.refused or "")) is (number == 2)


def test_a_run_that_somebody_resumed_is_followed(airflow: Airflow, ledger: Ledger) -> None:
    """It goes on with a run of the batch, whose ledger it has: nothing runs beside it, whatever it was given."""
    airflow.most, airflow.state = 100, "failed"
    launch(airflow, ledger, {})
    ((run_id, run),) = airflow.runs.items()
    record_failure(ledger, "airflow", run_id)
    conf = {"batch_id": "b", "resume_from": run_id, "number": 3}
    airflow.runs["resumed"] = {**run, "dag_run_id": "resumed", "conf": conf, "state": "running"}
    airflow.state = "running"
    launch(airflow, ledger, {}, retry_failed=True, listener=EndsSoon(airflow))
    assert (airflow.cleared, len(airflow.runs), airflow.state) == ([], 2, "success")


def test_what_a_run_was_given_beside_the_parameters_of_the_batch_stays(airflow: Airflow, ledger: Ledger) -> None:
    """What failed of it runs again in the same run: the ledger tells that the batch asks for nothing else."""
    airflow.state = "failed"
    launch(airflow, open_ledger("memory://"), {"number": 3})
    (run_id,) = airflow.runs
    record_failure(ledger, "airflow", run_id, number=3)
    launch(airflow, ledger, {}, retry_failed=True)
    assert ([body["dag_run_id"] for body in airflow.cleared], len(airflow.runs)) == ([run_id], 1)


def number_of(key: PartitionKey) -> dict[str, Any]:
    """Make the parameters of a partition."""
    return {"number": 2 if str(key) == "date=2012-01-02|tier=T2" else 1 / 0}


@pytest.mark.parametrize("first", [{"number": 1}, {}])
def test_what_a_function_makes_of_a_partition_is_compared_on_airflow(
    airflow: Airflow, ledger: Ledger, first: dict[str, Any]
) -> None:
    """Not only what all partitions have; of what is not selected, nothing is made."""
    airflow.most = 100
    launch(airflow, open_ledger("memory://"), first)
    (run,) = airflow.runs.values()
    airflow.runs["beside"] = {**run, "dag_run_id": "beside", "partition_key": "2012-01-03|T1"}
    assert launch(airflow, ledger, number_of).ended == {PartitionState.OK: 1}
    assert len(airflow.runs) == 3
    assert launch(airflow, open_ledger("memory://"), number_of).before == {PartitionState.OK: 1}
    assert len(airflow.runs) == 3


@pytest.mark.parametrize("first", [{"number": 1}, {}])
def test_what_a_function_makes_of_a_partition_is_compared_on_dagster(
    dagster: Dagster, ledger: Ledger, first: dict[str, Any]
) -> None:
    """As on Airflow."""
    launch(dagster, open_ledger("memory://"), first)
    assert launch(dagster, ledger, number_of).ended == {PartitionState.OK: 1}
    assert len(dagster.runs) == 2
    assert launch(dagster, open_ledger("memory://"), number_of).before == {PartitionState.OK: 1}
    assert len(dagster.runs) == 2


def status_on(engine: str, server: Server, ledger: Ledger) -> None:
    """Note what an engine has of a batch, as ``flowctx status --on`` does."""
    assert ask_engine(ledger, "b", engine, server.url, [flow]) == []


@pytest.mark.parametrize(("first", "then"), OTHERS)
def test_airflow_runs_what_was_noted_before_the_batch_had_parameters(
    airflow: Airflow, ledger: Ledger, first: dict[str, Any], then: dict[str, Any]
) -> None:
    """Whoever planned the batch says with which ones; what has those is done, and what is recorded stays."""
    airflow.most = 100
    launch(airflow, open_ledger("memory://"), first)
    status_on("airflow", airflow, ledger)
    assert launch(airflow, ledger, then).ended == {PartitionState.OK: 1}
    assert len(airflow.runs) == 2
    other = open_ledger("memory://")
    status_on("airflow", airflow, other)
    assert launch(airflow, other, then).before == {PartitionState.OK: 1}
    assert len(airflow.runs) == 2


@pytest.mark.parametrize(("first", "then"), OTHERS)
def test_dagster_runs_what_was_noted_before_the_batch_had_parameters(
    dagster: Dagster, ledger: Ledger, first: dict[str, Any], then: dict[str, Any]
) -> None:
    """As on Airflow."""
    launch(dagster, open_ledger("memory://"), first)
    status_on("dagster", dagster, ledger)
    assert launch(dagster, ledger, then).ended == {PartitionState.OK: 1}
    assert len(dagster.runs) == 2
    other = open_ledger("memory://")
    status_on("dagster", dagster, other)
    assert launch(dagster, other, then).before == {PartitionState.OK: 1}
    assert len(dagster.runs) == 2


def test_nothing_is_started_beside_what_was_noted_under_way(airflow: Airflow, ledger: Ledger) -> None:
    """With other parameters than the batch was planned with since."""
    airflow.most = 100
    launch(airflow, open_ledger("memory://"), {"number": 1})
    (run,) = airflow.runs.values()
    airflow.state = run["state"] = "running"
    status_on("airflow", airflow, ledger)
    assert launch(airflow, ledger, {"number": 2}, listener=EndsSoon(airflow)).ended == {PartitionState.FAILED: 1}
    assert len(airflow.runs) == 1


@pytest.mark.parametrize("name", ["airflow", "dagster"])
def test_parameters_that_no_workflow_declares_are_compared(name: str, ledger: Ledger, request: Any) -> None:
    """A run that was given one has others than a batch without; what the engine writes beside them is none."""
    server = request.getfixturevalue(name)
    undeclared = Workflow("filled", partitions=flow.partitions)
    undeclared.step(name="load")(lambda ctx: {})

    def launched(params: dict[str, Any], there: Ledger) -> LaunchProgress:
        launcher = AirflowLauncher(server.url) if name == "airflow" else DagsterLauncher(server.url)
        return Backfill(undeclared, "date=2012-01-02,tier=T2", "b", params=params, ledger=there).launch(launcher)

    if name == "airflow":
        server.most = 100
    launched({"number": 1}, open_ledger("memory://"))
    assert launched({}, ledger).ended == {PartitionState.OK: 1}
    assert len(server.runs) == 2
    *_, last = server.runs.values()
    if name == "airflow":
        last["conf"] |= {"openlineage": {}, "airflow/backfill": 1, "take_over": "true"}
    assert launched({}, open_ledger("memory://")).before == {PartitionState.OK: 1}
    assert len(server.runs) == 2


@pytest.mark.parametrize("name", ["airflow", "dagster"])
def test_what_was_noted_before_the_batch_was_planned_runs_here(name: str, tmp_path: Path, request: Any) -> None:
    """Nothing of it is recorded, so it is the word of an engine about a run that nobody compared with the plan."""
    server = request.getfixturevalue(name)
    if name == "airflow":
        server.most = 100
    launch(server, open_ledger("memory://"), {})
    with closing(open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        status_on(name, server, ledger)
        here = Backfill(flow, "date=2012-01-02,tier=T2", "b", ledger=ledger)
        assert here.plan().would_run == 1
        assert here.launch(LocalLauncher(ledger, 1)).ended == {PartitionState.OK: 1}
        assert here.plan().would_run == 0
        assert [run.recorded for run in ledger.batches.iter_outcomes("b")] == [True]
        assert here.launch(LocalLauncher(ledger, 1)).before == {PartitionState.OK: 1}


class Killed(AirflowLauncher):
    """One whose process is killed when it asks for what there is."""

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Be killed."""
        raise KeyboardInterrupt


def test_a_launch_that_is_killed_before_it_knows_what_there_is_begins_anew(airflow: Airflow, ledger: Ledger) -> None:
    """What was noted is compared by the next launch, as nobody has planned the batch until then; nothing runs twice."""
    airflow.most = 100
    launch(airflow, open_ledger("memory://"), {"number": 1})
    status_on("airflow", airflow, ledger)
    plan = Backfill(flow, "date=2012-01-02", "b", params={"number": 2}, ledger=ledger)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            plan.launch(Killed(airflow.url))
        found = BatchStatus.of(ledger, "b", flow)
        assert (found.batch.selection, found.counts, len(airflow.runs)) == (None, {"ok": 1}, 1)
    assert plan.launch(AirflowLauncher(airflow.url)).ended == {PartitionState.OK: 3}
    assert [run["conf"].get("number") for run in airflow.runs.values()] == [1, 2, 2, 2]
    assert plan.launch(AirflowLauncher(airflow.url)).before == {PartitionState.OK: 3}
    assert BatchStatus.of(ledger, "b", flow).complete


def test_a_batch_that_is_canceled_before_it_is_planned_stays_so(airflow: Airflow, ledger: Ledger) -> None:
    """Whoever launches it may be asking its engine what there is; the same command launches it later."""
    airflow.most = 100
    launch(airflow, open_ledger("memory://"), {"number": 1})
    status_on("airflow", airflow, ledger)

    class Canceled(AirflowLauncher):
        def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
            ledger.batches.cancel("b")
            return super().find(batch, workflow)

    plan = Backfill(flow, "date=2012-01-02", "b", params={"number": 2}, ledger=ledger)
    with pytest.raises(BatchError, match="was canceled meanwhile; the same command launches it"):
        plan.launch(Canceled(airflow.url))
    assert ledger.batches.get("b").canceled_at is not None
    assert plan.launch(AirflowLauncher(airflow.url)).ended == {PartitionState.OK: 3}
