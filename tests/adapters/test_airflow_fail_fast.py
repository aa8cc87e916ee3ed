"""DAGs with ``fail_fast=True``, where Airflow stops all that is left as soon as a task has failed."""

from __future__ import annotations

import pytest

from flowctx import PartitionScheme, StepResult, Workflow, WorkflowError
from flowctx.airflow import workflow_dag


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
