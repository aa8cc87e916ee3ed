"""What steps leave in XCom, in rendered fields and in the events of assets."""

from __future__ import annotations

import contextlib
import json
from collections import Counter

import pytest
from airflow.models.asset import AssetEvent
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, Asset, task
from airflow.sdk.bases.xcom import BaseXCom
from airflow.utils.session import create_session

from flowctx import Daily, PartitionScheme, PayloadError, StepResult, Workflow
from flowctx.airflow import StepOperator, workflow_dag
from flowctx.airflow._versions import AIRFLOW
from flowctx.testing import run_dag

SCHEME = PartitionScheme(date=Daily(start="2012-10-01", calendar="WEEKDAYS"), symbol=["FB", "IBM"])


def rows(model, run_id: str) -> list:
    """Return a table's rows of one run."""
    with create_session() as session:
        return session.query(model).filter_by(run_id=run_id).all()


def test_a_long_chain_costs_what_its_outputs_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 50 steps XCom holds at most 1.2 times the outputs; a task reads its predecessor and what it looks at."""
    flow = Workflow("chain")
    for number in range(50):

        @flow.step(name=f"step_{number}", config={"n": number})
        def step(ctx, config):
            seen = ctx.get_output("step_3", "n") if config["n"] % 25 == 24 else None
            return StepResult.ok({"n": config["n"], "seen": seen, "data": "x" * 4000})

    reads: Counter[str] = Counter()
    get_one = BaseXCom.get_one

    def counted(*, task_id: str, **kwargs):
        reads[task_id] += 1
        return get_one(task_id=task_id, **kwargs)

    monkeypatch.setattr(BaseXCom, "get_one", counted)
    result = run_dag(workflow_dag(flow)).raise_for_failure()
    outputs = sum(len(json.dumps(dict(output))) for output in result.context.step_outputs.values())
    stored = sum(len(json.dumps(row.value)) for row in rows(XComModel, result.run_id))
    assert stored <= 1.2 * outputs
    assert reads.pop("step_3") == 1 + 2
    assert set(reads.values()) == {1}
    assert len(reads) == 48


def test_one_xcom_per_task_of_json_built_ins() -> None:
    """A step pushes its envelope as return_value and nothing else, whatever its annotations say."""
    with DAG("one_xcom") as dag:

        @task.step
        def fetch(ctx) -> dict:
            return {"a": 1, "b": b"\xff"}

        fetch()
    (row,) = rows(XComModel, run_dag(dag).run_id)
    assert (row.key, row.value) == (
        "return_value",
        {"flowctx": "1.0", "step": "fetch", "status": "ok", "output": {"a": 1, "b": {"$bytes": "/w=="}}},
    )


def test_keys_that_airflow_reserves_pass_through_xcom() -> None:
    """Its serialiser fails on some of these keys and rebuilds dicts with others; a step's own come back unchanged."""
    odd = {"__classname__": "a.B", "__version__": 1, "rows": [{"__type": "dict", "__var": {"__id__": 1}}], "$__id__": 2}
    seen = []
    with DAG("reserved_keys") as dag:

        @task.step
        def fetch(ctx):
            return StepResult.ok(odd, context_updates={"__id__": odd})

        @task.step
        def use(ctx):
            seen.append((ctx.get_output("fetch"), ctx.params["__id__"]))

        fetch() >> use()
    run_dag(dag).raise_for_failure()
    assert seen == [(odd, odd)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flowctx": "1.9", "news": 1}, None),
        ({"flowctx": "2.0"}, "has format version 2.0, this flowctx reads up to 1.0; upgrade flowctx here"),
        ({"flowctx": "1.0", "output": {"$date": "?"}}, "damaged"),
    ],
)
def test_payloads_of_other_versions(change: dict, words: str | None) -> None:
    """A newer minor version is read; a newer major one, or a damaged payload, fails the task at once and clearly."""

    class Newer(StepOperator):
        def execute(self, context):
            return {**super().execute(context), **change}

    with DAG("versions") as dag:
        use = StepOperator(step=use_rows, task_id="use", retries=2)
        Newer(step=fetch, task_id="fetch") >> use
    run_id = f"manual__{change['flowctx']}_{words}".replace(" ", "_").replace(";", "").replace(",", "")
    with contextlib.suppress(PayloadError):
        run_dag(dag, run_id=run_id)
    (pushed,) = [row.value for row in rows(XComModel, run_id) if row.task_id == "use"]
    (tried,) = [ti.try_number for ti in rows(TaskInstance, run_id) if ti.task_id == "use"]
    assert tried == 1
    assert pushed["output"] == {"rows": 3} if words is None else words in pushed["error"]


def test_rendered_fields_show_the_context_without_its_secrets() -> None:
    """The UI shows who the run is and the step's config; values that look secret by their name are hidden."""
    flow = Workflow("rendered", partitions=SCHEME, params={"api_token": "t0p-s3cret", "limit": 3})

    @flow.step(config={"max_move": 0.25, "password": "hunter2-x"})
    def fetch(ctx):
        return {"n": len(ctx.params["api_token"])}

    result = run_dag(workflow_dag(flow), partition="2012-10-26|IBM", batch_id="b").raise_for_failure()
    (row,) = rows(RenderedTaskInstanceFields, result.run_id)
    shown = row.rendered_fields["workflow_context"]
    assert shown["partition"] == {"date": "2012-10-26", "symbol": "IBM"}
    assert shown["capture_id"] == "2012-10-26|IBM|b"
    assert shown["step_config"]["max_move"] == 0.25
    assert shown["params"] == {"api_token": "***", "limit": 3}
    assert "s3cret" not in json.dumps(row.rendered_fields)
    assert "hunter2" not in json.dumps(row.rendered_fields)
    assert result.context.get_output("fetch", "n") == 10


def test_asset_events_carry_who_the_run_is() -> None:
    """Batch, trace, date and partition are in the event's extra; a scheme's partition is the event's own key, too."""
    asset = Asset("prices_asset")
    flow = Workflow("produces", partitions=SCHEME)
    flow.step()(fetch)
    dag = workflow_dag(flow)
    dag.get_task("fetch").outlets.append(asset)
    with DAG("produces_by_hand") as plain:
        StepOperator(step=fetch, outlets=[asset])
    for made, partition, key in (
        (dag, "2012-10-26|IBM", "2012-10-26|IBM"),
        (plain, {"date": "2012-10-26", "symbol": "IBM"}, None),
    ):
        result = run_dag(made, partition=partition, batch_id="b", trace_id="t").raise_for_failure()
        with create_session() as session:
            (event,) = session.query(AssetEvent).filter_by(source_run_id=result.run_id).all()
        assert getattr(event, "partition_key", None) == (key if AIRFLOW.able("partitioned runs") else None)
        assert event.extra == {
            "batch_id": "b",
            "trace_id": "t",
            "as_of_date": "2012-10-26",
            "partition": {"date": "2012-10-26", "symbol": "IBM"},
        }


def fetch(ctx) -> dict:
    """Fetch three rows."""
    return {"rows": 3}


def use_rows(ctx) -> dict:
    """Look at what was fetched."""
    return {"rows": ctx.get_output("fetch", "rows")}
