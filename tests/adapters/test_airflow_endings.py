"""Runs that Airflow calls over: the listener ends them in the ledger, where nobody asks for a status."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.listeners.listener import get_listener_manager
from airflow.sdk import DAG, chain, task

from adapters.test_airflow_parts import change
from flowctx import PartitionScheme, Workflow, resume
from flowctx.airflow import StepOperator, workflow_dag
from flowctx.airflow.endings import RunListener, end_of_dag_run, record_end
from flowctx.airflow.running import run_dag
from flowctx.core.durability.records import CaptureState, RunRecord, RunStatus
from flowctx.core.workflow.run_context import begin

flow = Workflow("dying", partitions=PartitionScheme(tier=["T1", "T2"]))
flow.step("load")(lambda ctx: None)
flow.step("check")(lambda ctx: None)


@pytest.fixture
def listener():
    """A listener that this process's Airflow has heard of."""
    listener, manager = RunListener(), get_listener_manager()
    manager.pm.register(listener)
    yield listener
    manager.pm.unregister(listener)


def running(ledger, run_id="scheduled__1", dag_id="dying", engine="airflow"):
    """Leave a run of two partitions that the ledger takes for running."""
    for key in flow.partitions:
        metadata = {"engine": {"name": engine, "dag_id": dag_id}}
        ctx = begin("dying", run_id=run_id, scheme=flow.partitions, partition=key, batch_id=run_id, metadata=metadata)
        ledger.begin(RunRecord(workflow="dying", context=ctx, steps=("load", "check")), lease=timedelta(hours=6))


@pytest.mark.parametrize(
    ("state", "reason", "status"),
    [
        ("failed", "task_failure", RunStatus.FAILED),
        ("failed", "timed_out", RunStatus.FAILED),
        ("failed", "Dag Run's state was manually set to `failed`.", RunStatus.CANCELED),
        ("success", "success", RunStatus.PARTIAL),
    ],
)
def test_a_run_that_died_is_over(ledger, state, reason, status):
    """Every partition of it stands as Airflow says, by whoever ended it, and holds no capture."""
    running(ledger)
    record_end(end_of_dag_run("dying", "scheduled__1", state, reason))
    assert {run.status for run in ledger.list_runs()} == {status}
    assert {capture.state for capture in ledger.captures()} == {CaptureState.RELEASED}


def test_what_is_none_of_its_business_is_left_alone(ledger):
    """A run of the same id of another DAG or engine stays as it is, and so does an attempt that began later."""
    running(ledger, "one", dag_id="another")
    running(ledger, "two", engine="dagster")
    running(ledger, "three")
    for run_id in ("one", "two"):
        record_end(end_of_dag_run("dying", run_id, "failed", "task_failure"))
    ended = end_of_dag_run("dying", "three", "failed", "task_failure")
    record_end(ended._replace(heard=ended.heard - 3600))
    assert {run.status for run in ledger.list_runs()} == {RunStatus.RUNNING}


def test_a_task_that_is_no_step_ends_the_run(ledger, listener):
    """The scheduler's own decision reaches the ledger: a run whose next step never runs has failed, and not before."""

    @task
    def plain():
        assert [run.status for run in ledger.list_runs()] == [RunStatus.RUNNING]
        raise ValueError("no disk")

    with workflow_dag(flow, dag_id="between", schedule=None) as dag:
        dag.get_task("load") >> plain() >> dag.get_task("check")
        dag.get_task("load").downstream_task_ids.discard("check")
    done = run_dag(dag, partition="T1")
    listener.wait()
    found = ledger.get_run(done.run_id)
    assert found.status is RunStatus.FAILED
    # The reason is the scheduler's; `run_dag` itself, which may be first to say that the run is over, knows none.
    assert str(found.error).replace(" (task_failure)", "") == "Airflow calls it failed; step 'check' had not ended"
    assert ledger.statuses(found.key) == {"load": "ok"}


@pytest.mark.parametrize(("mark", "status"), [("failed", RunStatus.CANCELED), ("success", RunStatus.PARTIAL)])
def test_a_step_that_begins_after_its_run_was_ended_runs_nothing(ledger, monkeypatch, mark, status):
    """The listener came first, and found no run; the step that begins then says that it is over, and holds nothing."""
    ran = []
    late = Workflow("late", partitions=PartitionScheme(tier=["T1"]))
    late.step("load")(ran.append)
    dag = workflow_dag(late, schedule=None)
    monkeypatch.setattr("flowctx.airflow.recording.dag_run_state", lambda ti, dag_id, run_id: mark)
    done = run_dag(dag, partition="T1")
    found = ledger.get_run(done.run_id)
    assert (ran, found.status) == ([], status)
    assert f"marked as {mark} in Airflow" in found.error
    assert {capture.state for capture in ledger.captures()} == {CaptureState.RELEASED}


@pytest.mark.parametrize(
    ("dag", "state", "status"), [("two", "failed", RunStatus.FAILED), ("one", "success", RunStatus.RUNNING)]
)
def test_a_run_that_two_dags_make_ends_with_the_last(ledger, dag, state, status):
    """The end of the DAG whose step has begun last is that of the run; that of the first, heard late, is not."""
    flow, name, seen = Workflow(f"joint_{dag}"), f"joint_{dag}", []

    @flow.step()
    def fetch(ctx):
        return {}

    @flow.step()
    def load(ctx):
        record_end(end_of_dag_run(f"{name}_{dag}", ctx.run_id, state, "task_failure"))
        seen.append(ledger.get_run(ctx.run_id).status)

    @flow.step()
    def check(ctx):
        return {}

    for number, steps in (("one", ["fetch"]), ("two", ["load", "check"])):
        with DAG(f"{name}_{number}") as made:
            chain(*[StepOperator(step=flow[step], workflow=flow) for step in steps])
        run_dag(made, run_id="joint")
    assert seen == [status]
    known = ledger.get_run("joint")
    assert (known.status, known.attempt, len(ledger.steps(known.key))) == (RunStatus.OK, 1, 3)


def test_a_run_that_went_on_here_ends_with_airflow_again(ledger):
    """Once a cleared task has begun, the run is Airflow's: its end there is that of the run, for its batch, too."""
    flow, seen = Workflow("back_again"), []

    @flow.step()
    def load(ctx):
        if len(seen) < 2:
            seen.append(ledger.get_run(ctx.run_id).engine)
            raise ValueError("vendor down")
        seen.extend(run.engine for run in ledger.batches.iter_outcomes("b"))
        record_end(end_of_dag_run("back_again", ctx.run_id, "failed", "task_failure"))
        seen.append(ledger.get_run(ctx.run_id).status)

    dag = workflow_dag(flow, schedule=None)
    failed = run_dag(dag, batch_id="b")
    resume(failed.run_id, flow, ledger=ledger)
    change(dag, failed.run_id, clear=["load"])
    assert seen == ["airflow", "local", "airflow", RunStatus.FAILED]
