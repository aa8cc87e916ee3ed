"""Runs that go on elsewhere: engines find what was done, and what is asked for runs."""

from __future__ import annotations

import dagster as dg
import pytest

from adapters.dagster_support import Bench
from adapters.test_airflow_parts import change
from flowctx import Daily, PartitionScheme, StepResult, Workflow, resume, run
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.records import CaptureState, RunRecord, RunStatus, StepRecord
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_context import begin
from flowctx.dagster import run_assets

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
DAY = "2012-10-26"


def chain(name, broken, calls=None, **how):
    """Return three steps of which the second fails while ``broken`` has something in it."""
    flow, calls = Workflow(name, **how), calls if calls is not None else []

    @flow.step()
    def first(ctx):
        calls.append("first")
        return {"n": 1, "large": "x" * 60_000}

    @flow.step()
    def second(ctx):
        calls.append("second")
        return (
            StepResult.fail("not yet", category="DATA_QUALITY") if broken else {"n": ctx.get_output("first", "n") + 1}
        )

    @flow.step()
    def third(ctx):
        calls.append("third")
        return {"n": ctx.get_output("second", "n") + 1, "first": len(ctx.get_output("first", "large"))}

    return flow


def test_assets_after_a_resume_here(tmp_path, ledger):
    """An asset of one's own and a step of the workflow read on Dagster what a resume here has done."""
    broken, seen = [1], []
    flow = chain("onwards", broken, partitions=DAYS)

    @dg.asset(
        partitions_def=dg.DailyPartitionsDefinition("2012-10-01", end_date="2012-11-01"),
        io_manager_key="workflow_io_manager",
        ins={"third": dg.AssetIn(dg.AssetKey(["onwards", "third"]))},
    )
    def report(third):
        seen.append(third["n"])
        return third

    bench = Bench(flow, tmp_path, report)
    steps = [dg.AssetKey(["onwards", name]) for name in flow.steps]
    failed = bench.run(DAY, tags={"flowctx/batch_id": "b"}, selection=steps)
    broken.clear()
    assert resume(failed.run_id, flow, ledger=ledger).status == "ok"
    assert bench.run(DAY, tags={"flowctx/batch_id": "b"}, selection=[dg.AssetKey("report")]).success
    assert bench.run(DAY, selection=[dg.AssetKey("report")]).success
    assert seen == [3, 3]
    again = bench.run(DAY, tags={"flowctx/batch_id": "b"}, selection=[steps[-1]])
    assert again.success
    assert bench.outputs.output("onwards/third", DAY)["first"] == 60_000


def test_tasks_after_a_resume_here(ledger):
    """A task that is cleared after a resume here reads what that has done, though Airflow's own task failed."""
    broken, calls = [1], []
    flow = chain("cleared_after", broken, calls)
    dag = workflow_dag(flow)
    failed = run_dag(dag)
    broken.clear()
    resume(failed.run_id, flow, ledger=ledger)
    calls.clear()
    change(dag, failed.run_id, mark=["second"], clear=["third"])
    found = ledger.get_run(failed.run_id)
    assert (calls, found.status) == (["third"], RunStatus.OK)
    assert ledger.steps(found.key, ["third"])[0].output["n"] == 3


def test_a_cleared_task_of_a_resumed_run_runs(ledger):
    """What the resumed run handed on as it was runs all the same when somebody clears it, and leaves a part alone."""
    broken, calls = [1], []
    dag = workflow_dag(chain("resumed_then_cleared", broken, calls))
    failed = run_dag(dag)
    broken.clear()
    done = run_dag(dag, resume_from=failed.run_id).raise_for_failure()
    assert calls == ["first", "second", "second", "third"]
    calls.clear()
    change(dag, done.run_id, clear=["first"])
    assert calls == ["first"]
    assert ledger.get_run(done.run_id).status is RunStatus.PARTIAL
    change(dag, done.run_id, clear=["second", "third"])
    assert calls == ["first", "second", "third"]
    assert ledger.get_run(done.run_id).status is RunStatus.OK


def test_what_went_on_is_not_repeated(ledger):
    """Resuming a run that another one continued goes on with that one, and its row says so."""
    broken, calls = [1], []
    flow = chain("continued", broken, calls)
    dag = workflow_dag(flow)
    failed = run_dag(dag)
    second = run_dag(dag, resume_from=failed.run_id)
    assert ledger.get_run(failed.run_id).continued_by == second.run_id
    broken.clear()
    calls.clear()
    done = resume(failed.run_id, flow, ledger=ledger)
    assert (done.run_id, calls) == (second.run_id, ["second", "third"])
    third = run_dag(dag, resume_from=failed.run_id, from_step="third").raise_for_failure()
    assert (calls, third.run_id != second.run_id) == (["second", "third", "third"], True)


