"""Outputs of an asset of the user's for a range of partitions, of which some may be left out."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import dagster as dg

from flowctx.core.errors import PartitionError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepResult, StepStatus
from flowctx.core.workflow.run_request import TAG_PREFIX
from flowctx.dagster._compat import NO_ASSET_EVENTS
from flowctx.dagster.engine_contexts import run_facts
from flowctx.dagster.partitions import scheme_of
from flowctx.dagster.run_facts import RunFacts


class PartitionOutputs(dict[PartitionKey | str, Any]):
    """Outputs by partition, of which those that are skips are left out; made by :func:`partition_outputs`."""


def partition_outputs(
    context: dg.AssetExecutionContext, outputs: Mapping[Any, Any]
) -> Iterator[dg.AssetMaterialization | dg.AssetObservation | dg.Output[Any]]:
    """Yield what an asset made for each partition of its run; one whose value is a skip is not materialised.

    For assets whose outputs ``workflow_io_manager`` keeps. Whoever reads a range of them finds the others; whoever
    reads a skipped one alone is told why there is nothing.

    Args:
        context: The asset's.
        outputs: For each partition, by its key, an output or ``StepResult.skip(reason)``.

    Example:
        ::

            @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run(),
                      io_manager_key="workflow_io_manager")
            def closes(context):
                found = {key: read(key) or StepResult.skip("a holiday") for key in context.partition_keys}
                yield from partition_outputs(context, found)
    """
    found = by_dagster_key(outputs, context.partition_keys, run_facts(context).partitions_def)
    # Without events of its own, since Dagster would call all partitions of the run materialised; stored first.
    yield dg.Output(PartitionOutputs(outputs), metadata={NO_ASSET_EVENTS: True})
    for partition, value in found.items():
        if is_skip(value):
            metadata = {f"{TAG_PREFIX}status": str(StepStatus.SKIPPED), f"{TAG_PREFIX}reason": value.error}
            yield dg.AssetObservation(
                context.asset_key, description=value.error, partition=partition, metadata=metadata
            )
        else:
            yield dg.AssetMaterialization(context.asset_key, partition=partition)


def by_dagster_key(
    outputs: Mapping[Any, Any], keys: Iterable[str], definition: dg.PartitionsDefinition[Any] | None
) -> dict[str, Any]:
    """Return outputs by Dagster's keys, in text.

    Args:
        outputs: By Dagster's keys, or by partition keys as contexts have them with the scheme or without.
        keys: All of Dagster's keys that they may be of.
        definition: What those are keys of.
    """
    facts, scheme = RunFacts(run_id="-", name="-", partitions_def=definition), scheme_of(definition)
    known: dict[PartitionKey, str] = {}
    for key in keys:
        with suppress(PartitionError):  # without the scheme no context names dimensions that are folded
            known[facts.partition(key, None)] = str(key)
    if scheme is not None:
        known |= {facts.partition(key, scheme): str(key) for key in keys}
    return {
        known.get(key, str(key)) if isinstance(key, PartitionKey) else str(key): value for key, value in outputs.items()
    }


def is_skip(value: object) -> bool:
    """Return whether an asset says of a partition that there is nothing."""
    return isinstance(value, StepResult) and value.status is StepStatus.SKIPPED


def is_by_partition(outputs: Mapping[Any, Any]) -> bool:
    """Return whether a dict that an asset returned says by itself that it has an output for each partition."""
    if isinstance(outputs, PartitionOutputs):
        return True
    return any(isinstance(key, PartitionKey) or is_skip(value) for key, value in outputs.items())
