"""A run that is deleted in Airflow and made again under its id is another one: nothing that is recorded counts."""

from __future__ import annotations

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, task
from airflow.utils.session import create_session

from flowctx import Workflow, resume
from flowctx.airflow import StepOperator, _compat, workflow_dag
from flowctx.airflow.running import _to_the_end
from flowctx.core.durability.records import RunStatus
from flowctx.testing import run_dag


class Lives:
    """A workflow whose run has several lives, and what the ledger said while its second step ran in each."""

    def __init__(self, name, ledger, *, fails=()):
        self.name, self.ledger, self.seen = name, ledger, []
        self.flow = Workflow(name, params={"limit": 1})

        @self.flow.step()
        def fetch(ctx):
            return {"limit": ctx.params["limit"]}

        @self.flow.step()
        def load(ctx):
            known = ledger.get_run(ctx.run_id)
            self.seen.append((known.status, known.context.params["limit"], *ledger.statuses(known.key)))
            if len(self.seen) in fails:
                raise ValueError("vendor down")
            return dict(ctx.get_output("fetch"))

    def live(self, limit, dag_id=None):
        """Run it under one id, and delete the run in Airflow."""
        dag = workflow_dag(self.flow, dag_id=dag_id or self.name)
        done = run_dag(dag, run_id=f"eod_{self.name}", params={"limit": limit})
        with create_session() as session:
            session.delete(session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id=done.run_id).one())
        return done


@pytest.mark.parametrize("fails", [(), (1,)], ids=["ok", "failed"])
@pytest.mark.parametrize("renamed", [False, True])
def test_a_run_that_is_made_again_begins_anew(ledger, fails, renamed):
    """Whatever became of it before, and also where its DAG has another name now, it is running, with its own data."""
    lives = Lives(f"again_{len(fails)}_{renamed}".lower(), ledger, fails=fails)
    lives.live(1)
    second = lives.live(2, f"{lives.name}_new" if renamed else None)
    assert lives.seen == [(RunStatus.RUNNING, 1, "fetch"), (RunStatus.RUNNING, 2, "fetch")]
    known = ledger.get_run(second.run_id)
    assert (known.status, known.attempt, known.context.params["limit"]) == (RunStatus.OK, 2, 2)
    assert known.context.started_at == second.context.started_at
    assert [dict(step.output) for step in ledger.steps(known.key)] == [{"limit": 2}, {"limit": 2}]


def test_a_run_that_went_on_here_before_begins_anew(ledger):
    """It is another one, too, where the last attempt at the one that was deleted was here."""
    lives = Lives("again_here", ledger, fails=(1,))
    first = lives.live(1)
    resume(first.run_id, lives.flow, ledger=ledger).raise_for_failure()
    lives.live(2)
    assert lives.seen[-1] == (RunStatus.RUNNING, 2, "fetch")
    known = ledger.get_run(first.run_id)
    assert (known.status, known.attempt, known.context.params["limit"]) == (RunStatus.OK, 3, 2)
    assert [dict(step.output) for step in ledger.steps(known.key)] == [{"limit": 2}, {"limit": 2}]


def test_what_a_branch_leaves_out_now_does_not_count(ledger):
    """A step that ran in the run that was deleted, and is skipped in this one, is not of it."""
    flow = Workflow("branched")
    flow.step(name="x")(lambda ctx: {"from": "x"})
    flow.step(name="y", after=[])(lambda ctx: {"from": "y"})
    flow.step(name="z", after=["x", "y"], run_if="not_failed")(lambda ctx: {"x": ctx.get_output("x")})
    with DAG("branched", params={"which": "x"}) as dag:

        @task.branch
        def choose(params=None):
            return params["which"]

        steps = {name: StepOperator(step=flow[name], workflow=flow) for name in flow.steps}
        choose() >> [steps["x"], steps["y"]] >> steps["z"]
    for which in ("x", "y"):
        run_dag(dag, run_id="one", params={"which": which})
        with create_session() as session:
            session.delete(session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id="one").one())
    known, fresh = ledger.get_run("one"), ledger.get_run(run_dag(dag, params={"which": "y"}).run_id)
    assert (known.attempt, known.status) == (2, fresh.status)
    assert {step.step: dict(step.output) for step in ledger.steps(known.key)} == {"y": {"from": "y"}, "z": {"x": None}}


def test_a_try_of_one_of_two_dags_is_no_new_run(ledger):
    """A step whose process died before Airflow heard of it is handed on, also after the other DAG has ended the run."""
    flow, ran = Workflow("pair"), []
    flow.step(name="a")(lambda ctx: ran.append("a"))
    flow.step(name="b", after=[])(lambda ctx: ran.append("b"))
    with DAG("pair_a") as first:
        StepOperator(step=flow["a"], workflow=flow, retries=1)
    with DAG("pair_b") as second:
        StepOperator(step=flow["b"], workflow=flow)
    run_dag(first, run_id="one")
    run_dag(second, run_id="one")
    with create_session() as session:
        run = session.query(DagRun).filter_by(dag_id=first.dag_id, run_id="one").one()
        run._state = "running"
        serialization = _compat.dag_serialization()
        run.dag = serialization.from_dict(serialization.to_dict(first))
        for instance in run.get_task_instances(session=session):
            instance.state = None
        session.commit()
        _to_the_end(first, run, session)
    assert (ran, ledger.get_run("one").attempt) == (["a", "b"], 1)
