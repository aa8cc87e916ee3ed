"""Tables on Airflow: references in XCom with a preview, plain tasks that open them, runs that go on elsewhere."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pandas as pd
import pytest
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, task
from airflow.utils.session import create_session

from flowctx import ArtifactError, ContextError, MissingKey, StepResult, Workflow, resume, run
from flowctx.airflow import StepOperator, load_output, load_table, workflow_context, workflow_dag
from flowctx.ledger import open_ledger
from flowctx.testing import run_dag

FRAME = pd.DataFrame({"symbol": ["IBM", "AAPL"] * 20_000, "close": [i / 7 for i in range(40_000)]})


def table_flow(broken=()):
    flow = Workflow("tables")

    @flow.step()
    def load(ctx):
        return {"prices": FRAME, "rows": len(FRAME)}

    @flow.step()
    def mean(ctx):
        if broken:
            raise ValueError("not yet")
        return {"mean": float(ctx.get_output("load", "prices").to_pandas()["close"].mean())}

    return flow


def test_xcom_holds_a_reference_and_a_preview(monkeypatch, tmp_path):
    """What is pushed is small: where the table is, its rows and columns, and its first rows for people to see."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(tmp_path))
    dag = workflow_dag(table_flow())
    result = run_dag(dag).raise_for_failure()
    assert result.outputs_digest == run(table_flow()).outputs_digest
    with create_session() as session:
        (row,) = session.query(XComModel).filter_by(run_id=result.run_id, task_id="load").all()
        payload = json.loads(row.value) if isinstance(row.value, str) else row.value
    assert len(json.dumps(payload)) < 1500
    assert "__classname__" not in json.dumps(payload)  # as Airflow writes tuples
    assert payload["output"]["prices"]["$table"]["path"].startswith("shared/tables/")
    preview = payload["tables"]["prices"]
    assert (preview["rows"], preview["columns"]) == (40_000, ["symbol string", "close float64"])
    assert preview["first"][0] == ["IBM", "0.0"]


def test_a_plain_task_opens_a_table(monkeypatch, tmp_path):
    """A task that is no step takes what a step handed on, by name or as the only one, and gets a frame."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(tmp_path))
    seen = {}
    with DAG("mixed") as dag:

        @task.step()
        def load(ctx):
            return FRAME

        @task
        def report(handed_on):
            seen["frame"] = load_table(handed_on).to_pandas()
            seen["again"] = load_table(handed_on["output"]["table"]).rows
            with pytest.raises(ContextError, match="no table 'other'; it has table"):
                load_table(handed_on, "other")

        report(load())
    run_dag(dag).raise_for_failure()
    pd.testing.assert_frame_equal(seen["frame"], FRAME)
    assert seen["again"] == len(FRAME)


def test_a_plain_task_reads_an_output_as_the_step_returned_it():
    """With dates and decimals, of a mapped step one by one; its own context has no outputs, and says so."""
    returned, seen = {"lot": Decimal("1.50"), "day": date(2026, 11, 27), "zero": -0.0}, []
    with DAG("values") as dag:

        @task.step()
        def publish(ctx, config):
            return {**returned, "n": config.get("n")}

        @task
        def report(one, several):
            seen.extend([load_output(one), *map(load_output, several)])
            with pytest.raises(MissingKey, match=r"no output of step 'publish' here: .*; take .* load_output\(\)"):
                workflow_context().get_output("publish")

        report(publish(), publish.expand(config=[{"n": 1}, {"n": 2}]))
    run_dag(dag).raise_for_failure()
    assert list(map(repr, seen)) == [repr({**returned, "n": n}) for n in (None, 1, 2)]


def test_a_plain_task_hears_that_a_step_has_made_nothing():
    """A report that runs whatever happened takes no failure and no skip for an output without values."""
    flow, heard = Workflow("made_nothing"), {}

    @flow.step(after=[])
    def failed(ctx):
        raise ValueError("vendor down")

    @flow.step(after=[], optional=True)
    def tolerated(ctx):
        raise ValueError("vendor down")

    @flow.step(after=[])
    def skipped(ctx):
        return StepResult.skip("no file")

    @flow.step(after="skipped")
    def follows(ctx): ...

    with DAG("reports") as dag:

        @task(trigger_rule="all_done")
        def report(name, handed_on):
            with pytest.raises(ArtifactError) as told:
                load_output(handed_on)
            heard[name] = str(told.value)

        steps = {name: StepOperator(step=flow[name], workflow=flow, retries=0) for name in flow.steps}
        steps["skipped"] >> steps["follows"]
        for name, step in steps.items():
            report.override(task_id=f"report_{name}")(name, step.output)
    run_dag(dag)
    assert heard == {
        "failed": "step 'failed' failed: ValueError: vendor down; it has no output to load",
        "tolerated": "step 'tolerated' failed, which it may: ValueError: vendor down; it has no output to load",
        "skipped": "step 'skipped' was skipped: no file; it has no output to load",
        "follows": "the task before handed nothing on: it has not run, or was skipped after another one",
    }


def test_tables_go_where_xcom_keeps_what_is_large(monkeypatch, tmp_path):
    """Without a store of ours, the object storage of XCom is taken, for tables and large outputs."""
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", f"file://{tmp_path}/xcom")
    run_dag(workflow_dag(table_flow())).raise_for_failure()
    assert len(list((tmp_path / "xcom" / "flowctx" / "shared" / "tables").rglob("*.parquet"))) == 1


def test_a_run_with_tables_that_failed_here_goes_on_there(monkeypatch, tmp_path):
    """A run fails on Airflow and is resumed in this process, with the tables of the steps that are complete."""
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    broken = [True]
    flow = table_flow(broken)
    failed = run_dag(workflow_dag(flow))
    assert failed["mean"].error == "ValueError: not yet"
    assert list((tmp_path / "ledger.db.artifacts").rglob("*.parquet"))
    broken.clear()
    ledger = open_ledger(url)
    done = resume(failed.run_id, flow, ledger=ledger).raise_for_failure()
    assert done.context.get_output("mean", "mean") == pytest.approx(FRAME["close"].mean())
    ledger.close()


@pytest.mark.parametrize("user", ["", "stores@"], ids=["url", "connection"])
def test_the_place_of_object_storage_xcoms_is_the_fallback(user, monkeypatch, tmp_path):
    """Without a place of ours, tables go beside the large XComs of Airflow's own backend, by its connection too."""
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    monkeypatch.setenv("AIRFLOW_CONN_STORES", '{"conn_type": "generic"}')
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", f"file://{user}{tmp_path}/xcoms")
    result = run_dag(workflow_dag(table_flow())).raise_for_failure()
    assert result.outputs_digest == run(table_flow()).outputs_digest
    assert len([*(tmp_path / "xcoms" / "flowctx" / "shared" / "tables").rglob("*.parquet")]) == 1
