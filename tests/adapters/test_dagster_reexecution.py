"""A run that is executed again keeps who it is, also where Dagster drops its tags."""

import os
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._time import get_current_timestamp

from adapters.dagster_support import QUIET, persistent_instance
from flowctx import AsOf, Daily, PartitionScheme, Workflow, WorkflowContext, resume
from flowctx import run as run_here
from flowctx.dagster import WorkflowIOManager, partitions_def, workflow_context, workflow_definitions, workflow_job

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
FLAG = "FLOWCTX_TEST_FAILS"

flow = Workflow("again", partitions=DAYS)


@flow.step()
def fetch(ctx):
    """Say which attempt at which run fetched the day."""
    attempt = 1 if ctx.checkpoint is None else ctx.checkpoint.attempt
    return {"run": ctx.run_id, "trace": ctx.trace_id, "attempt": attempt}


@flow.step()
def load(ctx):
    """Fail while the flag is set, and say what was seen."""
    if os.environ.get(FLAG):
        raise ValueError("not yet")
    return {"fetched_by": ctx.get_output("fetch", "run"), "capture": ctx.capture_id, "batch": ctx.batch_id}


@dg.asset(partitions_def=partitions_def(DAYS), deps=[["again", "load"]], ins={"fetch": dg.AssetIn(["again", "fetch"])})
def mine(context: dg.AssetExecutionContext, fetch: dict[str, Any]) -> dg.MaterializeResult:
    """An asset of the user's own, after the workflow's."""
    ctx = workflow_context(context)
    metadata = {"trace": ctx.trace_id, "capture": ctx.capture_id, "batch": str(ctx.batch_id)}
    return dg.MaterializeResult(metadata={**metadata, "attempt": fetch["attempt"]})


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
        assert instance.get_run_by_id(second.run_id).tags["dagster/partition"] == "2012-10-26"


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


def test_a_reexecution_reads_what_a_resume_here_made(tmp_path, outputs, monkeypatch, ledger):
    """The file of the run that failed is older than what the run did when it went on here."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        first = run(asset_job, instance)
        assert resume(first.run_id, flow, from_step="fetch").status == "failed"
        monkeypatch.delenv(FLAG)
        assert run(asset_job, instance, parent=first.run_id).success
        event = instance.get_latest_materialization_event(dg.AssetKey("mine"))
        assert event.asset_materialization.metadata["attempt"].value == 2


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


SEEN: list[WorkflowContext] = []
RULE = AsOf.default(timezone="America/New_York")
TICK = {".dagster/scheduled_execution_time": "2012-10-27T01:30:00+00:00", "dagster/schedule_name": "gone"}
BY_FUND = dg.MultiPartitionsDefinition(
    {"date": dg.DailyPartitionsDefinition("2012-10-01"), "fund": dg.StaticPartitionsDefinition(["A", "B"])}
)


@dg.op
def noted(context: dg.OpExecutionContext) -> None:
    """Note the context, and fail the first time."""
    SEEN.append(workflow_context(context, RULE))
    if context.run.parent_run_id is None:
        raise ValueError("not yet")


@dg.graph
def notes():
    """One op."""
    noted()


def own_by_fund() -> dg.JobDefinition:
    """Return a job of an op of one's own, by dates and funds."""
    return notes.to_job(partitions_def=BY_FUND, executor_def=dg.in_process_executor)


def own_nightly() -> dg.JobDefinition:
    """Return a job of an op of one's own that schedules start."""
    return notes.to_job(executor_def=dg.in_process_executor)


@pytest.mark.parametrize(
    ("job", "tags", "partition", "capture"),
    [
        (own_by_fund, {"dagster/partition": "2012-10-26|A"}, "date=2012-10-26|fund=A", "2012-10-26|A"),
        (own_nightly, TICK, "None", "2012-10-26"),
    ],
    ids=["partition", "tick"],
)
def test_what_ops_of_ones_own_are_about_is_kept(job, tags, partition, capture, tmp_path, jobs_by_name):
    """Run again in Python, which drops all tags, it is about the partition or tick of the first run; so is a sensor."""
    SEEN.clear()
    with persistent_instance(tmp_path) as instance:
        first = dg.execute_job(dg.reconstructable(job), instance, run_config=QUIET, tags=tags)
        again = dg.ReexecutionOptions(first.run_id)
        second = dg.execute_job(dg.reconstructable(job), instance, run_config=QUIET, reexecution_options=again)
        assert (first.success, second.success) == (False, True)
        ended, found = second.all_events[-1], instance.get_run_by_id(second.run_id)
        location = dg.Definitions(jobs=[job()]).get_repository_def()
        sensor = dg.build_run_status_sensor_context("ended", ended, instance, found, repository_def=location)
        SEEN.append(workflow_context(sensor, RULE))
    assert [(str(ctx.partition), str(ctx.as_of_date), ctx.capture_id) for ctx in SEEN] == [
        (partition, "2012-10-26", f"{capture}|{first.run_id}")
    ] * 3


@dg.asset(partitions_def=partitions_def(DAYS))
def feed(context: dg.AssetExecutionContext) -> None:
    """An asset of one's own that fails the first time."""
    workflow_context(context)
    if context.run.parent_run_id is None:
        raise ValueError("not yet")


