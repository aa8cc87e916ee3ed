"""Random sequences on the engines themselves: what is shown equals what the steps wrote."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis.strategies import lists, sampled_from

from adapters.dagster_support import Bench
from adapters.test_airflow_parts import change
from flowctx import BatchStatus, Daily, PartitionScheme, StepResult, Workflow, resume
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.backfill.settling import settle_run
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.dagster.endings import end_runs

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
DAY, OTHER = "2012-10-26", "2012-10-27"
STEPS = ("one", "two", "three")
FEW = settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Killed(SystemExit):
    """The process is no more: nothing of the step is recorded."""


class World:
    """A workflow whose steps count what they did, and what they were asked for."""

    def __init__(self, name: str, ledger) -> None:
        self.effects, self.ledger = Counter(), ledger
        #: Since the last check: what steps were asked for, and what they had done before it.
        self.asked, self.before = Counter(), Counter()
        self.fails, self.kills = None, None
        self.flow = Workflow(name, partitions=DAYS)
        for step in STEPS:
            self.flow.step(step)(self.body(step))

    def body(self, step):
        def call(ctx):
            if self.kills == step:
                raise Killed
            if self.fails == step:
                return StepResult.fail("not yet", category="DATA_QUALITY")
            self.effects[ctx.capture_id, step] += 1
            return {"by": ctx.run_id}

        return call

    def ask(self, day, steps=STEPS):
        """Note that steps may have an effect more."""
        for step in steps:
            self.asked[f"{day}|{self.flow.name}", step] += 1

    def check(self):
        """What is shown as done has the effect of every step, a partition is ok if its capture is complete.

        And no step had more effects since the last check than it was asked for.
        """
        runs = self.ledger.list_runs(workflow=self.flow.name, limit=100)
        captures = self.ledger.captures(workflow=self.flow.name)
        complete = {c.key.capture_id for c in captures if c.state is CaptureState.COMPLETE}
        ok = {r.context.capture_id for r in runs if r.status is RunStatus.OK}
        outcomes = self.ledger.batches.iter_outcomes(self.flow.name)
        shown = {f"{run.partition.removeprefix('date=')}|{self.flow.name}" for run in outcomes if run.state.done}
        assert shown == complete
        assert not [(c, step) for c in complete | ok for step in STEPS if not self.effects[c, step]]
        assert {c.capture_id for c in [r.capture for r in runs] if c} >= complete
        assert not {what: n for what, n in (self.effects - self.before).items() if n > self.asked[what]}
        self.asked, self.before = Counter(), Counter(self.effects)
        if runs:
            status = BatchStatus.of(self.ledger, self.flow.name, self.flow)
            assert status.total == len({str(run.context.partition) for run in runs})
            assert status.complete == (len(complete) == status.total)

    def missing(self, run):
        """Return the steps that a run still has to do."""
        records = {record.step: record for record in self.ledger.steps(run.key)}
        first = next((n for n, step in enumerate(STEPS) if step not in records or not records[step].complete), 3)
        return STEPS[first:]

    def latest(self, run_id):
        """Return the run that goes on with another one last."""
        found = self.ledger.get_run(run_id, workflow=self.flow.name)
        return found if found.continued_by is None else self.latest(found.continued_by)

    def resume(self):
        """Go on here with the latest run that is not done."""
        for run in self.ledger.list_runs(workflow=self.flow.name, limit=100):
            if run.status not in (RunStatus.OK, RunStatus.SKIPPED):
                self.ask(run.context.partition.date, self.missing(run))
                resume(run.run_id, self.flow, partition=run.context.partition, ledger=self.ledger, take_over=True)
                return


ON_DAGSTER = [
    *("whole", "other", "one", "two", "three", "fail two", "fail three", "kill two", "skip captured"),
    *("resume", "resume there", "mark"),
]
ON_AIRFLOW = [
    *("whole", "other", "fail two", "kill two", "kill three", "clear one", "clear three"),
    *("mark two", "mark run", "resume", "resume there", "resume first"),
]


def mark_run(ledger, workflow, state):
    """Say of the latest run that its engine calls it something else now, as after somebody has marked it."""
    runs = ledger.list_runs(workflow=workflow, limit=1)
    for run in runs:
        account = PartitionRun(
            partition=str(run.context.partition),
            state=PartitionState(state),
            run_id=run.run_id,
            engine=run.engine,
            last_seen_at=ledger.now(),
        )
        settle_run(ledger, workflow, account)
        ledger.batches.record_outcomes(workflow, [account])


@pytest.mark.e2e
@FEW
@example(actions=["one", "skip captured", "one"])
@example(actions=["fail two", "resume there", "resume there", "mark"])
@given(actions=lists(sampled_from(ON_DAGSTER), min_size=3, max_size=6))
def test_whatever_happens_on_dagster(actions, ledger):
    """Whole runs, single assets, deaths, marks and resumes in any order leave nothing that did not happen."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(f"machine{abs(hash(tuple(actions)))}", ledger)
        bench = Bench(world.flow, Path(folder))
        for action in actions:
            verb, _, step = action.partition(" ")
            world.fails, world.kills = (step if verb == word else None for word in ("fail", "kill"))
            tags = {"flowctx/batch_id": world.flow.name}
            if action in STEPS:
                world.ask(DAY, [action])
                bench.run(DAY, tags=tags, selection=[dg.AssetKey([world.flow.name, action])])
            elif action == "resume":
                world.resume()
            elif action == "mark":
                mark_run(ledger, world.flow.name, "failed")
            elif action == "resume there":
                for run in ledger.list_runs(workflow=world.flow.name, status=RunStatus.FAILED, limit=1):
                    world.ask(run.context.partition.date, world.missing(world.latest(run.run_id)))
                    bench.run(run.context.partition.date, tags={"flowctx/resume_from": run.run_id})
            else:
                wish = {"flowctx/on_captured": "skip"} if action == "skip captured" else {}
                day = OTHER if action == "other" else DAY
                world.ask(day)
                with suppress(Killed):
                    bench.run(day, tags={**tags, **wish})
            end_runs(ledger, bench.instance, world.flow.name)
            world.check()


@pytest.mark.e2e
@FEW
@example(actions=["fail two", "mark two", "clear three"])
@example(actions=["fail two", "resume first", "resume first", "mark run"])
@given(actions=lists(sampled_from(ON_AIRFLOW), min_size=3, max_size=6))
def test_whatever_happens_on_airflow(actions, ledger):
    """Whole runs, deaths, clears, marks and resumes in any order leave nothing that did not happen."""
    world = World(f"machine{abs(hash(tuple(actions)))}", ledger)
    dag, first, last, day = workflow_dag(world.flow), None, None, DAY
    for action in actions:
        verb, _, step = action.partition(" ")
        world.fails, world.kills = (step if verb == word else None for word in ("fail", "kill"))
        if action == "mark run":
            mark_run(ledger, world.flow.name, "canceled")
        elif verb in ("clear", "mark"):
            if last is not None:
                world.ask(day, [step] if verb == "clear" else [])
                change(dag, last, **{verb: [step]})
        elif action == "resume":
            world.resume()
        else:
            origin = {"resume there": last, "resume first": first}.get(action)
            before = world.latest(origin) if origin else None
            day = before.context.partition.date if before else OTHER if action == "other" else DAY
            world.ask(day, world.missing(before) if before else STEPS)
            last = run_dag(dag, partition=day, batch_id=world.flow.name, resume_from=origin).run_id
            first = first or last
        world.check()
