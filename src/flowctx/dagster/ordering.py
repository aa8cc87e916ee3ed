"""Whether Dagster may still be to make what a step reads: nothing older stands in for it."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

import dagster as dg

from flowctx.core.durability.versions import Version
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.inputs import Input


def unordered(
    workflow: Workflow, op: dg.OpExecutionContext, ctx: WorkflowContext, item: Input, version: Version | None
) -> str | None:
    """Return why a partition of the same workflow may still be to come, in this run or in its backfill."""
    if item.workflow is not workflow:
        return None
    if op.has_partition_key_range and (version is None or version.run_id != op.run.run_id):
        return "inputs are not ordered within one run of a range yet; leave out BackfillPolicy.single_run()"
    if "dagster/backfill" in op.run.tags and (version is None or version.batch_id != ctx.batch_id):
        return (
            "inputs are not ordered in Dagster's own backfills yet, and an older version must not stand in; launch "
            "it with flowctx backfill --on dagster"
        )
    return None
