"""The workflows of batches that go on elsewhere or later, or run in part, by ticks and with skips."""

import os
import warnings
from datetime import datetime

import chained
import dagster as dg
import dying_flow
import moved
import part_flows
import ready_flow
import retried

from flowctx import StepResult
from flowctx.dagster import (
    endings_sensor,
    inputs_sensor,
    partition_outputs,
    partitions_def,
    workflow_definitions,
    workflow_job,
)

warnings.filterwarnings("ignore", category=dg.BetaWarning)  # of policies of backfills
ranged = dg.BackfillPolicy.single_run()
first = datetime.fromisoformat(os.environ["TICK"]).minute
ticks = dg.ScheduleDefinition(
    "ticks_schedule",
    job=workflow_job(part_flows.ticks),
    cron_schedule=f"{first},{(first + 1) % 60} * * * *",
    tags={"batch_id": "ticks", "flowctx/on_captured": "skip"},
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


@dg.asset(
    partitions_def=partitions_def(part_flows.holes.partitions),
    backfill_policy=ranged,
    io_manager_key="workflow_io_manager",
)
def own_holes(context):
    """Leave a day out."""
    found = {key: {"day": key} if key != "2012-10-25" else StepResult.skip("closed") for key in context.partition_keys}
    yield from partition_outputs(context, found)


# As ops, because another location has its assets.
silent_job = workflow_job(dying_flow.flow, name="silent_job", executor_def=dg.in_process_executor)
flows = (moved.flow, retried.flow, chained.chain, chained.weeks, part_flows.parts, part_flows.days, ready_flow.month)
month = inputs_sensor(ready_flow.month, start="2026-01-01", minimum_interval_seconds=5)


def without_sensors(found: dg.Definitions) -> dg.Definitions:
    """Leave out the sensor for the dead runs of all workflows: nobody shall tell the ledger of the silent job's."""
    return dg.Definitions(assets=found.assets, jobs=found.jobs, schedules=found.schedules, resources=found.resources)


defs = dg.Definitions.merge(
    *(without_sensors(workflow_definitions(flow)) for flow in flows),
    without_sensors(workflow_definitions(part_flows.holes, backfill_policy=ranged)),
    dg.Definitions(
        [own_holes],
        jobs=[ticks.job, silent_job],
        schedules=[ticks],
        sensors=[month, endings_sensor(part_flows.holes)],
        executor=dg.in_process_executor,
    ),
)
