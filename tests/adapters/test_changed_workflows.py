"""Runs of an engine whose workflow changes before they go on: they do so by the same rule as where they are resumed."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import clear_task_instances
from airflow.utils.session import create_session

from adapters.airflow_names import DagSerialization
from adapters.dagster_support import QUIET, persistent_instance
from flowctx import StepResult, Workflow, WorkflowChanged, resume
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import _to_the_end, run_dag
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.dagster import workflow_definitions, workflow_job

#: How the workflow has changed, and what is said of it.
CHANGES = {
    "added": "step 's2' followed s1 when it ran and follows s15 now",
    "renamed": "step 's2' was renamed to 's2b'",
    "removed": "step 's2' was removed",
    "rewritten": "the code of step 's2' changed: it ran as",
}


def version(name, how, calls=None):
    """Return a workflow of three steps, of which the last fails, or the same workflow changed, which does not."""
    flow, calls = (
        Workflow(name, params={"a": 1, **({"b": 2} if how == "added" else {})}),
        calls if calls is not None else [],
    )

    @flow.step()
    def s1(ctx):
        calls.append("s1")
        return {"x": 1}

    if how == "added":
        flow.step("s15")(lambda ctx: calls.append("s15"))

    def s2(ctx):
        calls.append("s2")
        return {"x": 2}

    def other(ctx):
        calls.append("s2")
        return {"x": 2.5}

    if how != "removed":
        flow.step("s2b" if how == "renamed" else "s2")(other if how == "rewritten" else s2)

    @flow.step()
    def s3(ctx):
        calls.append("s3")
        return StepResult.fail("not yet", category="DATA_QUALITY") if how is None else {"x": 3}

    if how == "longer":
        flow.step("s4")(lambda ctx: calls.append("s4"))
    return flow


def go_on(dag, run_id, *, clear=(), begin=()):
    """Let a run go on with tasks cleared, or as if they had not begun yet, and return why those that failed did."""
    with create_session() as session:
        dag_run = session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id=run_id).one()
        dag_run.dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        instances = {ti.task_id: ti for ti in dag_run.get_task_instances(session=session)}
        for task_id in begin:
            instances[task_id].state = None
        clear_task_instances([instances[task_id] for task_id in clear], session)
        dag_run.verify_integrity(session=session, dag_version_id=instances["s1"].dag_version_id)
        dag_run.state = "running"
        session.commit()
        return {task_id: history.error for (task_id, _), history in _to_the_end(dag, dag_run, session).items()}


def stands(ledger, run_id):
    """Return how a run and its steps stand."""
    found = ledger.get_run(run_id)
    return found.status, ledger.statuses(found.key), [capture.state for capture in ledger.captures()]


@pytest.mark.parametrize("how", CHANGES)
def test_a_cleared_task_of_a_changed_workflow_is_refused(ledger, how):
    """As a resume is: nothing runs, nothing that is recorded changes, and the error says what to do."""
    calls, name = [], f"cleared_{how}"
    failed = run_dag(workflow_dag(version(name, None)))
    before = stands(ledger, failed.run_id)
    errors = go_on(workflow_dag(version(name, how, calls)), failed.run_id, clear=["s3"])
    assert (calls, stands(ledger, failed.run_id)) == ([], before)
    assert CHANGES[how] in " ".join(error for error in errors.values() if error)
    with pytest.raises(WorkflowChanged, match=CHANGES[how]):
        resume(failed.run_id, version(name, how), ledger=ledger)


def test_a_complete_run_goes_on_from_the_step_that_was_cleared(ledger):
    """It has nothing left to run but what somebody names: the error says that, too, and what it says works."""
    calls = []
    done = run_dag(workflow_dag(version("cleared_complete", "rewritten")))
    flow = version("cleared_complete", "written_back", calls)
    errors = go_on(workflow_dag(flow), done.run_id, clear=["s3"])
    assert "--accept-changes and --from-step s3 to keep" in errors["s3"]
    again = resume(done.run_id, flow, from_step="s3", accept_changes=True, ledger=ledger)
    assert (again.status, calls) == ("ok", ["s3"])


@pytest.mark.parametrize("how", CHANGES)
def test_a_run_that_is_cleared_as_a_whole_is_one_of_the_new_workflow(ledger, how):
    """Nothing stays of what other code has done, so there is nothing to refuse."""
    calls, name = [], f"anew_{how}"
    failed = run_dag(workflow_dag(version(name, None)))
    flow = version(name, how, calls)
    go_on(workflow_dag(flow), failed.run_id, clear=["s1", "s2", "s3"])
    assert len(calls) == len(flow.steps)
    assert stands(ledger, failed.run_id) == (RunStatus.OK, dict.fromkeys(flow.steps, "ok"), [CaptureState.COMPLETE])


def test_what_changed_may_be_cleared_with_all_that_follows(ledger):
    """What is cleared runs by the new code, as with ``from_step``; the rest stays."""
    for how in ("added", "rewritten"):
        calls, name = [], f"from_{how}"
        failed = run_dag(workflow_dag(version(name, None)))
        flow = version(name, how, calls)
        go_on(workflow_dag(flow), failed.run_id, clear=["s2", "s3"])
        assert calls == [step for step in flow.steps if step != "s1"]
        assert stands(ledger, failed.run_id)[:2] == (RunStatus.OK, dict.fromkeys(flow.steps, "ok"))


def test_what_has_not_run_may_change(ledger):
    """The step that failed is mended and one is put after it: what is complete is as it was, and stays."""
    calls = []
    failed = run_dag(workflow_dag(version("mended", None)))
    flow = version("mended", "longer", calls)
    go_on(workflow_dag(flow), failed.run_id, clear=["s3"])
    assert (calls, stands(ledger, failed.run_id)[0]) == (["s3", "s4"], RunStatus.OK)


def test_a_run_during_which_a_complete_step_changes_is_refused(ledger):
    """A task that begins after a deployment does not go on with what other code has done."""
    calls = []
    failed = run_dag(workflow_dag(version("deployed", None)))
    dag = workflow_dag(version("deployed", "rewritten", calls))
    errors = go_on(dag, failed.run_id, begin=["s3"])
    assert (calls, CHANGES["rewritten"] in errors["s3"]) == ([], True)


#: Where steps say that they ran, if Dagster runs them.
RAN = "FLOWCTX_TEST_RAN"


class Ran:
    """Calls of steps, in a file that a job loaded anew finds."""

    def append(self, step):
        """Say that a step ran."""
        with Path(os.environ[RAN]).open("a") as file:
            file.write(f"{step} ")


def job_of(kind, how):
    """Return the workflow's job, of assets or of ops, as it is or changed."""
    flow = version("reexecuted", how, Ran())
    if kind == "ops":
        return workflow_job(flow, executor_def=dg.in_process_executor)
    definitions = dg.Definitions.merge(workflow_definitions(flow), dg.Definitions(executor=dg.in_process_executor))
    return definitions.resolve_job_def("reexecuted_job")


