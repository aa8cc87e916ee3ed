"""A run that is deleted in Airflow and made again under its id is another one: nothing that is recorded counts."""

from __future__ import annotations

import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session

from flowctx import Workflow
from flowctx.airflow import workflow_dag
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
