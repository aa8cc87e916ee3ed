"""Random sequences of what people and machines do to runs: what is shown equals what the steps themselves wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.strategies import booleans, sampled_from

from flowctx import Backfill, BatchStatus, PartitionKey, PartitionScheme, StepResult, Workflow, resume, run
from flowctx.backfill.settling import settle_run
from flowctx.backfill.worker import _Runs
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.records import CaptureState, RunRecord, RunStatus, StepRecord
from flowctx.core.durability.run_ledgers import run_ledger
from flowctx.core.durability.run_plan import begin_run, plan_run
from flowctx.core.durability.step_attempt import StepAttempt, StepInput
from flowctx.core.execution.upstream import Upstream
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_context import begin
from flowctx.ledger.memory import MemoryLedger
from flowctx.local import plan_new_run, run_begun
from flowctx.testing import FakeClock

TIERS = ["T1", "T2", "T3"]
STEPS = ("fetch", "check", "load")
BATCHES = ["b1", "b2"]


class Killed(SystemExit):
    """The process is no more."""


#: Where a process may die: at a step, or after the last one, before it can say that its run is over.
AT = (*STEPS, "end")


class Ledger(MemoryLedger):
    """Remembers runs of processes that may die before they can end one."""

    dies = False

    def finish(self, run: RunRecord, status: RunStatus, error: str | None = None) -> None:
        """End a run, if the process is still there."""
        if self.dies:
            raise Killed
        super().finish(run, status, error)


class InThisProcess:
    """Launches partitions as worker processes do, in this one."""

    engine, writes_ledger, under_way = "local", True, 0

    def __init__(self, machine: Runs) -> None:
        self.machine = machine

    def check(self, workflow: Workflow) -> None:
        """Take any."""

    def launch(self, batch: BatchRecord, jobs: Iterator[Job]) -> Iterator[PartitionRun]:
        machine = self.machine
        how = {"clock": machine.clock}
        runners = (partial(runner, **how) for runner in (resume, plan_new_run, run_begun))
        runs = _Runs(*runners, [machine.flow], machine.ledger, batch.batch_id)
        for job in jobs:
            machine.ask_job(job)
            task = {"partition": job.partition, "run_id": job.run_id, "known": job.before is not None}
            ended = runs.outcome(task | ({"from_step": job.from_step} if job.from_step else {}))
            yield PartitionRun(
                partition=job.partition,
                state=PartitionState(ended["state"]),
                run_id=job.run_id,
                engine="local",
                attempt=ended["attempt"],
                last_seen_at=machine.clock.now(),
                error=ended["error"],
            )

    def stop(self) -> None:
        """Go on."""

    detach = stop

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Know nothing but the ledger."""
        return iter(())

    def had_ledger(self, run: PartitionRun) -> bool:
        """Have all in the ledger."""
        return True


