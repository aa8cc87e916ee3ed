"""The context in hooks and run status sensors is that of the run; and every kind of context has one in a unit test."""

from datetime import date

import dagster as dg
import pytest

from adapters.dagster_support import QUIET
from backfill.bulk_batch import Bulk
from backfill.flows import flow as batched
from flowctx import ContextError, Daily, MissingKey, PartitionScheme, Weekly, Workflow
from flowctx.dagster import WorkflowIOManager, workflow_bulk_job, workflow_context, workflow_definitions, workflow_job
from flowctx.dagster.partitions import to_dagster_key

DAY = "2026-01-05"
days = dg.DailyPartitionsDefinition("2026-01-01")
flow = Workflow("flow", partitions=PartitionScheme(date=Daily(start="2026-01-01", calendar="WEEKDAYS")))
flow.step("only")(lambda ctx: {"capture": ctx.capture_id})


@dg.multi_asset(specs=[dg.AssetSpec("a"), dg.AssetSpec("b")], partitions_def=days)
def several(context):
    """Two assets in one op."""
    yield dg.MaterializeResult("a", metadata={"ctx": str(workflow_context(context).as_of_date)})
    yield dg.MaterializeResult("b")


@dg.asset_check(asset="a")
def checked(context) -> dg.AssetCheckResult:
    """A check."""
    return dg.AssetCheckResult(passed=workflow_context(context).run_id == "EPHEMERAL")


@dg.multi_asset_check(specs=[dg.AssetCheckSpec("x", asset="a")])
def all_checked(context):
    """Several checks in one op."""
    yield dg.AssetCheckResult(passed=workflow_context(context).partition is None, check_name="x", asset_key="a")


def test_several_assets_and_checks_are_called_in_unit_tests():
    """A multi-asset, a check and several checks have a context when they are called with one of Dagster's making."""
    first, _ = several(dg.build_asset_context(partition_key=DAY))
    assert first.metadata["ctx"] == DAY
    assert checked(dg.build_asset_check_context()).passed
    (result,) = all_checked(dg.build_asset_check_context())
    assert result.passed


