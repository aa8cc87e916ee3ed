"""Which versions are read when a run goes on, or steps run again, after what they read was restated."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import dagster as dg
import pytest

from adapters.dagster_support import QUIET, persistent_instance
from adapters.test_airflow_ledger import clear
from flowctx import Daily, PartitionScheme, StepResult, Workflow, resume, run
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.dagster import workflow_definitions
from flowctx.dagster.running import run_assets

DAY = "2026-01-05"
DAYS = PartitionScheme(date=Daily(start=DAY))
FLAG = "FLOWCTX_TEST_FAILS"
#: While it is set, what is read goes nowhere.
AWAY = "FLOWCTX_TEST_AWAY"
nav = Workflow("read_nav", partitions=DAYS, params={"price": 100})


@nav.step()
def value(ctx):
    """Return the price of the day."""
    return {"n": ctx.params["price"]}


def reader(*, mended=False):
    """Return a workflow that reads the price, after a step that fails while the flag is set; or with other code."""
    flow = Workflow("reads_again", partitions=DAYS)

    def gate(ctx):
        return StepResult.fail("not yet", category="DATA_QUALITY") if os.environ.get(FLAG) else {}

    flow.step(name="gate")((lambda ctx: {"mended": True}) if mended else gate)

    @flow.step(inputs={"price": nav.output("value")})
    def line(ctx, *, price):
        if os.environ.get(AWAY):
            return StepResult.fail("the disk is away", category="DATA_QUALITY")
        return {"n": price["n"]}

    return flow


def job():
    """Return the reader's job."""
    defs = dg.Definitions.merge(workflow_definitions(reader()), dg.Definitions(executor=dg.in_process_executor))
    return defs.resolve_job_def("reads_again_job")


def execute(instance, *, parent=None, steps=None, **tags):
    """Run the job for the day, or run it again as Dagster does: from where its parent failed, or some of its steps."""
    how = None
    if parent is not None:
        how = dg.ReexecutionOptions(parent, steps) if steps else dg.ReexecutionOptions.from_failure(parent, instance)
    tags = {"dagster/partition": DAY, **{f"flowctx/{name}": text for name, text in tags.items()}}
    return dg.execute_job(dg.reconstructable(job), instance, run_config=QUIET, tags=tags, reexecution_options=how)


def read_by(ledger, run_id):
    """Return the price that a run has read."""
    return ledger.steps(ledger.get_run(run_id, workflow="reads_again").key, ["line"])[0].output["n"]


@pytest.fixture
def audit(ledger, monkeypatch):
    """The id of a run that failed, and reads what was known before a restatement."""
    run(nav, partition=DAY, batch_id="first").raise_for_failure()
    then = datetime.now(UTC)
    run(nav, partition=DAY, batch_id="second", params={"price": 200}).raise_for_failure()
    monkeypatch.setenv(FLAG, "1")
    assert run(reader(), partition=DAY, run_id="audit", known_at=then)["gate"].status == "failed"
    return "audit"


@pytest.mark.parametrize(
    "engine", [lambda flow, **how: run_dag(workflow_dag(flow), **how), run_assets], ids=["airflow", "dagster"]
)
def test_a_run_as_of_a_time_goes_on_as_of_it_on_every_engine(engine, audit, monkeypatch):
    """It reads what was current then, as it does where it is resumed here."""
    monkeypatch.delenv(FLAG)
    there = engine(reader(), partition=DAY, resume_from=audit).raise_for_failure()
    assert there.context.get_output("line") == {"n": 100}
    assert resume(audit, reader(), partition=DAY).context.get_output("line") == {"n": 100}


def test_a_run_as_of_a_time_that_is_executed_again_stays_so(audit, ledger, tmp_path, jobs_by_name, monkeypatch):
    """Dagster drops the tags of the run, also that which says what it goes on from."""
    with persistent_instance(tmp_path) as instance:
        first = execute(instance, resume_from=audit)
        monkeypatch.delenv(FLAG)
        second = execute(instance, parent=first.run_id)
    assert (first.success, second.success) == (False, True)
    assert read_by(ledger, second.run_id) == 100


def test_a_run_as_of_a_time_that_is_cleared_as_a_whole_stays_so(audit, ledger):
    """Nothing stays of what other code has done, but for what the run is about."""
    there = run_dag(workflow_dag(reader()), partition=DAY, resume_from=audit)
    clear(workflow_dag(reader(mended=True)), there.run_id, "gate", "line")
    assert read_by(ledger, there.run_id) == 100


# -- after a restatement ----------------------------------------------------------------------------------------------


