"""Runs of which Airflow runs tasks again: what was recorded before counts where the step was not to run again."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.sdk import DAG, TaskGroup, chain, task

from adapters.test_airflow_parts import change
from flowctx import Workflow, resume
from flowctx.airflow import StepOperator, workflow_dag
from flowctx.airflow._compat import open_session
from flowctx.airflow.running import run_dag
from flowctx.airflow.task_states import is_outdated
from flowctx.core.durability.records import CaptureState, RunStatus


class TwoRoots:
    """A run of which one root failed before what follows it could run, and that is then cleared as a whole."""

    def __init__(self, name, ledger):
        self.ledger, self.life, self.seen = ledger, 1, []
        self.flow = Workflow(name)

        @self.flow.step()
        def load(ctx):
            if self.life == 1:
                raise ValueError("the vendor is down")
            return {"life": self.life}

        @self.flow.step()
        def publish(ctx):
            return {"life": self.life}

        @self.flow.step(after=[])
        def beside(ctx):
            return {"life": self.life}

    def run(self, before):
        """Run it twice; ``before`` are the ordinary tasks before the step that is complete since the first life."""
        with DAG(self.flow.name) as dag:
            tasks = {step.name: StepOperator(step=step, workflow=self.flow) for step in self.flow.steps.values()}
            tasks["load"] >> tasks["publish"]
            chain(*(task(one)() for one in before), tasks["beside"])
        self.run_id = run_dag(dag, batch_id="b").run_id
        self.life = 2
        change(dag, self.run_id, clear=list(dag.task_ids))
        return self.ledger.get_run(self.run_id)

    def look(self):
        self.seen.append(self.ledger.get_run(self.run_id).status if self.life == 2 else None)


def test_a_cleared_run_goes_on_while_a_step_of_it_waits(ledger):
    """Also where the last of those that have ended never ran before."""
    roots = TwoRoots("waits_again", ledger)

    def one(): ...

    def two(): ...

    def three():
        roots.look()

    found = roots.run([one, two, three])
    assert roots.seen == [None, RunStatus.RUNNING]
    assert found.status is RunStatus.OK
    assert {step.step: step.output["life"] for step in ledger.steps(found.key)} == dict.fromkeys(roots.flow.steps, 2)


def test_a_cleared_run_of_which_a_step_could_not_run_again_has_failed(ledger):
    """What it made before the clear is not of this life, whichever step ended last."""
    roots = TwoRoots("cannot_again", ledger)

    def check():
        if roots.life == 2:
            raise ValueError("the calendar is down")

    found = roots.run([check])
    why = "step 'beside': it did not run, because a task before it failed"
    assert (found.status, found.error) == (RunStatus.FAILED, why)
    assert CaptureState.COMPLETE not in {capture.state for capture in ledger.captures()}


@pytest.mark.parametrize("marked", [True, False])
def test_a_step_that_airflow_calls_failed_counts_as_it_is_recorded(ledger, marked):
    """It was complete when another branch was cleared: somebody had marked its task, or it was made here since."""
    flow, broken = Workflow(f"other_branch_{marked}".lower()), [] if marked else [True]
    flow.step("load")(lambda ctx: None)

    @flow.step()
    def price(ctx):
        if broken:
            raise ValueError("the vendor is down")

    flow.step("publish")(lambda ctx: None)
    flow.step("archive", after="load")(lambda ctx: None)
    dag = workflow_dag(flow)
    run_id = run_dag(dag, batch_id="b").run_id
    if marked:
        change(dag, run_id, mark={"price": "failed"})
    else:
        broken.clear()
        resume(run_id, workflow=flow, ledger=ledger).raise_for_failure()
    change(dag, run_id, clear=["archive"])
    found = ledger.get_run(run_id)
    assert (found.status, found.error) == (RunStatus.OK, None)
    assert [capture.state for capture in ledger.captures()] == [CaptureState.COMPLETE]


@pytest.mark.parametrize(("stored", "deployed"), [(0, 2), (2, 0)])
def test_a_clear_counts_whatever_retries_the_code_has_by_then(ledger, stored, deployed):
    """Airflow counts with those of the stored DAG, and the process may have read a later one."""
    lives = [1]

    def of(retries):
        flow = Workflow(f"retried_{stored}")
        flow.step(name="load", retries=retries)(lambda ctx: {"life": lives[0]})
        return workflow_dag(flow)

    run_id = run_dag(of(stored), batch_id="b").run_id
    lives[0] = 2
    change(of(deployed), run_id, clear=["load"])
    (record,) = ledger.steps(ledger.get_run(run_id).key)
    assert (record.output["life"], record.attempts) == (2, 2)


def clear_under_way(run_id, task_ids):
    """Clear tasks of a run that goes on; it counts as no clear of the run."""
    with open_session(scoped=False) as session:
        found = session.query(TaskInstance).filter(TaskInstance.run_id == run_id, TaskInstance.task_id.in_(task_ids))
        clear_task_instances(found.all(), session, dag_run_state=False)


def test_what_is_cleared_while_its_run_is_under_way_runs_again(ledger):
    """The other step is as it was."""
    flow, seen, lives = Workflow("under_way"), [], Counter()

    @flow.step()
    def load(ctx):
        lives["load"] += 1
        return {"life": lives["load"]}

    flow.step("beside", after=[])(lambda ctx: {"life": 1})

    @task
    def again():
        if not seen:
            seen.append(run_id)
            clear_under_way(run_id, ["load"])

    with DAG("under_way") as dag:
        steps = [StepOperator(step=step, workflow=flow) for step in flow.steps.values()]
        steps >> again()
    run_id = "manual__under_way"
    run_dag(dag, run_id=run_id, batch_id="b").raise_for_failure()
    found = {step.step: (step.output["life"], step.attempts) for step in ledger.steps(ledger.get_run(run_id).key)}
    assert found == {"load": (2, 2), "beside": (1, 1)}


@pytest.mark.parametrize("made", [-1, 1])
def test_a_record_is_outdated_if_it_is_from_before_a_clear(ledger, made):
    """Of a task that has begun since that, in a run that was under way."""
    noon = datetime(2026, 1, 9, 12, tzinfo=UTC)
    minute = timedelta(minutes=1)
    record = SimpleNamespace(step="beside", started_at=noon + 5 * minute + made * minute, seconds=1.0)
    cleared = int((noon + 5 * minute).timestamp() * 1000)
    states = {"load": "running", "beside": "running"}
    ti = SimpleNamespace(task_id="load", dag_id="d", run_id="r", map_index=-1, id=UUID(int=cleared << 80))
    ti.get_task_states = lambda **of: {"r": states}
    recorder = SimpleNamespace(ledger=SimpleNamespace(steps=lambda key, names: [record]), run=SimpleNamespace(key="k"))
    tasks = {name: SimpleNamespace(task_id=name, step=None, label=name) for name in states}
    assert is_outdated({"ti": ti, "dag_run": SimpleNamespace(start_date=noon)}, tasks, recorder) is (made < 0)


@pytest.mark.parametrize("task_id", ["publish", "publish_prices"])
def test_a_task_that_is_not_named_as_its_step_is_known_by_it(ledger, task_id):
    """It could not run, and an ordinary clean-up makes the run a success of Airflow's; others are named as the step."""
    flow, beside = Workflow(f"{task_id}_task"), Workflow(f"{task_id}_beside")
    flow.step("load")(lambda ctx: None)
    flow.step("publish", after=[])(lambda ctx: None)
    beside.step("publish")(lambda ctx: None)

    @task
    def check():
        raise ValueError("the vendor is down")

    @task(trigger_rule="all_done")
    def clean(): ...

    with DAG(f"{task_id}_dag") as dag:
        first, last = check(), clean()
        with TaskGroup("eod"):
            StepOperator(step=flow["load"], workflow=flow) >> last
            chain(first, StepOperator(step=flow["publish"], workflow=flow, task_id=task_id), last)
        with TaskGroup("live"):
            StepOperator(step=beside["publish"], workflow=beside)
    found = ledger.get_run(run_dag(dag).run_id, workflow=flow.name)
    why = "step 'publish': it did not run, because a task before it failed"
    assert (found.status, found.error) == (RunStatus.FAILED, why)
