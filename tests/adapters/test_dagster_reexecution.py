"""A run that is executed again keeps who it is, also where Dagster drops its tags."""

import os

import dagster as dg
import pytest

from adapters.dagster_support import QUIET, persistent_instance
from flowctx import Daily, PartitionScheme, Workflow
from flowctx.dagster import WorkflowIOManager, partitions_def, workflow_context, workflow_definitions, workflow_job

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
FLAG = "FLOWCTX_TEST_FAILS"

flow = Workflow("again", partitions=DAYS)


@flow.step()
def fetch(ctx):
    """Count how often the day was fetched in this capture."""
    return {"run": ctx.run_id, "trace": ctx.trace_id}


@flow.step()
def load(ctx):
    """Fail while the flag is set, and say what was seen."""
    if os.environ.get(FLAG):
        raise ValueError("not yet")
    return {"fetched_by": ctx.get_output("fetch", "run"), "capture": ctx.capture_id, "batch": ctx.batch_id}


@dg.asset(partitions_def=partitions_def(DAYS), deps=[["again", "load"]])
def mine(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """An asset of the user's own, after the workflow's."""
    ctx = workflow_context(context)
    return dg.MaterializeResult(metadata={"trace": ctx.trace_id, "capture": ctx.capture_id, "batch": str(ctx.batch_id)})


def asset_job() -> dg.JobDefinition:
    """Return the workflow's asset job with another asset in it."""
    defs = dg.Definitions.merge(
        workflow_definitions(flow),
        dg.Definitions(
            [mine], jobs=[dg.define_asset_job("whole", dg.AssetSelection.all())], executor=dg.in_process_executor
        ),
    )
    return defs.resolve_job_def("whole")


def op_job() -> dg.JobDefinition:
    """Return the workflow as a job of ops."""
    return workflow_job(flow, executor_def=dg.in_process_executor)


@pytest.fixture
def outputs(tmp_path, jobs_by_name):
    return WorkflowIOManager(base_path=str(tmp_path / "storage" / "flowctx"))


def run(job, instance, tags=None, parent=None):
    """Run a job for a day, or run it again from where its parent failed."""
    again = dg.ReexecutionOptions.from_failure(parent, instance) if parent else None
    day = {"dagster/partition": "2012-10-26"} if job is asset_job else {}  # assets cannot do without
    return dg.execute_job(
        dg.reconstructable(job),
        instance,
        run_config=QUIET,
        tags=day if parent else {"dagster/partition": "2012-10-26", **(tags or {})},
        reexecution_options=again,
    )


@pytest.mark.parametrize(
    ("job", "place", "tags"),
    [
        (asset_job, ["again"], {"flowctx/batch_id": "b"}),
        (asset_job, ["again"], {"dagster/backfill": "b"}),
        (asset_job, ["again"], {}),
        (op_job, ["jobs", "again"], {"batch_id": "b"}),
    ],
    ids=["batch", "backfill", "none", "ops"],
)
def test_from_failure_continues_the_capture(job, place, tags, tmp_path, outputs, monkeypatch):
    """Python re-execution loses all tags; batch, trace and capture are those of the run that failed all the same."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        first = run(job, instance, tags)
        monkeypatch.delenv(FLAG)
        second = run(job, instance, parent=first.run_id)
        assert (first.success, second.success) == (False, True)
        loaded = outputs.output([*place, "load"], "2012-10-26")
        assert loaded == {
            "fetched_by": first.run_id,
            "capture": f"2012-10-26|{'b' if tags else first.run_id}",
            "batch": "b" if tags else None,
        }
        found = instance.get_runs(dg.RunsFilter(tags={"flowctx/batch_id": "b"}))
        assert {run.run_id for run in found} == ({first.run_id, second.run_id} if tags else set())


def test_all_assets_of_a_reexecution_agree(tmp_path, outputs, monkeypatch):
    """A user's own asset in a re-executed run has the trace and capture of the first run."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        first = run(asset_job, instance)
        monkeypatch.delenv(FLAG)
        run(asset_job, instance, parent=first.run_id)
        event = instance.get_latest_materialization_event(dg.AssetKey("mine"))
        metadata = {name: value.value for name, value in event.asset_materialization.metadata.items()}
        assert metadata["trace"] == outputs.output(["again", "fetch"], "2012-10-26")["trace"]
        assert metadata["capture"] == f"2012-10-26|{first.run_id}"


def test_a_second_reexecution_still_knows(tmp_path, outputs, monkeypatch):
    """The chain may be of any length: the ids are those of its first run."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        first = run(asset_job, instance, {"batch_id": "b"})
        second = run(asset_job, instance, parent=first.run_id)
        monkeypatch.delenv(FLAG)
        third = run(asset_job, instance, parent=second.run_id)
        assert third.success
        assert outputs.output(["again", "load"], "2012-10-26")["capture"] == "2012-10-26|b"


@pytest.mark.e2e
def test_steps_in_processes_of_their_own(tmp_path, outputs):
    """Under the multiprocess executor, steps hand on through files, and two at a time do no harm."""
    with persistent_instance(tmp_path) as instance:
        result = dg.execute_job(
            dg.reconstructable(wide_job),
            instance,
            run_config={**QUIET, "execution": {"config": {"max_concurrent": 2}}},
            tags={"dagster/partition": "2012-10-26", "batch_id": "b"},
        )
        assert result.success
        assert outputs.output("wide/join", "2012-10-26") == {"from": ["one", "two"], "pids": 2}
        assert not list(tmp_path.rglob("*.part"))


wide = Workflow("wide", partitions=DAYS)
for _name in ("one", "two"):
    wide.step(_name, after=[])(lambda ctx: {"pid": os.getpid(), "rows": ["x" * 1000] * 100})


@wide.step(after=["one", "two"])
def join(ctx):
    """Say what came together."""
    outputs = ctx.step_outputs
    return {"from": sorted(outputs), "pids": len({output["pid"] for output in outputs.values()})}


def wide_job() -> dg.JobDefinition:
    """Return the wide workflow's asset job, each step in a process of its own."""
    defs = workflow_definitions(wide)
    return dg.Definitions.merge(defs, dg.Definitions(executor=dg.multiprocess_executor)).resolve_job_def("wide_job")
