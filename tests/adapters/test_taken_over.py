"""What is about a run that continues another one sees what its steps see: dates, ids and parameters of that one."""

from contextlib import nullcontext
from datetime import UTC, datetime

import adapters.airflow_support  # noqa: F401  # before Airflow is imported

# isort: split
import dagster as dg
import pytest
from airflow.sdk import DAG, BaseOperator, task

from adapters.dagster_support import Bench
from flowctx import LedgerUnavailable, PartitionScheme, UnknownRun, Workflow, run
from flowctx.airflow import StepOperator, workflow_dag
from flowctx.airflow import workflow_context as airflow_context
from flowctx.airflow.running import run_dag
from flowctx.dagster import asset_key, partitions_def
from flowctx.dagster import workflow_context as dagster_context

ABOUT = "{{ macros.flowctx.as_of_date }} {{ macros.flowctx.batch_id }} {{ macros.flowctx.params.limit }}"
BROKEN = [True]


@pytest.fixture(autouse=True)
def broken():
    """The second step fails until it is mended."""
    BROKEN[:] = [True]


def identity(ctx):
    """Return what a context says of the run."""
    return f"{ctx.as_of_date} {ctx.batch_id} {ctx.params['limit']}"


def taken(name, **how):
    """Return a workflow whose second step says who the run is, and what its configuration says of it."""
    flow = Workflow(name, params={"limit": 1, "other": 1}, **how)
    flow.step("load")(lambda ctx: {})

    @flow.step()
    def check(ctx, config):
        if BROKEN[0]:
            raise ValueError("down")
        return {"ctx": identity(ctx), "config": config.get("about"), "ids": [ctx.capture_id, ctx.idempotency_key]}

    return flow


def first_run(flow, ledger, **how):
    """Return a run that failed here, of another day, batch and limit than those of its DAG."""
    failed = run(flow, params={"limit": 2}, batch_id="B", ledger=ledger, **how)
    BROKEN[:] = [False]
    return failed


def test_templates_and_tasks_of_airflow_see_what_a_step_sees(ledger):
    """Before any step has begun, beside the steps and in the configuration of one; what is given anew wins."""
    flow, rows = taken("told"), []
    with DAG("told_dag", schedule=None, params={"limit": 1}) as dag:

        @task
        def before():
            rows.append(identity(airflow_context()))

        @task
        def after(text):
            ctx = airflow_context(workflow=flow)
            rows.extend([identity(ctx), text, ctx.capture_id, ctx.idempotency_key, ctx.params["other"]])

        def beside(ctx, config):
            return {"ctx": identity(ctx), "config": config["about"], "own": ctx.idempotency_key}

        steps = [StepOperator(step=flow["load"], workflow=flow)]
        steps.append(StepOperator(step=flow["check"], workflow=flow, config={"about": ABOUT}))
        steps.append(StepOperator(step=beside, workflow=flow, config={"about": ABOUT}))
        before() >> steps[0] >> steps[1] >> steps[2] >> after(ABOUT)
    failed = first_run(flow, ledger, as_of_date="2026-01-09")
    done = run_dag(dag, resume_from=failed.run_id, params={"other": 3}).raise_for_failure()
    same = "2026-01-09 B 2"
    ids = [failed.context.capture_id, failed.context.idempotency_key]
    assert done.context.get_output("check") == {"ctx": same, "config": same, "ids": ids}
    assert rows == [same, same, same, *ids, 3]
    own = done.context.get_output("beside")
    assert (own["ctx"], own["config"], own["own"] != ids[1]) == (same, same, True)
    [record] = ledger.steps(ledger.get_run(done.run_id, workflow="told").key, ["check"])
    assert record.config["about"] == same


@pytest.mark.parametrize("of_workflow", [True, False])
def test_what_is_beside_has_no_other_date_and_keeps_what_the_dag_declares(ledger, of_workflow):
    """Where the run that goes on has no date, a logical date makes none; a step of no workflow runs, too."""
    flow, seen = taken("undated"), {}

    @task
    def plain():
        ctx = airflow_context()
        seen["plain"] = ctx.as_of_date, ctx.metadata["as_of_source"], ctx.params["table"], ctx.params["limit"]

    def beside(ctx):
        seen["step"] = ctx.as_of_date, ctx.metadata["as_of_source"], ctx.params["table"], ctx.params["limit"]

    with DAG(f"undated_dag_{of_workflow}".lower(), schedule=None, params={"table": "prices"}) as dag:
        for step in flow.steps.values():
            StepOperator(step=step, workflow=flow)
        dag.get_task("load") >> dag.get_task("check") >> plain()
        dag.get_task("check") >> StepOperator(step=beside, workflow=flow if of_workflow else None)
    failed = run(flow, params={"limit": 2}, run_id="undated_1", ledger=ledger)
    BROKEN[:] = [False]
    done = run_dag(dag, resume_from=failed.run_id, logical_date=datetime(2026, 1, 9, tzinfo=UTC))
    done.raise_for_failure()
    assert seen == dict.fromkeys(["plain", "step"], (None, "none", "prices", 2))


def test_a_step_after_all_instances_sees_what_they_see(ledger):
    """The batch and the parameters of the run that goes on are those of its instances, also before one has run."""
    flow = taken("told_each", partitions=PartitionScheme(symbol=["AAPL", "IBM"]))

    def both(ctx):
        return {"told": [ctx.batch_id, ctx.params["limit"]]}

    dag = workflow_dag(flow, map_over=["symbol"], reduce=both)
    failed = run_dag(dag, params={"limit": 2}, batch_id="B")
    BROKEN[:] = [False]
    done = run_dag(dag, resume_from=failed.run_id).raise_for_failure()
    assert done.context.get_output("both", "told") == ["B", 2]
    assert (done.context.batch_id, done.context.params["limit"]) == ("B", 2)