def test_a_large_output_is_handed_on(ledger, monkeypatch):
    """A complete step whose output is over the inline limit goes on to Airflow, also where there is no store."""
    broken = [1]
    dag = workflow_dag(chain("large", broken))
    failed = run_dag(dag)
    broken.clear()
    assert run_dag(dag, resume_from=failed.run_id).raise_for_failure().context.get_output("third", "first") == 60_000


def branches(name, broken, *, skips):
    """Return a chain that is complete, or skipped from its second step on, and a branch that fails while ``broken``."""
    flow = Workflow(name, partitions=DAYS)
    flow.step("open")(lambda ctx: {"n": 1})
    flow.step("look")(lambda ctx: StepResult.skip("did not trade") if skips else {"n": 2})
    flow.step("sum")(lambda ctx: {"n": 3})
    flow.step("other", after=[])(
        lambda ctx: StepResult.fail("not yet", category="DATA_QUALITY") if broken else {"n": 4}
    )
    return flow


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("engine", ["airflow", "dagster"])
def test_a_branch_that_was_complete_leaves_a_resumed_run_over(ledger, engine, skips):
    """An engine may come to what is complete after the last step that ran: the run is over all the same, and whole."""
    broken = [1]
    flow = branches(f"branches_{engine}_{skips}".lower(), broken, skips=skips)
    failed = run(flow, partition=DAY, batch_id="b", ledger=ledger)
    broken.clear()
    how = {"partition": DAY, "resume_from": failed.run_id}
    done = run_dag(workflow_dag(flow), **how) if engine == "airflow" else run_assets(flow, **how)
    assert done.status == "ok"
    found = ledger.get_run(done.run_id)
    (capture,) = ledger.captures()
    assert (found.status, capture.state, capture.run_id) == (RunStatus.OK, CaptureState.COMPLETE, done.run_id)


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELED])
@pytest.mark.parametrize("engine", ["local", "airflow", "dagster"])
def test_a_run_that_died_after_its_last_step_can_be_captured(ledger, engine, status):
    """It was called failed or canceled, though all steps are complete: wherever it goes on, it ends and runs none."""
    calls = []
    flow = chain(f"died_{engine}_{status}", [], calls, partitions=DAYS)
    ctx = begin(flow.name, run_id="died", scheme=DAYS, partition=flow.partition_key(DAY), batch_id="b")
    died = ledger.begin(RunRecord(workflow=flow.name, context=ctx, steps=tuple(flow.steps)))
    done = run(flow, partition=DAY, ledger="memory://")
    now = done.context.started_at
    for step in flow.steps:
        output, version = done.context.step_outputs[step], flow[step].code_version
        ended = {"status": StepStatus.OK, "output": output, "after": flow[step].after, "version": version}
        ledger.record(died, [StepRecord(step=step, started_at=now, **ended)])
    end_run(ledger, died, status, "its worker process ended by signal SIGKILL")
    calls.clear()
    how = {"partition": DAY, "resume_from": "died"}
    if engine == "local":
        again = resume("died", flow, ledger=ledger)
    else:
        again = run_dag(workflow_dag(flow), **how) if engine == "airflow" else run_assets(flow, **how)
    found = ledger.get_run(again.run_id)
    (capture,) = ledger.captures()
    assert (again.status, found.status, found.error, calls) == ("ok", RunStatus.OK, None, [])
    assert (capture.state, capture.run_id) == (CaptureState.COMPLETE, again.run_id)


def numbered(name, number, broken):
    """Return three steps of which two say the number, and the last fails while ``broken`` has something in it."""
    flow = Workflow(name, partitions=DAYS)
    flow.step("first")(lambda ctx: {"n": number[0]})
    flow.step("second")(lambda ctx: {"n": number[0]})

    @flow.step()
    def third(ctx):
        if broken:
            return StepResult.fail("not yet", category="DATA_QUALITY")
        return {"first": ctx.get_output("first", "n"), "second": ctx.get_output("second", "n")}

    return flow


@pytest.mark.parametrize("from_step", ["first", "second"])
def test_a_cleared_task_reads_what_a_resume_here_made_anew(ledger, from_step):
    """Airflow still has what the steps handed on before; the ledger has what its run is made of."""
    number, broken = [1], [1]
    flow = numbered(f"anew_{from_step}", number, broken)
    dag = workflow_dag(flow)
    failed = run_dag(dag, partition=DAY)
    number[0] = 50
    resume(failed.run_id, flow, from_step=from_step, ledger=ledger)
    broken.clear()
    change(dag, failed.run_id, clear=["third"])
    found = ledger.get_run(failed.run_id)
    steps = {record.step: record.output for record in ledger.steps(found.key)}
    assert (found.status, steps["second"]) == (RunStatus.OK, {"n": 50})
    assert steps["third"] == {"first": steps["first"]["n"], "second": 50}
