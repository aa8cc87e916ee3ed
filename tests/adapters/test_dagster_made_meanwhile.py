"""A run that is executed again after one of its assets was made again alone: it goes on with what it had itself."""

import os

import dagster as dg
import pytest

from adapters.dagster_support import QUIET, persistent_instance
from flowctx import Daily, PartitionScheme, Workflow
from flowctx.core.durability.records import RunStatus
from flowctx.dagster import workflow_definitions

pytestmark = pytest.mark.usefixtures("jobs_by_name")
DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
NUMBER = "FLOWCTX_TEST_NUMBER"
FAILS = "FLOWCTX_TEST_FAILS"

flow = Workflow("meanwhile", partitions=DAYS)


@flow.step()
def one(ctx):
    """Return the number."""
    return {"n": int(os.environ[NUMBER])}


@flow.step()
def two(ctx):
    """Return twice the number, whatever the step before has."""
    return {"n": 2 * int(os.environ[NUMBER])}


@flow.step()
def three(ctx):
    """Fail while the flag is set; else say what both are."""
    if os.environ.get(FAILS):
        raise ValueError("not yet")
    return {"one": ctx.get_output("one", "n"), "two": ctx.get_output("two", "n")}


def asset_job() -> dg.JobDefinition:
    """Return the workflow's asset job."""
    defs = dg.Definitions.merge(workflow_definitions(flow), dg.Definitions(executor=dg.in_process_executor))
    return defs.resolve_job_def("meanwhile_job")


def execute(instance, *steps, parent=None):
    """Run the job for a day, or steps of it; or run it again from failure."""
    options = dg.ReexecutionOptions.from_failure(parent, instance) if parent else None
    return dg.execute_job(
        dg.reconstructable(asset_job),
        instance,
        run_config=QUIET,
        tags={"dagster/partition": "2012-10-26", "flowctx/batch_id": "b"},
        asset_selection=[dg.AssetKey(["meanwhile", step]) for step in steps] or None,
        reexecution_options=options,
    )


@pytest.mark.parametrize("again", ["one", "two"])
def test_a_reexecution_goes_on_with_what_its_run_had(again, ledger, tmp_path, monkeypatch):
    """What it keeps is read as its own run has made it, directly before the step that failed and further back."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FAILS, "1")
        monkeypatch.setenv(NUMBER, "1")
        first = execute(instance)
        monkeypatch.setenv(NUMBER, "50")
        assert execute(instance, again).success
        monkeypatch.delenv(FAILS)
        last = execute(instance, parent=first.run_id)
    found = ledger.get_run(last.run_id)
    steps = {record.step: record.output for record in ledger.steps(found.key)}
    assert (found.status, steps["one"], steps["two"]) == (RunStatus.OK, {"n": 1}, {"n": 2})
    assert steps["three"] == {"one": 1, "two": 2}
