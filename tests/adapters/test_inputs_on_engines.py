"""Steps read other partitions and workflows on each engine as they do here, from runs of any of them."""

from __future__ import annotations

import dagster as dg
import pytest
from airflow.sdk import DAG, task

import flowctx.airflow
import flowctx.dagster
from adapters.input_flows import DAYS, workflows
from flowctx import ContextError, Daily, ErrorCategory, PartitionScheme, Workflow, run
from flowctx.airflow import PartitionTimetable, workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.dagster.partitions import partitions_def, to_dagster_key
from flowctx.dagster.running import run_assets
from flowctx.ledger import open_ledger


def on_airflow(flow, **how):
    """Run a workflow with real Airflow tasks."""
    return run_dag(workflow_dag(flow), **how)


RUNNERS = {"local": run, "airflow": on_airflow, "dagster": run_assets}


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A ledger that the environment names."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    return open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.mark.parametrize("engine", RUNNERS)
def test_a_chain_and_a_sum_are_the_same_on_every_engine(engine, ledger):
    """Each date has the one before, and the sum has every fund."""
    nav, desk = workflows(f"same_{engine}")
    for day in DAYS:
        for fund in "AB":
            RUNNERS[engine](nav, partition=f"{day}|{fund}", batch_id="b1").raise_for_failure()
    made = RUNNERS[engine](desk, partition=DAYS[2], batch_id="b1").raise_for_failure()
    assert made.context.get_output("report") == {"A": 14, "B": 14}
    [record] = ledger.steps(ledger.list_runs(workflow=desk.name)[0].key)
    assert [read.capture_id for read in record.inputs["funds"]] == [f"{DAYS[2]}|{fund}|b1" for fund in "AB"]


def test_one_chain_may_run_on_three_engines(ledger):
    """The ledger has what each has made, whichever it was."""
    nav, _ = workflows("across")
    for day, engine in zip(DAYS, RUNNERS, strict=True):
        made = RUNNERS[engine](nav, partition=f"{day}|A").raise_for_failure()
    assert made.context.get_output("total") == {"sum": 14}


@pytest.mark.parametrize("engine", RUNNERS)
def test_what_is_missing_is_said_on_every_engine(engine, ledger):
    """The step fails with the partition and the command."""
    nav, _ = workflows(f"missing_{engine}")
    failed = RUNNERS[engine](nav, partition=f"{DAYS[1]}|A")["value"]
    assert failed.category is ErrorCategory.DEPENDENCY
    assert f"needs partition date={DAYS[0]}|fund=A of workflow 'missing_{engine}_nav'" in failed.error


@pytest.mark.parametrize("engine", RUNNERS)
def test_without_a_ledger_it_is_said_on_every_engine(engine):
    """The step says what to set."""
    nav, _ = workflows(f"nowhere_{engine}")
    assert "set FLOWCTX_LEDGER_URL" in RUNNERS[engine](nav, partition=f"{DAYS[0]}|A")["value"].error


@pytest.mark.parametrize("engine", RUNNERS)
def test_no_older_version_stands_in_for_a_step_that_is_gone_on_any_engine(engine, ledger):
    """Where later code has captured the partition without the step, the message says which steps there are."""
    partitions = PartitionScheme(date=Daily(start=DAYS[0]))
    old, new, reader = (Workflow(f"{name}_{engine}", partitions=partitions) for name in ("gone", "gone", "reads_gone"))
    old.step(name="a")(lambda ctx: {"n": 1})
    new.step(name="a2")(lambda ctx: {"n": 2})
    reader.step(name="copy", inputs={"n": old.output("a").optional()})(lambda ctx, *, n: {"n": n})
    for flow, batch_id in ((old, "first"), (new, "second")):
        RUNNERS[engine](flow, partition=DAYS[0], batch_id=batch_id).raise_for_failure()
    failed = RUNNERS[engine](reader, partition=DAYS[0])["copy"]
    assert failed.category is ErrorCategory.DEPENDENCY
    assert f"capture {DAYS[0]}|second (revision 2, batch second), has no step 'a': it has 'a2'" in failed.error


# -- in tasks and assets that are no steps ----------------------------------------------------------------------------


def read_by_task(item, partition):
    """Read an input in a plain task of Airflow's, in a run for a partition."""
    seen = []
    with DAG(f"plain_{item.workflow.name}", schedule=PartitionTimetable(item.workflow.partitions)) as dag:

        @task
        def report():
            seen.append(flowctx.airflow.read_input(flowctx.airflow.workflow_context(), item))

        report()
    run_dag(dag, partition=partition).raise_for_failure()
    return seen[0]


def read_by_asset(item, partition):
    """Read an input in a plain asset of Dagster's, in a run for a partition."""
    seen, scheme = [], item.workflow.partitions

    @dg.asset(partitions_def=partitions_def(scheme))
    def report(context):
        ctx = flowctx.dagster.workflow_context(context, scheme=scheme)
        seen.append(flowctx.dagster.read_input(ctx, item))

    key = to_dagster_key(scheme.parse(partition), scheme)
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([report], partition_key=key, instance=instance).success
    return seen[0]


@pytest.mark.parametrize("reads", [read_by_task, read_by_asset])
def test_a_plain_task_or_asset_reads_what_a_step_would(reads, ledger):
    """One call with the context that it has."""
    nav, _ = workflows(f"plain_{reads.__name__}")
    for day in DAYS[:2]:
        run(nav, partition=f"{day}|A").raise_for_failure()
    assert reads(nav.output("value").previous(), f"{DAYS[2]}|A") == {"n": 4}
    assert len(reads(nav.output("value").previous(5).where(fund="A"), f"{DAYS[2]}|B")) == 2


def test_a_month_of_dagsters_own_is_not_taken_for_its_first_day(ledger):
    """The scheme has to be named, since its keys look like days."""
    nav = Workflow("plain_month", partitions=PartitionScheme(date=Daily(start="2026-01-01"), fund=["A"]))
    nav.step(name="value")(lambda ctx: {"n": 1})

    @dg.asset(partitions_def=dg.MonthlyPartitionsDefinition(start_date="2026-01-01"))
    def report(context):
        flowctx.dagster.read_input(flowctx.dagster.workflow_context(context), nav.output("value").where(fund="A"))

    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(ContextError, match="scheme="):
        dg.materialize([report], partition_key="2026-01-01", instance=instance)
