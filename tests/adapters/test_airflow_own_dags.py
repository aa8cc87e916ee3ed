"""A DAG of one's own with single steps in it: what they take, what is recorded, and who is in the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from flowctx import CaptureHeld, WorkflowError, resume
from flowctx.airflow import _compat, step_task
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.ledger import open_ledger
from flowctx.testing import run_dag


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


def test_the_results_of_a_mapped_task_are_a_list_in_the_config(ledger) -> None:
    """What Airflow reads late is a list to the step, wherever it stands in its config, and is recorded so."""
    with DAG("rows_of_all") as dag:

        @task
        def fetch(symbol: str) -> dict:
            return {"symbol": symbol}

        @step_task
        def publish(ctx, config):
            return {"n": len(config["rows"]), "first": config["nested"]["rows"][0]}

        rows = fetch.expand(symbol=["AAPL", "IBM"])
        publish(config={"rows": rows, "nested": {"rows": rows}})
    done = run_dag(dag).raise_for_failure()
    assert done.context.get_output("publish") == {"n": 2, "first": {"symbol": "AAPL"}}
    (record,) = ledger.steps(ledger.get_run(done.run_id).key)
    assert record.config["rows"] == [{"symbol": "AAPL"}, {"symbol": "IBM"}]


def test_a_config_that_cannot_be_is_a_recorded_failure(ledger) -> None:
    """A step whose config holds what is no plain data fails, is recorded without it, and its run is over."""
    with DAG("odd_config") as dag:

        @task
        def symbols():
            return {"IBM"}

        @step_task
        def publish(ctx, config):
            return None

        publish(config={"symbols": symbols()})
    found = ledger.get_run(run_dag(dag).run_id)
    (record,) = ledger.steps(found.key)
    assert found.status is RunStatus.FAILED
    assert "config['symbols'] is a" in record.error


def one_step(dag_id: str) -> DAG:
    """Return a DAG of one step."""
    with DAG(dag_id) as dag:

        @step_task
        def load(ctx):
            return {"rows": 3}

        load()
    return dag


def hold(ledger, dag: DAG) -> RunRecord:
    """Return a run of the DAG that holds the capture of batch b, and that Airflow does not have: it was deleted."""
    ctx = ledger.get_run(run_dag(dag, batch_id="b", as_of_date="2026-01-12").run_id).context
    return ledger.begin(RunRecord(workflow=dag.dag_id, context=replace(ctx, run_id="gone"), steps=("load",)))


def test_a_deleted_run_holds_nothing(ledger) -> None:
    """A run that Airflow no longer has is over: the next one of the batch takes its capture."""
    dag = one_step("deleted")
    gone = hold(ledger, dag)
    run_dag(dag, batch_id="b", as_of_date="2026-01-12").raise_for_failure()
    assert ledger.get_run("gone").status is RunStatus.FAILED
    assert gone.status is RunStatus.RUNNING


@pytest.mark.parametrize(("code", "state"), [(404, _compat.DELETED), (500, None), (None, None)])
def test_a_worker_tells_a_deleted_run_from_a_trouble(code, state) -> None:
    """Only the answer that there is no such run is one; a server in trouble has not said it."""

    class Asked:
        def get_dagrun_state(self, dag_id, run_id):
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": code}))

    assert _compat.dag_run_state(Asked(), "dag", "run") == state


def test_what_holds_a_capture_can_be_freed(ledger) -> None:
    """The refusals name what frees the capture of a dead run of a DAG of one's own: Airflow itself."""
    hold(ledger, one_step("held"))
    with pytest.raises(WorkflowError, match="clear the tasks of the run in Airflow, or mark it as failed there"):
        resume("gone", ledger=ledger, take_over=True)
    held = ledger.get_run("gone").context
    with pytest.raises(CaptureHeld, match="if it is dead and its engine still calls it running, mark it as failed"):
        ledger.begin(RunRecord(workflow="held", context=replace(held, run_id="other")))