class Runs(RuleBasedStateMachine):
    """Partitions in two batches, on which anything may happen; a third partition comes later."""

    @initialize()
    def begin_empty(self) -> None:
        self.clock, self.count = FakeClock(), 0
        self.ledger = Ledger(self.clock)
        #: What steps did: how often in each capture, and who did it last.
        self.effects: Counter[tuple[str, str]] = Counter()
        #: Since the last rule: how often each step was asked for in each capture, and what they had done before it.
        self.asked: Counter[tuple[str, str]] = Counter()
        self.before: Counter[tuple[str, str]] = Counter()
        self.fails: str | None = None
        self.kills: str | None = None
        self.tiers = TIERS[:2]
        self.flow = self.workflow()

    def workflow(self) -> Workflow:
        flow = Workflow("machine", partitions=PartitionScheme(tier=self.tiers))
        for name in STEPS:
            flow.step(name)(self.step(name))
        return flow

    def step(self, name: str):
        def call(ctx):
            if self.kills == name:
                raise Killed
            if self.fails == name:
                return StepResult.fail("not yet", category="DATA_QUALITY")
            self.effects[str(ctx.capture_id), name] += 1
            return {"by": ctx.run_id}

        return call

    def new_id(self) -> str:
        self.count += 1
        self.clock.advance(timedelta(hours=7))  # a dead run's lease has run out by then
        return f"run-{self.count}"

    # -- what people do ---------------------------------------------------------------------------------------------

    @rule(tier=sampled_from(TIERS[:2]), batch=sampled_from(BATCHES), fails=sampled_from([None, *STEPS]))
    def launch(self, tier: str, batch: str, fails: str | None) -> None:
        """Run the whole, which may fail at a step."""
        self.fails = fails
        self.ask(f"{tier}|{batch}", STEPS)
        run(self.flow, partition=tier, batch_id=batch, run_id=self.new_id(), ledger=self.ledger, clock=self.clock)
        self.fails = None

    @rule(tier=sampled_from(TIERS[:2]), batch=sampled_from(BATCHES), at=sampled_from(AT))
    def kill(self, tier: str, batch: str, at: str) -> None:
        """Run the whole, and let the process die on the way."""
        self.kills, self.ledger.dies = at, at == "end"
        self.ask(f"{tier}|{batch}", STEPS)
        with suppress(Killed):
            run(self.flow, partition=tier, batch_id=batch, run_id=self.new_id(), ledger=self.ledger, clock=self.clock)
        self.kills, self.ledger.dies = None, False

    @rule(tier=sampled_from(TIERS[:2]), batch=sampled_from(BATCHES), step=sampled_from(STEPS), fails=booleans())
    def materialize_one(self, tier: str, batch: str, step: str, fails: bool) -> None:
        """Run one step alone, as an engine does that is asked for one asset."""
        self.fails = step if fails else None
        self.ask(f"{tier}|{batch}", [step])
        key = PartitionKey(tier=tier)
        ctx = begin("machine", run_id=self.new_id(), scheme=self.flow.partitions, partition=key, batch_id=batch)
        recorded = run_ledger(self.ledger, strict=True)
        plan = plan_run(recorded, self.flow, ctx, selected=[step])
        StepAttempt(
            step=self.flow.steps[step],
            open=lambda: begin_run(recorded, plan),
            receive=lambda seen: StepInput(ctx=seen, inherited=Upstream(), after=self.flow.steps[step].after),
            retried=lambda result: False,
            clock=self.clock,
        ).attempt()
        self.fails = None

    @rule(which=sampled_from(["first", "last"]), fails=sampled_from([None, *STEPS]))
    def resume_here(self, which: str, fails: str | None) -> None:
        """Go on with a run that is not done."""
        open_runs = [
            run for run in self.ledger.list_runs(limit=1000) if run.status not in (RunStatus.OK, RunStatus.SKIPPED)
        ]
        if open_runs:
            before = open_runs[0 if which == "last" else -1]
            first = next((place for place, name in enumerate(STEPS) if not self.is_complete(before, name)), len(STEPS))
            missing = STEPS[first:]  # what follows a step that runs runs, too
            self.fails = fails
            self.ask(str(before.context.capture_id), missing)
            self.clock.advance(timedelta(hours=7))
            key = before.context.partition
            result = resume(before.run_id, self.flow, partition=key, ledger=self.ledger, clock=self.clock)
            self.fails = None
            assert self.ledger.get_run(result.context.run_id, partition=key).status == result.status

    @rule(step=sampled_from(STEPS))
    def run_again_from(self, step: str) -> None:
        """Run a complete run again from a step on."""
        done = self.ledger.list_runs(status=RunStatus.OK, limit=1)
        if done:
            self.ask(str(done[0].context.capture_id), STEPS[STEPS.index(step) :])
            self.clock.advance(timedelta(hours=7))
            key = done[0].context.partition
            resume(done[0].run_id, self.flow, partition=key, from_step=step, ledger=self.ledger, clock=self.clock)

    @rule(state=sampled_from([RunStatus.FAILED, RunStatus.CANCELED]))
    def engine_says_over(self, state: RunStatus) -> None:
        """Whatever is running is over, its engine says: it was cancelled, or its worker died."""
        for found in self.ledger.list_runs(status=RunStatus.RUNNING, limit=1000):
            end_run(self.ledger, found, state, "over")

    @rule(batch=sampled_from(BATCHES), which=booleans(), state=sampled_from(["failed", "canceled", "ok", "running"]))
    def mark(self, batch: str, which: bool, state: str) -> None:
        """Somebody marks a run in its engine, whatever it did."""
        runs = self.ledger.list_runs(batch_id=batch, limit=1000)
        if runs:
            found = runs[0 if which else -1]
            self.clock.advance(timedelta(minutes=1))
            account = PartitionRun(
                partition=str(found.context.partition),
                state=PartitionState(state),
                run_id=found.run_id,
                engine="airflow",
                last_seen_at=self.clock.now(),
            )
            settle_run(self.ledger, "machine", account)
            self.ledger.batches.record_outcomes(batch, [account])

    @rule(batch=sampled_from(BATCHES))
    def cancel(self, batch: str) -> None:
        """Cancel a batch, and what it has under way."""
        if self.ledger.list_runs(batch_id=batch, limit=1):
            self.ledger.batches.cancel(batch)
            for found in self.ledger.list_runs(batch_id=batch, status=RunStatus.RUNNING, limit=1000):
                end_run(self.ledger, found, RunStatus.CANCELED, "canceled")

    @rule()
    def grow(self) -> None:
        """The scheme has one partition more from now on."""
        self.tiers = TIERS
        self.flow = self.workflow()

    @rule(
        batch=sampled_from(BATCHES),
        everything=booleans(),
        fails=sampled_from([None, *STEPS]),
        kills=sampled_from([None, None, *AT]),
        retry=booleans(),
        from_step=sampled_from([None, None, "check"]),
    )
    def extend(
        self, batch: str, everything: bool, fails: str | None, kills: str | None, retry: bool, from_step: str | None
    ) -> None:
        """Launch a batch, with more partitions than before perhaps; the launch may die."""
        self.fails, self.kills, self.ledger.dies = fails, kills, kills == "end"
        self.clock.advance(timedelta(hours=7))
        backfill = Backfill(self.flow, None if everything else "tier=T1", batch, ledger=self.ledger)
        with suppress(Killed):
            backfill.launch(InThisProcess(self), retry_failed=retry, from_step=from_step, extend=True)
        self.fails, self.kills, self.ledger.dies = None, None, False

    def ask_job(self, job: Job) -> None:
        """Note what a job may do: all steps of a new run, else those that are not complete or were asked for."""
        key = PartitionKey.parse(job.partition)
        known = [run for run in self.ledger.list_runs(partition=key, limit=1000) if run.run_id == job.run_id]
        first = 0
        if job.before is not None and known:
            first = next((i for i, name in enumerate(STEPS) if not self.is_complete(known[0], name)), len(STEPS))
            first = min(first, STEPS.index(job.from_step) if job.from_step else first)
        self.ask(f"{key.tier}|{job.request.batch_id}", STEPS[first:])

    # -- what holds -------------------------------------------------------------------------------------------------

    def ask(self, capture_id: str, steps) -> None:
        for name in steps:
            self.asked[capture_id, name] += 1

    def is_complete(self, found: RunRecord, name: str) -> bool:
        records: list[StepRecord] = self.ledger.steps(found.key, [name])
        return bool(records) and records[0].status is StepStatus.OK

    @invariant()
    def ok_never_without_every_effect(self) -> None:
        """What is ok, complete or current has the effect of every step."""
        for found in self.ledger.list_runs(status=RunStatus.OK, limit=1000):
            self.has_all(str(found.context.capture_id))
        for capture in self.ledger.captures():
            if capture.state is CaptureState.COMPLETE:
                self.has_all(capture.key.capture_id)
        for batch in BATCHES:
            for outcome in self.ledger.batches.iter_outcomes(batch):
                if outcome.state is PartitionState.OK:
                    self.has_all(f"{outcome.partition.removeprefix('tier=')}|{batch}")

    def has_all(self, capture_id: str) -> None:
        missing = [name for name in STEPS if not self.effects[capture_id, name]]
        assert not missing, f"{capture_id} is shown as done without {missing}"

    @invariant()
    def ok_is_a_complete_capture(self) -> None:
        """A batch calls a partition ok if and only if its capture is complete."""
        for batch in BATCHES:
            ok = {
                outcome.partition.removeprefix("tier=")
                for outcome in self.ledger.batches.iter_outcomes(batch)
                if outcome.state is PartitionState.OK
            }
            complete = {
                capture.partition.tier
                for capture in self.ledger.captures()
                if capture.state is CaptureState.COMPLETE and capture.key.capture_id.endswith(batch)
            }
            assert ok == complete

    @invariant()
    def no_effect_twice_without_being_asked(self) -> None:
        """A step had no more effects in a rule than it was asked for."""
        for what, count in (self.effects - self.before).items():
            assert count <= self.asked[what], f"{what} ran {count} times and was asked for {self.asked[what]} times"
        self.asked, self.before = Counter(), Counter(self.effects)

    @invariant()
    def status_counts_each_partition_once(self) -> None:
        """The counts of a batch add up to the partitions that it was last asked for, whatever its scheme has by now."""
        for batch in BATCHES:
            known = {str(found.context.partition) for found in self.ledger.list_runs(batch_id=batch, limit=1000)}
            if known:
                planned = self.ledger.batches.get(batch).total
                assert BatchStatus.of(self.ledger, batch, self.flow).total == (planned or len(known))


Runs.TestCase.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
test_whatever_happens = Runs.TestCase
test_whatever_happens.__doc__ = "Whatever happens to runs, what is shown is what the steps did."
