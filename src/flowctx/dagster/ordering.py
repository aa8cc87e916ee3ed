"""Whether Dagster may still be to make what a step reads: nothing older stands in for it."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

from functools import lru_cache
from typing import Any

import dagster as dg

from flowctx.core.durability.versions import Version
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.inputs import Input
from flowctx.dagster.asset_keys import is_step_asset
from flowctx.dagster.partitions import to_dagster_key
from flowctx.dagster.tags import BACKFILL_TAG, root_of, tags_of


def unordered(
    workflow: Workflow | None,
    op: dg.OpExecutionContext,
    ctx: WorkflowContext,
    item: Input,
    key: PartitionKey | None,
    version: Version | None,
) -> str | None:
    """Return why a partition may still be to come, in this run or in its backfill."""
    scheme = None if workflow is None else workflow.partitions
    if item.workflow is workflow and op.has_partition_key_range and key is not None and scheme is not None:
        made_here = version is not None and version.run_id == op.run.run_id
        if not made_here and to_dagster_key(key, scheme) in op.partition_keys and _is_in_job(op, workflow, item):
            return "it is part of this run's range and comes after; leave out BackfillPolicy.single_run()"
    backfill_id = tags_of(op.run, root_of(op.run, op.instance)).get(BACKFILL_TAG)
    if backfill_id is None or (version is not None and version.batch_id == ctx.batch_id):
        return None
    if not _is_target(op, backfill_id, workflow, item, key):
        return None
    return (
        f"it is part of backfill {backfill_id} and is not complete there, and no older version stands in; run this one "
        "again when it is, and backfill all assets of the workflow, or launch it with flowctx backfill --on dagster"
    )


def _is_target(
    op: dg.OpExecutionContext, backfill_id: str, workflow: Workflow | None, item: Input, key: PartitionKey | None
) -> bool:
    """Whether a backfill is to make a partition of a step."""
    target, scheme = _target(op.instance, backfill_id), item.workflow.partitions
    if scheme is None or key is None:
        return False
    name = to_dagster_key(key, scheme)
    if isinstance(target, frozenset):
        return name in target and _is_in_job(op, workflow, item)
    assets = [asset for asset in target.asset_keys if is_step_asset(asset, item.workflow, item.step_name)]
    return any(name in target.get_partitions_subset(asset) for asset in assets)


@lru_cache(maxsize=1)
def _target(instance: dg.DagsterInstance, backfill_id: str) -> frozenset[str] | Any:
    """Return what a backfill is to make, which stays the same: partitions of a job, else of assets, as Dagster has it.

    It is asked for once by all that a process reads.
    """
    found = instance.get_backfill(backfill_id)
    if found is None or found.asset_backfill_data is None:
        return frozenset(found.partition_names or () if found is not None else ())
    return found.asset_backfill_data.target_subset


def _is_in_job(op: dg.OpExecutionContext, workflow: Workflow | None, item: Input) -> bool:
    """Whether the job of a run makes the step that is read: with others' partitions it has only the names in common."""
    if item.workflow is workflow and item.step_name in {node.name for node in op.job_def.nodes}:
        return True
    keys = op.job_def.asset_layer.asset_graph.executable_asset_keys
    return any(is_step_asset(asset, item.workflow, item.step_name) for asset in keys)
