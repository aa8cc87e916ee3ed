"""Runs of which Airflow runs tasks again: what was recorded before counts where the step was not to run again."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG, chain, task

from adapters.test_airflow_parts import change
from flowctx import Workflow, resume
from flowctx.airflow import StepOperator, workflow_dag
from flowctx.airflow.running import run_dag
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


def test_a_task_that_is_not_named_as_its_step_is_known_by_it(ledger):
    """It could not run, and an ordinary clean-up makes the run a success of Airflow's."""
    flow = Workflow("renamed_task")
    flow.step("load")(lambda ctx: None)
    flow.step("publish", after=[])(lambda ctx: None)

    @task
    def check():
        raise ValueError("the vendor is down")

    @task(trigger_rule="all_done")
    def clean(): ...

    with DAG("renamed_task_dag") as dag:
        load = StepOperator(step=flow["load"], workflow=flow)
        chain(check(), StepOperator(step=flow["publish"], workflow=flow, task_id="publish_prices"), last := clean())
        load >> last
    found = ledger.get_run(run_dag(dag).run_id)
    why = "step 'publish': it did not run, because a task before it failed"
    assert (found.status, found.error) == (RunStatus.FAILED, why)
