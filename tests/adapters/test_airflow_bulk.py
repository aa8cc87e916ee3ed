"""The bulk DAG: its tasks run slices of a batch, and its run fails if some partitions have not ended well."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import Asset

import adapters.airflow_support  # noqa: F401 - before Airflow
from backfill.bulk_batch import Bulk
from backfill.flows import flow
from flowctx import Workflow, WorkflowError
from flowctx.airflow import _compat, workflow_bulk_dag
from flowctx.core.durability.ledger import Ledger

BAD = "date=2012-01-03|tier=T2"


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
        ("result", -1): "failed",
    }
    assert str(run.state) == "failed"
    assert bulk.counts() == {"ok": 11, "failed": 1}


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
