"""The bulk DAG: its tasks run slices of a batch, and its run fails if some partitions have not ended well."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.models.asset import AssetEvent
from airflow.sdk import Asset
from airflow.utils.session import create_session

import adapters.airflow_support  # noqa: F401 - before Airflow
from adapters.test_airflow_ledger import clear
from backfill.bulk_batch import Bulk
from backfill.flows import flow
from flowctx import PartitionKey, Workflow, WorkflowError
from flowctx.airflow import _compat, workflow_bulk_dag
from flowctx.airflow import bulk as airflow_bulk
from flowctx.airflow._versions import AIRFLOW
from flowctx.backfill.bulk import slice_of
from flowctx.backfill.slices import split
from flowctx.core.durability.ledger import Ledger

ABLE = AIRFLOW.able("partitions in events")
BAD = "date=2012-01-03|tier=T2"


def key(partition: str) -> str:
    """Return Airflow's key of a partition."""
    return "|".join(PartitionKey.parse(partition).values())


def told(run: Any) -> list[str]:
    """Return the partitions of which a run told assets, as often as it did."""
    with create_session() as session:
        events = session.query(AssetEvent).filter_by(source_run_id=run.run_id).all()
        if ABLE:
            return [event.partition_key for event in events]
        return [key(text) for event in events for text in event.extra["partitions"]]


def ran(dag: Any, conf: dict[str, Any]) -> Any:
    """Run a DAG, and return its run."""
    _compat.migrate()
    _compat.register(dag)
    return dag.test(run_conf=conf)


