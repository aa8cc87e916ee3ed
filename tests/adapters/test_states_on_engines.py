"""Random sequences on the engines themselves: what is shown equals what the steps wrote."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import lists, sampled_from

from adapters.dagster_support import Bench
from adapters.test_airflow_parts import change
from flowctx import BatchStatus, Daily, PartitionScheme, StepResult, Workflow, resume
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.ledger import open_ledger

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
DAY = "2012-10-26"
STEPS = ("one", "two", "three")
FEW = settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class World:
    """A workflow whose steps count what they did."""

    def __init__(self, name: str, ledger) -> None:
        self.effects, self.fails, self.ledger = Counter(), None, ledger
        self.flow = Workflow(name, partitions=DAYS)
        for step in STEPS:
            self.flow.step(step)(self.body(step))

    def body(self, step):
        def call(ctx):
            if self.fails == step:
                return StepResult.fail("not yet", category="DATA_QUALITY")
            self.effects[ctx.batch_id, step] += 1
            return {"by": ctx.run_id}

        return call

    def check(self):
        """What is shown as done has the effect of every step, and a batch is ok if its capture is complete."""
        runs = self.ledger.list_runs(workflow=self.flow.name, limit=100)
        captures = self.ledger.captures(workflow=self.flow.name)
        complete = {c.key.capture_id.rpartition("|")[2] for c in captures if c.state is CaptureState.COMPLETE}
        for batch in {run.context.batch_id for run in runs}:
            status = BatchStatus.of(self.ledger, batch, self.flow)
            assert status.complete == (batch in complete), (batch, status.counts)
            if status.complete or any(r.context.batch_id == batch and r.status is RunStatus.OK for r in runs):
                assert not [step for step in STEPS if not self.effects[batch, step]]

    def resume(self):
        """Go on here with the latest run that is not done."""
        for run in self.ledger.list_runs(workflow=self.flow.name, limit=100):
            if run.status not in (RunStatus.OK, RunStatus.SKIPPED):
                resume(run.run_id, self.flow, partition=run.context.partition, ledger=self.ledger, take_over=True)
                return


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


ON_DAGSTER = ["whole", "one", "two", "three", "fail two", "fail three", "skip captured", "resume"]
ON_AIRFLOW = ["whole", "fail two", "clear one", "clear three", "mark two", "resume", "resume there"]


@FEW
@given(actions=lists(sampled_from(ON_DAGSTER), min_size=3, max_size=5))
def test_whatever_happens_on_dagster(actions, ledger):
    """Whole runs, single assets, failures and resumes in any order leave nothing that did not happen."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(f"machine{abs(hash(tuple(actions)))}", ledger)
        bench = Bench(world.flow, Path(folder))
        for action in actions:
            world.fails = action.removeprefix("fail ") if action.startswith("fail") else None
            tags = {"flowctx/batch_id": world.flow.name}
            if action in STEPS:
                bench.run(DAY, tags=tags, selection=[dg.AssetKey([world.flow.name, action])])
            elif action == "resume":
                world.resume()
            else:
                wish = {"flowctx/on_captured": "skip"} if action == "skip captured" else {}
                bench.run(DAY, tags={**tags, **wish})
            world.check()


@FEW
@given(actions=lists(sampled_from(ON_AIRFLOW), min_size=3, max_size=5))
def test_whatever_happens_on_airflow(actions, ledger):
    """Whole runs, failures, clears, marks and resumes in any order leave nothing that did not happen."""
    world = World(f"machine{abs(hash(tuple(actions)))}", ledger)
    dag, last = workflow_dag(world.flow), None
    for action in actions:
        world.fails = action.removeprefix("fail ") if action.startswith("fail") else None
        verb, _, step = action.partition(" ")
        if verb in ("clear", "mark"):
            if last is not None:
                change(dag, last, **{verb: [step]})
        elif action == "resume":
            world.resume()
        else:
            origin = last if action == "resume there" else None
            last = run_dag(dag, partition=DAY, batch_id=world.flow.name, resume_from=origin).run_id
        world.check()