class Here:
    """Runs the reader in this process, and runs it again."""

    def __init__(self, instance):
        self.instance = instance

    def first(self):
        """Run it for the day, and return the run's id."""
        return run(reader(), partition=DAY).run_id

    def goes_on(self, run_id):
        """Go on where it failed."""
        return resume(run_id, reader()).run_id

    def again(self, run_id, step):
        """Run a step again, complete or not, and what follows it."""
        return resume(run_id, reader(), from_step=step).run_id


class OnAirflow(Here):
    """The same with a clear."""

    def first(self):
        return run_dag(workflow_dag(reader()), partition=DAY).run_id

    def goes_on(self, run_id):
        return self.again(run_id, "line")

    def again(self, run_id, step):
        clear(workflow_dag(reader()), run_id, *["gate", "line"][["gate", "line"].index(step) :])
        return run_id


class OnDagster(Here):
    """The same with a re-execution."""

    def first(self):
        return execute(self.instance).run_id

    def goes_on(self, run_id):
        return execute(self.instance, parent=run_id).run_id

    def again(self, run_id, step):
        return execute(self.instance, parent=run_id, steps=[f"reads_again__{step}*"]).run_id


@pytest.fixture(params=[Here, OnAirflow, OnDagster])
def engine(request, ledger, tmp_path, jobs_by_name):
    """Where the reader runs; the price of the day is 100."""
    price(100, "first")
    with persistent_instance(tmp_path / "dagster") as instance:
        yield request.param(instance)


def price(n, batch_id):
    """Capture the price of the day."""
    run(nav, partition=DAY, batch_id=batch_id, params={"price": n}).raise_for_failure()


def test_a_step_that_failed_goes_on_with_what_it_has_read(engine, ledger, monkeypatch):
    """Wherever it goes on, it is not made of two versions."""
    monkeypatch.setenv(AWAY, "1")
    failed = engine.first()
    price(200, "second")
    failed = engine.goes_on(failed)
    monkeypatch.delenv(AWAY)
    assert read_by(ledger, engine.goes_on(failed)) == 100


@pytest.mark.parametrize("step", ["gate", "line"])
def test_a_complete_step_that_runs_again_reads_what_is_current(engine, step, ledger, monkeypatch):
    """Somebody asked for it, or for one before it; if it fails then, it goes on with what it has read then."""
    done = engine.first()
    assert read_by(ledger, done) == 100
    price(200, "second")
    monkeypatch.setenv(AWAY, "1")
    failed = engine.again(done, step)
    price(300, "third")
    monkeypatch.delenv(AWAY)
    assert read_by(ledger, engine.goes_on(failed)) == 200


def test_a_failed_step_behind_one_that_runs_again_reads_what_is_current(engine, ledger, monkeypatch):
    """It is made of what that makes now."""
    monkeypatch.setenv(AWAY, "1")
    failed = engine.first()
    price(200, "second")
    monkeypatch.delenv(AWAY)
    assert read_by(ledger, engine.again(failed, "gate")) == 200


def test_a_source_that_was_written_over_is_read_anew_by_a_complete_step(engine, ledger):
    """What a step has read is not there any more; to run it again is how to mend that."""
    done = engine.first()
    price(200, "first")
    assert read_by(ledger, engine.again(done, "line")) == 200


def test_what_runs_again_is_not_read_meanwhile(ledger, monkeypatch):
    """The run is of a batch that failed at a later step: that batch has to wait, as for what it makes first."""
    read, flow = [], Workflow("is_cleared", partitions=DAYS)
    uses = Workflow("uses_cleared", partitions=DAYS)
    uses.step("line", inputs={"price": flow.output("value")})(lambda ctx, *, price: price)

    @flow.step()
    def value(ctx):
        read.append(run(uses, partition=DAY, batch_id="b")["line"])
        return {}

    @flow.step()
    def check(ctx):
        return StepResult.fail("not plausible", category="DATA_QUALITY") if os.environ.get(FLAG) else {}

    monkeypatch.setenv(FLAG, "1")
    failed = run_dag(workflow_dag(flow), partition=DAY, batch_id="b")
    monkeypatch.delenv(FLAG)
    clear(workflow_dag(flow), failed.run_id, "value", "check")
    assert ["which is under way" in line.error for line in read] == [True, True]


def test_a_clear_before_a_step_that_goes_on_from_another_run_reads_anew(ledger, monkeypatch):
    """The run has the reads of the run that it continues, until what was complete there runs again."""
    price(100, "first")
    monkeypatch.setenv(AWAY, "1")
    failed = run(reader(), partition=DAY)
    there = run_dag(workflow_dag(reader()), partition=DAY, resume_from=failed.run_id)
    price(200, "second")
    monkeypatch.delenv(AWAY)
    clear(workflow_dag(reader()), there.run_id, "gate", "line")
    assert read_by(ledger, there.run_id) == 200
