"""DAGs with ``fail_fast=True``, where Airflow stops all that is left as soon as a task has failed."""

from __future__ import annotations

import pytest
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session

from adapters.engine_servers import Airflow
from flowctx import Backfill, PartitionScheme, StepResult, Workflow, WorkflowError
from flowctx.airflow import workflow_dag
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.core.batches.records import PartitionState
from flowctx.ledger import open_ledger
from flowctx.testing import run_dag


def joined(name: str, **join: str) -> Workflow:
    """Return a workflow with two branches and a step that follows both."""
    flow = Workflow(name, partitions=PartitionScheme(symbol=["IBM"]))
    flow.step("fetch", after=[])(lambda ctx: StepResult.fail("40% in a day", category="DATA_QUALITY"))
    flow.step("news", after=[])(lambda ctx: {"n": 1})
    flow.step("report", after=["fetch", "news"], **join)(lambda ctx: {"n": 2})
    return flow


def test_a_join_may_be_of_a_dag_that_fails_fast() -> None:
    """A step that follows several runs after successes alone, as Airflow wants it there."""
    for arguments in ({}, {"map_over": ["symbol"]}):
        dag = workflow_dag(joined("fast"), fail_fast=True, **arguments)
        assert {task.trigger_rule for task in dag.tasks} == {"all_success"}


@pytest.mark.parametrize(
    ("join", "arguments", "words"),
    [
        ({"run_if": "not_failed"}, {}, "step 'report' with run_if='not_failed' also runs after others; leave out"),
        ({"run_if": "always"}, {}, "step 'report' with run_if='always' also runs after others; leave out fail_fast="),
        ({}, {"map_over": ["symbol"], "reduce": lambda ctx: {}}, "and reduce= also runs after others"),
    ],
)
def test_what_runs_after_failures_or_skips_cannot_fail_fast(join, arguments, words: str) -> None:
    """Airflow refuses such trigger rules there: the error names the step and what to leave out."""
    with pytest.raises(WorkflowError, match=words):
        workflow_dag(joined("slow", **join), fail_fast=True, **arguments)


@pytest.mark.needs("airflow", "partitioned runs")  # as the server here
def test_a_failure_that_stops_the_rest_is_no_cancellation(airflow: Airflow) -> None:
    """The launcher calls the run failed by the word of the step, although Airflow has skipped what had not begun."""
    flow = joined("quick")
    dag = workflow_dag(flow, fail_fast=True)
    result = run_dag(dag, partition="IBM")
    with create_session() as session:
        found = session.query(TaskInstance).filter_by(dag_id=dag.dag_id, run_id=result.run_id)
        airflow.tasks = [
            {name: getattr(ti, name) for name in ("task_id", "state", "try_number", "operator_name")} for ti in found
        ]
    assert {(ti["task_id"], ti["state"], ti["try_number"]) for ti in airflow.tasks} >= {
        ("fetch", "failed", 1),
        ("report", "skipped", 0),
    }
    airflow.state, airflow.handed_on = "failed", {"status": "failed", "error": result["fetch"].error}
    airflow.structure = [
        {"task_id": task.task_id, "downstream_task_ids": sorted(task.downstream_task_ids)} for task in dag.tasks
    ]
    ledger = open_ledger("memory://")
    backfill = Backfill(flow, "symbol=IBM", "b", ledger=ledger)
    assert backfill.launch(AirflowLauncher(airflow.url)).ended == {PartitionState.FAILED: 1}
    (told,) = ledger.batches.iter_outcomes("b")
    assert (told.step, told.error) == ("fetch", "40% in a day")
    backfill.launch(AirflowLauncher(airflow.url))
    assert airflow.cleared == []
    backfill.launch(AirflowLauncher(airflow.url), retry_failed=True)
    assert [body["task_ids"] for body in airflow.cleared] == [["fetch", "report"]]