@pytest.mark.parametrize(
    ("context", "name"),
    [
        (dg.build_sensor_context(), "sensor"),
        (dg.build_sensor_context(sensor_name="watch"), "watch"),
        (dg.build_schedule_context(), "schedule"),
        (dg.build_hook_context(), "EPHEMERAL"),
        (dg.build_hook_context(job_name="nightly", run_id="r1"), "nightly"),
        (dg.build_asset_context(), "EPHEMERAL"),
        (dg.build_asset_check_context(), "EPHEMERAL"),
        (dg.build_op_context(), "EPHEMERAL"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bare_context_has_no_date(context, name):
    """What a unit test makes without name or time has a context all the same; nothing in it is guessed."""
    ctx = workflow_context(context)
    assert (ctx.metadata["workflow"], ctx.as_of_date, ctx.partition) == (name, None, None)


def job_of_ops(seen, folder):
    """Return the job of a workflow, whose hook notes the context that it sees."""

    @dg.success_hook
    def noted(context):
        seen.append(workflow_context(context, workflow=flow))

    outputs = {"workflow_io_manager": WorkflowIOManager(base_path=str(folder))}
    return workflow_job(flow, hooks={noted}, resource_defs=outputs)


def run_of(job, instance):
    """Run a job for a day."""
    return job.execute_in_process(
        instance=instance, partition_key=DAY, tags={"flowctx/batch_id": "b"}, run_config=QUIET
    )


def test_hooks_and_run_status_sensors_see_the_context_of_the_run(tmp_path):
    """Both have the ids, the partition and the date that the steps of the run saw."""
    seen = []
    job = job_of_ops(seen, tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        done = run_of(job, instance)
        event = next(event for event in done.all_events if event.event_type is dg.DagsterEventType.RUN_SUCCESS)
        sensor = dg.build_run_status_sensor_context("ended", event, instance, done.dagster_run)
        seen += [workflow_context(context, workflow=flow) for context in (sensor, sensor.for_run_failure())]
        with pytest.raises(ContextError, match=f"has the key '{DAY}' and no partitions definition"):
            workflow_context(sensor)
        location = dg.Definitions(jobs=[job]).get_repository_def()
        known = dg.build_run_status_sensor_context("ended", event, instance, done.dagster_run, repository_def=location)
        seen.append(workflow_context(known))
    assert {(ctx.run_id, str(ctx.partition), ctx.as_of_date, ctx.capture_id) for ctx in seen} == {
        (done.run_id, f"date={DAY}", date(2026, 1, 5), f"{DAY}|b")
    }
    assert [ctx.idempotency_key for ctx in seen[:3]] == [seen[0].idempotency_key] * 3
    for ctx in seen:
        with pytest.raises(MissingKey, match="a hook, schedule or sensor gets none: flowctx.outputs"):
            ctx.get_output("one")


def test_a_run_of_a_range_has_no_one_context_in_a_sensor():
    """A sensor that is told of a run for several days hears where to ask for them."""
    tags = {"dagster/asset_partition_range_start": DAY, "dagster/asset_partition_range_end": "2026-01-07"}
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([several], tags=tags, instance=instance, run_config=QUIET, raise_on_error=False)
        event = done.all_events[-1]
        sensor = dg.build_run_status_sensor_context("ended", event, instance, done.dagster_run)
        with pytest.raises(ContextError, match=f"is about the partitions {DAY} to 2026-01-07"):
            workflow_context(sensor, workflow=flow)


BY_TIER = PartitionScheme(tier=["T1", "T2"], date=Daily(start="2026-01-01", calendar="WEEKDAYS"))
BY_WEEK = PartitionScheme(week=Weekly(start="2026-01-01"))


def context_in_sensor(defs, job_name, tags, workflow=None, *, known=True):
    """Return the context in a sensor that is told of the end of a run with some tags."""
    location = {"repository_def": defs.get_repository_def()} if known else {}
    with dg.DagsterInstance.ephemeral() as instance:
        done = defs.resolve_job_def(job_name).execute_in_process(instance=instance, tags=tags, run_config=QUIET)
        event, run = done.all_events[-1], instance.get_run_by_id(done.run_id)
        return workflow_context(
            dg.build_run_status_sensor_context("ended", event, instance, run, **location), workflow=workflow
        )


@pytest.mark.parametrize(
    ("scheme", "key"), [(BY_TIER, "T1|2026-01-05"), (BY_WEEK, "2026-01-09")], ids=["dimensions", "weeks"]
)
@pytest.mark.parametrize("job", ["of ops", "of assets"])
def test_a_sensor_reads_keys_by_the_scheme_of_the_run(scheme, key, job, tmp_path, monkeypatch):
    """Without a workflow, and without tags of the key's dimensions, partition and capture are those of the steps."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    seen = []
    watched = Workflow("watched", partitions=scheme)
    watched.step("only")(seen.append)
    resources = {"workflow_io_manager": WorkflowIOManager(base_path=str(tmp_path))}
    jobs = dg.Definitions(jobs=[workflow_job(watched, name="ops", resource_defs=resources)])
    defs = dg.Definitions.merge(workflow_definitions(watched), jobs, dg.Definitions(executor=dg.in_process_executor))
    tags = {"dagster/partition": str(to_dagster_key(key, scheme))}
    ctx = context_in_sensor(defs, "ops" if job == "of ops" else "watched_job", tags)
    assert [(ctx.partition, ctx.capture_id, ctx.as_of_date)] == [
        (one.partition, one.capture_id, one.as_of_date) for one in seen
    ]


def test_a_key_of_unknown_dimensions_is_refused(tmp_path):
    """Where the code location is not known and the run has no tags of its dimensions, nothing is made up."""
    watched = Workflow("watched", partitions=BY_TIER)
    watched.step("only")(lambda ctx: None)
    resources = {"workflow_io_manager": WorkflowIOManager(base_path=str(tmp_path))}
    defs = dg.Definitions(jobs=[workflow_job(watched, resource_defs=resources)])
    tags = {"dagster/partition": "2026-01-05|T1"}
    with pytest.raises(ContextError, match="no dimensions; pass workflow= or scheme="):
        context_in_sensor(defs, "watched", tags, known=False)
    assert str(context_in_sensor(defs, "watched", tags, watched, known=False).partition) == "date=2026-01-05|tier=T1"


def test_a_slice_of_a_batch_has_no_context(ledger):
    """Sensors and hooks that are told of a run of the bulk job hear where its partitions are."""
    bulk, heard = Bulk(ledger, "date=2012-01-02,tier=T1"), []

    @dg.success_hook
    def noted(context):
        with pytest.raises(ContextError) as refused:
            workflow_context(context)
        heard.append(str(refused.value))

    conf = bulk.conf
    (part,) = conf.pop("slices")
    config = {**QUIET, "ops": {"run_slice": {"config": {"bulk": conf, "slice": part}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        job = workflow_bulk_job(batched, hooks={noted})
        done = job.execute_in_process(run_config=config, instance=instance)
        run = instance.get_run_by_id(done.run_id)
        sensor = dg.build_run_status_sensor_context("ended", done.all_events[-1], instance, run)
        with pytest.raises(
            ContextError, match="does a slice of batch 'b', of which each partition is a run"
        ) as refused:
            workflow_context(sensor, workflow=batched)
    assert heard == [str(refused.value)]
    assert "flowctx status b; leave out job 'filled__bulk' here" in heard[0]