@pytest.fixture
def execute(tmp_path, monkeypatch, ledger, jobs_by_name):
    """Executes a job, or executes it again, and returns the run's id, the steps that ran and why some failed."""
    ran = tmp_path / "ran"
    monkeypatch.setenv(RAN, str(ran))
    with persistent_instance(tmp_path / "dagster") as instance:

        def execute(kind, how=None, parent=None, steps=None):
            ran.write_text("")
            again = dg.ReexecutionOptions.from_failure(parent, instance) if parent else None
            done = dg.execute_job(
                dg.build_reconstructable_job(__name__, "job_of", (kind, how)),
                instance,
                run_config=QUIET,
                reexecution_options=dg.ReexecutionOptions(parent, steps) if steps else again,
            )
            failures = [event.event_specific_data for event in done.all_events if event.is_step_failure]
            return done.run_id, ran.read_text().split(), " ".join(str(why.user_failure_data) for why in failures)

        yield execute


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("job", ["assets", "ops"])
def test_a_reexecution_of_a_changed_workflow_is_refused(ledger, execute, job, how):
    """As a resume is: nothing runs, and the error says what to do."""
    failed, ran, _ = execute(job)
    assert ran == ["s1", "s2", "s3"]
    before = stands(ledger, failed)
    _, ran, message = execute(job, how, parent=failed)
    assert (ran, stands(ledger, failed)) == ([], before)
    assert CHANGES[how] in message
    assert "re-execute" in message


def test_a_reexecution_may_mend_what_has_not_run(ledger, execute):
    """What is complete is as it was, and stays."""
    failed, _, _ = execute("assets")
    again, ran, _ = execute("assets", "mended", parent=failed)
    assert (ran, stands(ledger, again)[0]) == (["s3"], RunStatus.OK)


def test_a_reexecution_of_all_steps_is_one_of_the_new_workflow(ledger, execute):
    """Nothing stays of what other code has done."""
    failed, _, _ = execute("assets")
    again, ran, _ = execute("assets", "renamed", parent=failed, steps=["reexecuted__s1*"])
    assert (len(ran), stands(ledger, again)[:2]) == (3, (RunStatus.OK, dict.fromkeys(["s1", "s2b", "s3"], "ok")))
