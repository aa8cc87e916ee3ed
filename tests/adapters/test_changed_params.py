"""Runs of engines that go on with a workflow that declares other parameters by then."""

import pytest

from adapters.dagster_support import Bench
from adapters.test_airflow_parts import change
from flowctx import Daily, PartitionScheme, StepResult, Workflow, WorkflowChanged, resume
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.core.durability.records import RunStatus

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
DAY = "2012-10-26"
CHANGES = ("parameter 'y' was added", "parameter 'x' was removed", "accept_changes=True")


def redeclared(name, params, broken=(), **how):
    """Return two steps that hand on their parameters, of which the second fails while ``broken`` has something."""
    flow = Workflow(name, params=params, **how)
    flow.step("one", version="1")(lambda ctx: {"params": dict(ctx.params)})

    @flow.step(version="1")
    def two(ctx):
        return StepResult.fail("no", category="DATA_QUALITY") if broken else {"params": dict(ctx.params)}

    return flow


def test_dagster_refuses_to_go_on_with_other_parameters(tmp_path, ledger):
    """A run that continues another names what has changed, and runs no step; accepted, it has what is declared now."""
    failed = Bench(redeclared("moved_d", {"x": 1}, [1], partitions=DAYS), tmp_path).run(DAY)
    bench = Bench(redeclared("moved_d", {"y": 7}, partitions=DAYS), tmp_path)
    tags = {"flowctx/resume_from": failed.run_id}
    refused = bench.run(DAY, tags=tags)
    message = refused.failure_data_for_node("moved_d__one").user_failure_data.description
    assert (refused.success, [text for text in CHANGES if text not in message]) == (False, [])
    assert bench.run(DAY, tags={**tags, "flowctx/accept_changes": "true"}).success
    assert bench.outputs.output("moved_d/two", DAY) == {"params": {"y": 7}}


def test_airflow_refuses_to_go_on_with_other_parameters(ledger):
    """So it is on Airflow, and wherever the run goes on."""
    failed = run_dag(workflow_dag(redeclared("moved_a", {"x": 1}, [1])))
    flow = redeclared("moved_a", {"y": 7})
    refused = run_dag(workflow_dag(flow), resume_from=failed.run_id)
    assert [text for text in CHANGES if text not in refused["one"].error] == []
    with pytest.raises(WorkflowChanged, match="parameter 'y' was added"):
        resume(failed.run_id, flow, ledger=ledger)
    done = resume(failed.run_id, flow, ledger=ledger, accept_changes=True)
    assert done.context.get_output("two", "params") == {"y": 7}


def test_what_an_engine_runs_again_has_the_parameters_that_there_are(ledger):
    """A task that is cleared has the parameters as they are declared by then: its DAG run has been read anew."""
    broken = [1]
    failed = run_dag(workflow_dag(redeclared("cleared_p", {"x": 1}, broken)), batch_id="b")
    broken.clear()
    change(workflow_dag(redeclared("cleared_p", {"y": 7})), failed.run_id, clear=["two"])
    run = ledger.get_run(failed.run_id)
    assert run.status is RunStatus.OK
    assert {one.step: one.output["params"] for one in ledger.steps(run.key)} == {"one": {"x": 1}, "two": {"y": 7}}
