"""Assets of a workflow that are materialised again alone: a capture never holds two versions."""

import dagster as dg
import pytest

from adapters.dagster_support import QUIET, Bench, persistent_instance
from flowctx import Backfill, BatchStatus, Daily, PartitionScheme, Workflow, outputs, resume
from flowctx.backfill import LocalLauncher
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.dagster import partitions_def, workflow_definitions

pytestmark = pytest.mark.usefixtures("jobs_by_name")
DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
DAY = "2012-10-26"
TAGS = {"flowctx/batch_id": "b"}


def doubled(number, name="doubled"):
    """Return a workflow whose first step has the code of a number, and whose second one doubles that."""
    flow = Workflow(name, partitions=DAYS)
    flow.step("one", version=str(number))(lambda ctx: {"n": number})
    flow.step("two", version="1")(lambda ctx: {"n": 2 * ctx.get_output("one", "n")})
    flow.step("beside", version="1", after=[])(lambda ctx: {"n": 7})
    return flow


flow = doubled(1, "redone")
changed = doubled(50)


def job() -> dg.JobDefinition:
    """Return the workflow's job."""
    defs = dg.Definitions.merge(workflow_definitions(flow), dg.Definitions(executor=dg.in_process_executor))
    return defs.resolve_job_def("redone_job")


@pytest.fixture
def materialize(tmp_path):
    """Materialises steps of a workflow in the batch, of which the first one has the code of a number."""
    instance = dg.DagsterInstance.ephemeral()

    def materialized(number, *steps):
        bench = Bench(doubled(number), tmp_path, instance=instance)
        done = bench.run(DAY, tags=TAGS, selection=[dg.AssetKey(["doubled", step]) for step in steps] or None)
        assert done.success
        return done.run_id

    return materialized


def read(ledger):
    """Return what readers get of the steps, and the states of the captures."""
    numbers = {step: [one["n"] for one in outputs(doubled(1), step, ledger=ledger).values()] for step in ("one", "two")}
    return numbers, [str(capture.state) for capture in ledger.captures()]


def test_a_step_that_is_made_again_alone_is_a_part(ledger, materialize):
    """The run says what is not made of it; whoever reads the capture gets the whole version that was there before."""
    materialize(1)
    again = ledger.get_run(materialize(50, "one"))
    assert again.status is RunStatus.PARTIAL
    assert again.error == "step 'two' is not made of what step 'one' has made last; run it again"
    assert read(ledger) == ({"one": [1], "two": [2]}, ["complete"])
    assert BatchStatus.of(ledger, "b", doubled(50)).counts == {"ok": 1}


def test_an_asset_of_ones_own_is_told_of_two_versions(tmp_path, ledger):
    """Files are those that were materialised last, as Dagster has them: who loads them hears that they are not one."""
    deps = {step: dg.AssetIn(dg.AssetKey(["doubled", step])) for step in ("one", "two")}
    seen = []

    @dg.asset(ins=deps, partitions_def=partitions_def(DAYS), io_manager_key="workflow_io_manager")
    def own(one, two):
        seen.append((one["n"], two["n"]))
        return {}

    def told(number, *keys):
        bench = Bench(doubled(number), tmp_path, own, instance=instance)
        done = bench.run(DAY, tags=TAGS, selection=[dg.AssetKey(key) for key in keys] or None)
        assert done.success
        messages = [entry.user_message for entry in instance.all_logs(done.run_id)]
        return sorted(line for line in messages if line.startswith("input") and "is not whole" in line)

    instance = dg.DagsterInstance.ephemeral()
    assert told(1) == []
    told(50, ["doubled", "one"])
    first, second = told(50, ["own"])
    assert "input 'one': capture 2012-10-26|b of workflow 'doubled' is not whole: step 'two' is not made" in first
    assert "input 'two': capture 2012-10-26|b of workflow 'doubled' is not whole" in second
    assert told(50, ["doubled", "two"], ["own"]) == []
    assert seen == [(1, 2), (50, 2), (50, 100)]


def test_the_rest_makes_it_whole_again(ledger, materialize):
    """When the steps after it are made too, the capture is the new version."""
    materialize(1)
    materialize(50, "one")
    last = ledger.get_run(materialize(50, "two"))
    assert (last.status, {record.step for record in ledger.steps(last.key)}) == (RunStatus.OK, {"one", "two", "beside"})
    assert read(ledger) == ({"one": [50], "two": [100]}, ["complete"])


def test_a_step_that_follows_no_other_is_no_part(ledger, materialize):
    """What is beside the rest, and what comes last, may be made again alone."""
    materialize(1)
    assert ledger.get_run(materialize(1, "beside")).status is RunStatus.OK
    assert ledger.get_run(materialize(1, "two")).status is RunStatus.OK
    assert read(ledger) == ({"one": [1], "two": [2]}, ["complete"])


def test_a_part_that_is_not_whole_goes_on_here(ledger, materialize):
    """Resuming such a run runs what follows the step that was made again, and keeps what is beside it."""
    materialize(1)
    again = materialize(50, "one")
    done = resume(again, doubled(50), ledger=ledger)
    assert (done.status, done.context.get_output("two", "n")) == (RunStatus.OK, 100)
    assert read(ledger) == ({"one": [50], "two": [100]}, ["complete"])


def test_a_batch_goes_on_with_steps_made_again(ledger, materialize):
    """A batch of parts runs what is not made of the last version, and nothing twice."""
    materialize(1, "one")
    materialize(1, "two")
    materialize(50, "one")
    assert read(ledger) == ({"one": [], "two": []}, [])
    Backfill(changed, f"date={DAY}", "b", ledger=ledger).launch(LocalLauncher(ledger, 1))
    assert read(ledger) == ({"one": [50], "two": [100]}, ["complete"])


def test_one_step_that_is_executed_again_is_a_part(tmp_path, ledger):
    """A re-execution of one step alone does not take over what follows it."""
    with persistent_instance(tmp_path) as instance:
        how = {"run_config": QUIET, "tags": {"dagster/partition": DAY, **TAGS}}
        first = dg.execute_job(dg.reconstructable(job), instance, **how)
        runs = []
        for step in ("redone__one", "redone__two"):
            again = dg.ReexecutionOptions(first.run_id, step_selection=[step])
            done = dg.execute_job(dg.reconstructable(job), instance, **how, reexecution_options=again)
            runs.append(ledger.get_run(done.run_id))
    assert [run.status for run in runs] == [RunStatus.PARTIAL, RunStatus.OK]
    assert {record.step for record in ledger.steps(runs[0].key)} == {"one", "beside"}
    assert [capture.state for capture in ledger.captures()] == [CaptureState.COMPLETE]
