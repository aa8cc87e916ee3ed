"""Steps that have a workflow's partitions and parameters and are none of its own: they are no version of its data."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, chain

from adapters.test_airflow_parts import change
from flowctx import PartitionScheme, StepResult, StepStatus, Workflow, resume, run
from flowctx.airflow import PartitionTimetable, StepOperator, step_task, workflow_dag
from flowctx.airflow.made_elsewhere import _not_made
from flowctx.airflow.running import run_dag
from flowctx.core.durability.records import RunStatus

SYMBOLS = PartitionScheme(symbol=["AAPL", "IBM"])


def prices(name, **how):
    """Return a workflow of two steps."""
    flow = Workflow(name, params={"limit": 1}, **how)

    @flow.step()
    def fetch(ctx):
        return {"n": 1}

    @flow.step()
    def load(ctx):
        return {"n": 2}

    return flow


def publish(ctx):
    """Say where the data is."""
    return {"path": ctx.capture_id, "limit": ctx.params["limit"]}


def current(ledger, flow):
    """Return the runs that wrote the captures of a workflow that are read, and whether their steps are its own."""
    captures = ledger.captures(workflow=flow.name)
    revisions = ledger.current_revisions({capture.key.idempotency_key for capture in captures})
    return [c.run_id for c in captures if revisions.get(c.key.idempotency_key) == c.revision]


def test_a_step_of_none_of_its_workflow_hides_nothing(ledger):
    """It is recorded as a run of its DAG, with the workflow's partition and parameters; the workflow's data stays."""
    flow = prices("px")
    flow.partitions = SYMBOLS
    real = run(flow, partition="IBM", batch_id="b", ledger=ledger)
    with DAG("publish_px", schedule=PartitionTimetable(SYMBOLS)) as dag:
        StepOperator(step=publish, workflow=flow)
    done = run_dag(dag, partition="IBM", batch_id="b").raise_for_failure()
    assert done.context.get_output("publish") == {"path": "IBM|b", "limit": 1}
    assert current(ledger, flow) == [real.run_id]
    assert [found.run_id for found in ledger.list_runs(workflow="px")] == [real.run_id]
    assert [found.run_id for found in ledger.list_runs(workflow="publish_px")] == [done.run_id]
    assert [capture.workflow for capture in ledger.captures(workflow="publish_px")] == ["publish_px"]


def test_a_step_beside_those_of_its_workflow_completes_nothing(ledger):
    """A DAG that is called as its workflow may have steps beside; while its own fail, nothing is captured."""
    flow = prices("beside")
    with workflow_dag(flow) as dag:
        StepOperator(step=publish, workflow=flow)
    done = run_dag(dag, batch_id="b").raise_for_failure()
    found = ledger.get_run(done.run_id, workflow="beside")
    assert (found.status, sorted(ledger.statuses(found.key))) == (RunStatus.OK, ["fetch", "load"])
    assert current(ledger, flow) == [done.run_id]
    own = ledger.get_run(done.run_id, workflow="beside.own")
    assert (own.status, list(ledger.statuses(own.key))) == (RunStatus.OK, ["publish"])


def test_a_function_that_is_called_as_a_step_is_none(ledger):
    """What it does counts, and not its name; the workflow's own function is its step."""
    flow = prices("named")
    with DAG("named_dag") as dag:

        @step_task(workflow=flow)
        def fetch(ctx):
            return {"n": 99}

        fetch()
        StepOperator(step=flow["load"].function, workflow=flow)
    done = run_dag(dag).raise_for_failure()
    assert list(ledger.statuses(ledger.get_run(done.run_id, workflow="named_dag").key)) == ["fetch"]
    assert list(ledger.statuses(ledger.get_run(done.run_id, workflow="named").key)) == ["load"]


def test_a_dag_without_steps_of_a_workflow_makes_none_of_it(ledger):
    """Who reads the workflow waits for no run of it."""
    flow = prices("made")
    with DAG("made_dag") as dag:
        StepOperator(step=publish, workflow=flow)
    run_dag(dag).raise_for_failure()
    assert ledger.engine_names("airflow", "made") == {}


