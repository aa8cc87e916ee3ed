"""Everything that flowctx makes, of two workflows and twice of one, in one code location."""

from __future__ import annotations

import dagster as dg

from adapters.dagster_support import QUIET
from flowctx import Daily, PartitionScheme, QualityMetrics, StepResult, Workflow, WorkflowContext
from flowctx.dagster import (
    WorkflowContextResource,
    WorkflowIOManager,
    endings_sensor,
    inputs_sensor,
    workflow_bulk_job,
    workflow_definitions,
    workflow_job,
    workflow_schedule,
)
from flowctx.dagster.partitions import to_dagster_key

DAYS = PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-09"), tier=["T1", "T2"])

source = Workflow("source", partitions=DAYS, params={"factor": 2})
first = Workflow("first", partitions=DAYS, params={"factor": 2})
second = Workflow("second", partitions=DAYS, params={"factor": 3})


def _load(ctx: WorkflowContext) -> dict[str, int]:
    return {"n": ctx.params["factor"]}


def _check(ctx: WorkflowContext) -> StepResult:
    return StepResult.ok({"twice": 2 * ctx.get_output("load")["n"]}, quality=QualityMetrics())


source.step(name="load")(_load)
for _flow in (first, second):
    _flow.step(name="load")(_load)
    _flow.step(name="check", inputs={"other": source.output("load")})(lambda ctx, *, other: _check(ctx))


def _all_of(flow: Workflow, folder: str) -> list[dg.Definitions]:
    """Return what can be made of a workflow, its jobs under a second name too."""
    ops, again = workflow_job(flow), workflow_job(flow, f"{flow.name}_again")
    defs = dg.Definitions(
        jobs=[ops, again, workflow_bulk_job(flow), workflow_bulk_job(flow, name=f"{flow.name}_bulk_again")],
        schedules=[workflow_schedule(job, DAYS, name=f"{job.name}_of_ops") for job in (ops, again)],
        sensors=[endings_sensor(flow), inputs_sensor(flow, start="2026-01-05")],
    )
    return [workflow_definitions(flow, base_path=folder, checks=["check"]), defs]


def test_all_that_is_made_of_two_workflows_loads_and_runs(ledger, tmp_path):
    """Names are unique in a code location; the nodes of a job are called as its steps."""
    context = dg.Definitions(resources={"workflow": WorkflowContextResource()})
    folder = str(tmp_path)
    every = [context, *_all_of(first, folder), *_all_of(second, folder), workflow_definitions(source, base_path=folder)]
    defs = dg.Definitions.merge(*every)
    dg.Definitions.validate_loadable(defs)
    outputs = WorkflowIOManager(base_path=folder)
    key = to_dagster_key("2026-01-06|T1", DAYS)
    with dg.DagsterInstance.ephemeral() as instance:
        arguments = {"instance": instance, "partition_key": key, "run_config": QUIET}
        assert defs.resolve_job_def("source_job").execute_in_process(**arguments).success
        for flow in (first, second):
            jobs = [defs.resolve_job_def(name) for name in (flow.name, f"{flow.name}_again", f"{flow.name}_job")]
            for job in jobs:
                assert job.execute_in_process(**arguments).success
            assert [next(iter(job.nodes_in_topological_order)).name for job in jobs[:2]] == ["load", "load"]
            bulk = defs.resolve_job_def(f"{flow.name}__bulk")
            assert [node.name for node in bulk.nodes] == ["run_slice"]
            assert outputs.output([flow.name, "check"], "2026-01-06|T1") == {"twice": 2 * flow.params["factor"]}
    assert {run.workflow for run in ledger.list_runs()} == {"source", "first", "second"}