def own_assets() -> dg.JobDefinition:
    """Return a job of an asset of one's own."""
    jobs = [dg.define_asset_job("feeds", [feed], executor_def=dg.in_process_executor)]
    return dg.Definitions([feed], jobs=jobs).resolve_job_def("feeds")


@dg.op
def noted_day(context: dg.OpExecutionContext) -> None:
    """Fail the first time, in the graph of an asset."""
    workflow_context(context)
    if context.run.parent_run_id is None:
        raise ValueError("not yet")


@dg.op(ins={"noted": dg.In(dg.Nothing)})
def made_after() -> None:
    """Make the asset of the graph."""


@dg.graph_asset(partitions_def=partitions_def(DAYS))
def feed_of_graph():
    """An asset of a graph, whose first op makes nothing."""
    return made_after(noted_day())


def own_graph() -> dg.JobDefinition:
    """Return a job of an asset of a graph."""
    jobs = [dg.define_asset_job("graphs", [feed_of_graph], executor_def=dg.in_process_executor)]
    return dg.Definitions([feed_of_graph], jobs=jobs).resolve_job_def("graphs")


RANGE = {f"dagster/asset_partition_range_{end}": f"2012-10-2{day}" for end, day in (("start", 6), ("end", 7))}


@pytest.mark.parametrize(
    ("tags", "lost"),
    [
        ({"dagster/partition": "2012-10-26"}, "partition 2012-10-26 of run"),
        (RANGE, "partitions 2012-10-26 to 2012-10-27 of run"),
    ],
    ids=["key", "range"],
)
@pytest.mark.parametrize("job", [own_assets, own_graph, asset_job])
def test_assets_are_not_run_again_without_their_partition(job, tags, lost, tmp_path, outputs, monkeypatch):
    """Dagster would record them for no partition: it is refused, and says what to give."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        first = dg.execute_job(dg.reconstructable(job), instance, run_config=QUIET, tags=tags)
        monkeypatch.delenv(FLAG)
        again = dg.ReexecutionOptions(first.run_id)
        second = dg.execute_job(dg.reconstructable(job), instance, run_config=QUIET, reexecution_options=again)
        failed = [event.step_failure_data for event in second.get_step_failure_events()]
        texts = [data.error_display_string + str(data.user_failure_data) for data in failed]
        assert [lost in text and "execute it again with the run's tags: dagster/" in text for text in texts] == [True]
        assert second.get_asset_materialization_events() == []


loose = Workflow("loose")


@loose.step()
def rates(ctx):
    """Fail while the flag is set, in an asset without partitions."""
    if os.environ.get(FLAG):
        raise ValueError("not yet")


@dg.asset(partitions_def=partitions_def(DAYS), backfill_policy=dg.BackfillPolicy.single_run())
def of_days() -> None:
    """An asset of the range."""


@dg.asset(deps=[["loose", "rates"]])
def of_all(context: dg.AssetExecutionContext) -> None:
    """An asset of one's own without partitions."""
    assert workflow_context(context).partition is None


def mixed() -> dg.JobDefinition:
    """Return a job of assets with and without partitions."""
    single = dg.BackfillPolicy.single_run()
    definitions = dg.Definitions(
        [of_days, of_all], jobs=[dg.define_asset_job("mixed", "*", executor_def=dg.in_process_executor)]
    )
    return dg.Definitions.merge(workflow_definitions(loose, backfill_policy=single), definitions).resolve_job_def(
        "mixed"
    )


def test_assets_without_partitions_have_lost_no_range(tmp_path, outputs, monkeypatch):
    """In a run of a range they are about none of its partitions, and run again without them."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        first = dg.execute_job(dg.reconstructable(mixed), instance, run_config=QUIET, tags=RANGE)
        assert [event.step_key for event in first.get_step_failure_events()] == ["loose__rates"]
        monkeypatch.delenv(FLAG)
        again = dg.ReexecutionOptions.from_failure(first.run_id, instance)
        second = dg.execute_job(dg.reconstructable(mixed), instance, run_config=QUIET, reexecution_options=again)
        assert second.success


chain = Workflow("chain", partitions=DAYS)
chain.step("sum", inputs={"before": chain.output("sum").previous()})(lambda ctx, before: {"n": 1})


def chain_job() -> dg.JobDefinition:
    """Return a job of a workflow that reads its own date before."""
    return workflow_job(chain, executor_def=dg.in_process_executor)


def test_a_backfill_that_is_lost_still_keeps_the_order(ledger, tmp_path, jobs_by_name, monkeypatch):
    """A run of a backfill that is run again reads nothing older than what the backfill is still to make."""
    days = ["2012-10-01", "2012-10-02"]
    run_here(chain, partition=days[0], batch_id="before").raise_for_failure()
    with persistent_instance(tmp_path) as instance:
        backfill = PartitionBackfill(
            backfill_id="native",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=get_current_timestamp(),
            partition_names=days,
        )
        instance.add_backfill(backfill)
        tags = {"dagster/backfill": "native", "dagster/partition": days[1]}
        first = dg.execute_job(dg.reconstructable(chain_job), instance, run_config=QUIET, tags=tags)
        again = dg.ReexecutionOptions(first.run_id)
        second = dg.execute_job(dg.reconstructable(chain_job), instance, run_config=QUIET, reexecution_options=again)
        for done in (first, second):
            (event,) = done.get_step_failure_events()
            assert "may still be to come" in event.step_failure_data.user_failure_data.description


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