@pytest.mark.parametrize("of_workflow", [True, False])
@pytest.mark.parametrize("where", ["here", "airflow"])
def test_a_step_beside_reads_what_the_workflow_has_made_elsewhere(ledger, of_workflow, where):
    """The workflow's run went on here, or as another run; a task of the DAG's own that is cleared then reads that."""
    flow, version = Workflow(f"moved_{where}_{of_workflow}".lower()), [1]
    flow.step(name="fetch")(lambda ctx: {"version": version[0]})
    flow.step(name="load")(lambda ctx: {"of": ctx.get_output("fetch", "version")})

    def publish(ctx):
        return {"fetch": ctx.get_output("fetch", "version"), "load": ctx.get_output("load", "of")}

    with DAG(f"publish_{flow.name}") as dag:
        fetch, load = (StepOperator(step=step, workflow=flow) for step in flow.steps.values())
        fetch >> load >> StepOperator(step=publish, workflow=flow if of_workflow else None)
    done = run_dag(dag)
    version[0] = 2
    if where == "here":
        resume(done.run_id, flow, from_step="fetch", ledger=ledger).raise_for_failure()
    else:
        run_dag(workflow_dag(flow), resume_from=done.run_id, from_step="fetch").raise_for_failure()
    change(dag, done.run_id, clear=["publish"])
    [made] = ledger.steps(ledger.get_run(done.run_id, workflow=dag.dag_id).key)
    assert made.output == {"fetch": 2, "load": 2}


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.OK])
def test_what_a_lenient_ledger_may_not_have_refuses_nothing(monkeypatch, status):
    """It may have been away when the step was recorded, also while the run goes on."""
    run = SimpleNamespace(run_id="r", workflow="w", status=status)
    assert "try again" in _not_made(run, "load", None) or status is RunStatus.OK
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "lenient")
    assert _not_made(run, "load", None) is None
    assert "failed" in _not_made(run, "load", StepStatus.FAILED)


@pytest.mark.parametrize(
    ("life", "why"),
    [(2, "failed since .*; make it again"), (3, "has not run since .*; make it again"), (4, "is not made yet since ")],
)
def test_a_step_beside_reads_nothing_older_than_what_the_workflow_goes_on_with(ledger, life, why):
    """The step that it reads failed when its run went on here, has not run, or is under way: Airflow's is older."""
    flow, lives, cleared = Workflow(f"stale_{life}"), [1], []

    @flow.step()
    def fetch(ctx):
        if lives[0] == 3:
            raise ValueError("the vendor is down")

    @flow.step()
    def load(ctx):
        if lives[0] == 4:
            cleared.append(change(dag, ctx.run_id, clear=["report"]))
        if lives[0] == 2:
            raise ValueError("bad data")

    def report(ctx): ...

    with DAG(f"report_{flow.name}") as dag:
        chain(*(StepOperator(step=step, workflow=flow) for step in [*flow.steps.values(), report]))
    done = run_dag(dag).raise_for_failure()
    lives[0] = life
    resume(done.run_id, flow, from_step="fetch", ledger=ledger)
    if not cleared:
        change(dag, done.run_id, clear=["report"])
    own = ledger.get_run(done.run_id, workflow=dag.dag_id)
    assert own.status is RunStatus.FAILED
    assert re.search(f"step 'load' of run '.*' of workflow '{flow.name}' {why}", str(own.error))


@pytest.mark.parametrize("how", ["fails", "skips"])
def test_what_reduces_takes_no_older_instance(ledger, how):
    """An instance that failed here since fails it, and one that was skipped here has handed nothing on."""
    flow, ways = Workflow(f"reduced_{how}", partitions=PartitionScheme(fund=["A", "B"])), {}

    @flow.step()
    def fetch(ctx):
        return {"fails": StepResult.fail("bad"), "skips": StepResult.skip("none")}.get(ways.get("now"), {"n": 1})

    def total(ctx):
        return {"seen": {fund: found and found["n"] for fund, found in ctx.get_output("fetch").items()}}

    dag = workflow_dag(flow, map_over=["fund"], reduce=total)
    done = run_dag(dag).raise_for_failure()
    ways["now"] = how
    resume(done.run_id, flow, from_step="fetch", partition="A", ledger=ledger)
    change(dag, done.run_id, clear=["total"])
    (own,) = (run for run in ledger.list_runs(run_id=done.run_id) if run.context.partition is None)
    (record,) = ledger.steps(own.key)
    if how == "fails":
        assert "step 'fetch' of run" in str(record.error)
    else:
        assert record.output == {"seen": {"A": None, "B": 1}}