def test_slices_are_mapped_tasks_and_partitions_are_events(ledger: Ledger) -> None:
    """Each slice is a task; each partition that is captured makes an event; the run fails where one has failed."""
    bulk = Bulk(ledger, "date=2012-01-02..2012-01-05", 2, fail=[BAD])
    run = ran(workflow_bulk_dag(flow, outlets=[Asset("filled")]), {"bulk": bulk.conf})
    states = {(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()}
    assert states == {
        ("plan", -1): "success",
        ("run_slice", 0): "success",
        ("run_slice", 1): "success",
        ("tell", -1): "success",
        ("result", -1): "failed",
    }
    assert str(run.state) == "failed"
    assert bulk.counts() == {"ok": 11, "failed": 1}
    assert sorted(told(run)) == sorted(key(text) for text in bulk.partitions() if text != BAD)


def test_without_outlets_no_asset_is_told(ledger: Ledger) -> None:
    """The DAG has no task that tells of failed slices, and no task makes an event, whether or not slices fail."""
    bulk = Bulk(ledger, "date=2012-01-02..2012-01-05", 2)
    list(bulk.process().run())  # as a try does that dies later
    first, second = bulk.conf["slices"]
    conf = {**bulk.conf, "slices": [{**first, "digest": "another"}, second]}
    dag = workflow_bulk_dag(flow, default_args={"retries": 0})
    assert set(dag.task_ids) == {"plan", "run_slice", "result"}
    run = ran(dag, {"bulk": conf})
    assert told(run) == []
    states = {(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()}
    assert (states["run_slice", 0], states["run_slice", 1]) == ("failed", "success")
    assert bulk.counts() == {"ok": 12}


def test_assets_are_told_of_what_a_failed_slice_has_captured(ledger: Ledger) -> None:
    """A slice that dies for good makes no events of what it captured: a task after it does, and of nothing else."""
    bulk = Bulk(ledger, "date=2012-01-02..2012-01-05", 2)
    list(bulk.process().run())  # as a try does that dies later
    first, second = bulk.conf["slices"]
    conf = {**bulk.conf, "slices": [{**first, "digest": "another"}, second]}
    run = ran(workflow_bulk_dag(flow, outlets=[Asset("filled")], default_args={"retries": 0}), {"bulk": conf})
    states = {(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()}
    assert (states["run_slice", 0], states["run_slice", 1], states["tell", -1]) == ("failed", "success", "success")
    assert sorted(told(run)) == sorted(map(key, bulk.partitions()))


def test_assets_are_told_of_a_slice_that_died_after_its_word(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has handed on is in XCom before Airflow makes its events: it has told of nothing."""
    bulk = Bulk(ledger, "date=2012-01-02..2012-01-05", 2)
    execute = airflow_bulk.RunSlice.execute

    def dying(task: Any, context: Any) -> None:
        context["ti"].xcom_push(key="return_value", value=execute(task, context))
        raise OSError("killed")

    monkeypatch.setattr(airflow_bulk.RunSlice, "execute", dying)
    dag = workflow_bulk_dag(flow, outlets=[Asset("filled")], default_args={"retries": 0})
    run = ran(dag, {"bulk": bulk.conf})
    assert sorted(told(run)) == sorted(map(key, bulk.partitions()))


def test_assets_are_told_once_of_slices_that_are_cleared(ledger: Ledger) -> None:
    """A slice that is cleared tells of what it makes then, and not again of what it, or ``tell``, has told of."""
    bulk = Bulk(ledger, "date=2012-01-02..2012-01-05", 2, fail=[BAD])
    dag = workflow_bulk_dag(flow, outlets=[Asset("filled")], default_args={"retries": 0})
    first, second = bulk.conf["slices"]
    died = {**bulk.conf, "slices": [{**first, "digest": "another"}, second]}
    list(bulk.process(slice_of(split(flow, bulk.plan.selection, [], 4)[0])).run())  # as a try does that dies later
    run = ran(dag, {"bulk": died})
    made = len(told(run))
    assert made == bulk.counts()["ok"] < 11
    for conf, count in ((died, made), (bulk.conf, 11), (bulk.conf, 11)):
        clear(dag, run.run_id, "plan", "run_slice", "tell", "result", conf={"bulk": conf})
        assert len(told(run)) == count == bulk.counts()["ok"]
    assert len(set(told(run))) == 11


def test_a_run_fails_that_could_not_tell_assets(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task after failed slices has failed, too: so does the run, and once cleared, the task tells of it all."""
    bulk = Bulk(ledger, "date=2012-01-02..2012-01-05", 2)
    list(bulk.process().run())  # as a try does that dies later
    first, second = bulk.conf["slices"]
    conf = {**bulk.conf, "slices": [{**first, "digest": "another"}, second]}
    tell_assets, away = airflow_bulk._tell_assets, [True]

    def tell(task: Any, *args: Any) -> None:
        if away and isinstance(task, airflow_bulk.TellOfFailed):
            raise OSError("away")
        tell_assets(task, *args)

    monkeypatch.setattr(airflow_bulk, "_tell_assets", tell)
    dag = workflow_bulk_dag(flow, outlets=[Asset("filled")], default_args={"retries": 0})
    run = ran(dag, {"bulk": conf})
    states = {(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()}
    assert (states["tell", -1], states["result", -1], str(run.state)) == ("failed", "failed", "failed")
    away.clear()
    clear(dag, run.run_id, "tell", "result")
    assert sorted(told(run)) == sorted(map(key, bulk.partitions()))
    clear(dag, run.run_id, "tell", "result")
    assert len(told(run)) == 12


@pytest.mark.parametrize(("defaults", "tries"), [({}, (2, 10)), ({"retries": 5, "owner": "me"}, (5, 10))])
def test_a_slice_is_tried_again(defaults: dict[str, Any], tries: tuple[int, int]) -> None:
    """Twice, after ten seconds, unless the DAG says how often."""
    task = workflow_bulk_dag(flow, default_args=defaults).get_task("run_slice")
    assert (task.retries, task.retry_delay.total_seconds()) == tries


def test_a_workflow_that_tasks_cannot_import_is_refused() -> None:
    """So is one without partitions: both when the DAG is made."""
    nameless = Workflow("nameless", partitions=flow.partitions)
    nameless.step("only")(lambda ctx: None)
    with pytest.raises(WorkflowError, match="cannot be imported by the processes that run slices; bind it to a name"):
        workflow_bulk_dag(nameless)
    plain = Workflow("plain")
    plain.step("only")(lambda ctx: None)
    with pytest.raises(WorkflowError, match="workflow 'plain' has no partitions to run in bulk"):
        workflow_bulk_dag(plain)
