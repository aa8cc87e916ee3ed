"""Steps read other partitions and workflows on each engine as they do here, from runs of any of them."""

from __future__ import annotations

import pytest

from adapters.input_flows import DAYS, workflows
from flowctx import ErrorCategory, run
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
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
