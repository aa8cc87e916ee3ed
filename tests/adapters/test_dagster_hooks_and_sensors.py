"""The context in hooks and run status sensors is that of the run; and every kind of context has one in a unit test."""

from datetime import date

import dagster as dg
import pytest

from adapters.dagster_support import QUIET
from flowctx import ContextError, Daily, PartitionScheme, Workflow
from flowctx.dagster import WorkflowIOManager, workflow_context, workflow_job

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


def test_a_run_of_a_range_has_no_one_context_in_a_sensor():
    """A sensor that is told of a run for several days hears where to ask for them."""
    tags = {"dagster/asset_partition_range_start": DAY, "dagster/asset_partition_range_end": "2026-01-07"}
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([several], tags=tags, instance=instance, run_config=QUIET, raise_on_error=False)
        event = done.all_events[-1]
        sensor = dg.build_run_status_sensor_context("ended", event, instance, done.dagster_run)
        with pytest.raises(ContextError, match=f"is about the partitions {DAY} to 2026-01-07"):
            workflow_context(sensor, workflow=flow)