def test_a_task_does_not_begin_in_a_run_that_continues_an_unknown_one(ledger):
    """It would be about another day than what it goes on with."""
    flow, seen = taken("told_nowhere"), []
    with workflow_dag(flow) as dag:

        @task
        def look():
            try:
                airflow_context()
            except UnknownRun as exc:
                seen.append(str(exc))

        look()
    run_dag(dag, resume_from="nowhere")
    assert ["remembers no run 'nowhere'" in text for text in seen] == [True]


@pytest.mark.parametrize("away", [False, True])
def test_a_callback_has_a_context_where_a_run_cannot_continue_another(ledger, monkeypatch, away):
    """Its alert is what tells of that: it is warned, and sees what the run says itself."""
    alerts, flow = [], taken("told_of_failure")
    if away:
        monkeypatch.setenv("FLOWCTX_LEDGER_URL", "sqlite:////nowhere/at/all.db")
    dag = workflow_dag(flow, default_args={"on_failure_callback": lambda context: alerts.append(seen(context))})

    def seen(context):
        ctx = airflow_context(context=context)
        return ctx.run_id, ctx.batch_id

    with pytest.raises(LedgerUnavailable) if away else nullcontext():
        run_dag(dag, run_id=f"mine{away}", batch_id="B", resume_from="nowhere")
    assert (f"mine{away}", "B") in alerts


def test_an_operator_with_a_workflow_of_its_own_has_templates():
    """What it calls so is another thing; its run is of the workflow that the DAG has steps of."""
    seen = []

    class Cloud(BaseOperator):
        template_fields = ("text",)

        def __init__(self, *, workflow, text, **kwargs):
            super().__init__(**kwargs)
            self.workflow, self.text = workflow, text

        def execute(self, context):
            seen.append(self.text)

    BROKEN[:] = [False]
    with workflow_dag(taken("beside_cloud")) as dag:
        Cloud(task_id="cloud", workflow={"main": {}}, text="{{ macros.flowctx.params.limit }}")
    run_dag(dag, params={"limit": 2}).raise_for_failure()
    assert seen == ["2"]


def test_an_op_of_dagster_sees_what_a_step_sees(ledger, tmp_path):
    """An asset beside those of the workflow, given the workflow, is about what the run goes on with."""
    flow, rows = taken("told_there"), []

    @dg.asset
    def beside(context: dg.AssetExecutionContext) -> None:
        ctx = dagster_context(context, workflow=flow)
        rows.extend([identity(ctx), ctx.capture_id, ctx.idempotency_key])

    failed = first_run(flow, ledger, as_of_date="2026-01-09")
    bench = Bench(flow, tmp_path, beside)
    assert bench.run(tags={"flowctx/resume_from": failed.run_id}).success
    assert rows == ["2026-01-09 B 2", failed.context.capture_id, failed.context.idempotency_key]


@pytest.mark.parametrize("batch", [{}, {"flowctx/batch_id": "B"}])
def test_an_asset_reads_and_stores_the_capture_that_goes_on(ledger, tmp_path, batch):
    """Though another run of the partition was fine meanwhile: data and context of an asset are of one capture."""
    flow, seen = Workflow("going_on", partitions=PartitionScheme(symbol=["IBM"])), []
    flow.step("load")(lambda ctx: {"by": ctx.run_id})

    @flow.step()
    def check(ctx):
        if BROKEN[0]:
            raise ValueError("down")
        return {"of": ctx.get_output("load", "by")}

    ins = {name: dg.AssetIn(asset_key(flow, name)) for name in flow.steps}

    @dg.asset(ins=ins, partitions_def=partitions_def(flow.partitions), io_manager_key="workflow_io_manager")
    def beside(context: dg.AssetExecutionContext, load, check):
        seen[:] = [dagster_context(context, workflow=flow).capture_id, load["by"], check["of"]]
        return {}

    bench = Bench(flow, tmp_path, beside)
    failed = bench.run("IBM", tags=batch)
    BROKEN[:] = [False]
    assert bench.run("IBM").success
    assert bench.run("IBM", tags={"flowctx/resume_from": failed.run_id}).success
    capture_id = ledger.get_run(failed.run_id).context.capture_id
    assert seen == [capture_id, failed.run_id, failed.run_id]
    assert capture_id in bench.outputs.captures("beside", "IBM")


@pytest.mark.parametrize("scheme", [None, PartitionScheme(symbol=["IBM", "AAPL"])])
def test_an_asset_without_partitions_stores_one_capture_for_each_run_that_goes_on(ledger, tmp_path, scheme):
    """Also of one batch: that of the workflow, or where this has partitions, one of its own."""
    flow = Workflow("going_on_whole", partitions=scheme)

    @flow.step()
    def load(ctx):
        if BROKEN[0]:
            raise ValueError("down")
        return {}

    @dg.asset(deps=[asset_key(flow, "load")], io_manager_key="workflow_io_manager")
    def beside(): ...

    bench, days = Bench(flow, tmp_path, beside), ["2026-01-05", "2026-01-06"]
    keys = ["IBM", "AAPL"] if scheme else [None, None]
    dates = [{} if scheme else {"flowctx/as_of_date": day} for day in days]
    failed = [bench.run(key, tags={"flowctx/batch_id": "B", **date}) for key, date in zip(keys, dates, strict=True)]
    BROKEN[:] = [False]
    for key, before in zip(keys, failed, strict=True):
        assert bench.run(key, tags={"flowctx/resume_from": before.run_id}).success
    captures = bench.outputs.captures("beside", None)
    assert len(captures) == 2
    if scheme is None:
        assert captures == [ledger.get_run(before.run_id).context.capture_id for before in failed]
