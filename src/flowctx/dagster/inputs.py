"""The inputs of a step as Dagster knows them: dependencies of assets, with the mapping of their partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from flowctx.core.errors import PartitionError
from flowctx.core.partitions.mapping import same_dates
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.definition import Step, Workflow
from flowctx.core.workflow.inputs import Input, inputs_of
from flowctx.dagster.asset_keys import KeyPrefix, asset_key
from flowctx.dagster.mappings import partition_mapping, previous_mapping


def input_deps(workflow: Workflow, step: Step, key_prefix: KeyPrefix | None = None) -> list[dg.AssetDep]:
    """Return what a step's asset depends on beside the steps before it, so that Dagster keeps the order of inputs.

    It depends on the assets of other workflows that it reads, and on its own earlier partitions where a step of its
    workflow reads those: not on those of another step, since Dagster would then part the run of a partition in two.
    What Dagster has no mapping for is left out: it is read all the same, and never from an older version.
    """
    by_asset: dict[dg.AssetKey, list[Input]] = {}
    for item in step.inputs.values():
        if item.workflow is not workflow:
            by_asset.setdefault(asset_key(item.workflow, item.step_name, key_prefix), []).append(item)
    own = [i for _, _, i in inputs_of(workflow) if i.workflow is workflow and i.step_name == step.name]
    if own:
        by_asset[asset_key(workflow, step.name, key_prefix)] = own
    deps = []
    for key, items in by_asset.items():
        found, mapping = _mapping(workflow.partitions, items)
        if found:
            deps.append(dg.AssetDep(key, partition_mapping=mapping))
    return deps


def input_metadata(step: Step) -> Mapping[str, Any]:
    """Return what a step reads, for people."""
    texts = [f"{name}: {repr(item)[len('<Input: ') : -1]}" for name, item in step.inputs.items()]
    return {"flowctx/inputs": dg.MetadataValue.text("\n".join(texts))} if texts else {}


def _mapping(reader: PartitionScheme | None, items: Iterable[Input]) -> tuple[bool, dg.PartitionMapping | None]:
    """Return whether Dagster can say which partitions some inputs of one asset read, and how."""
    items = list(items)
    scheme = items[0].workflow.partitions
    if scheme is None or reader is None:
        return True, None if scheme is None else dg.AllPartitionMapping()
    backs = [item.back for item in items]
    if any(item.values for item in items):
        return False, None
    if not any(backs):
        try:
            return True, partition_mapping(scheme, reader)
        except PartitionError:
            return False, None
    cadences = scheme.cadence, reader.cadence
    if None in cadences or not same_dates(*cadences) or not _same_statics(scheme, reader):  # type: ignore[arg-type]
        return False, None
    return True, previous_mapping(scheme, reader, max(backs), 0 if 0 in backs else 1)


def _same_statics(one: PartitionScheme, other: PartitionScheme) -> bool:
    def statics(scheme: PartitionScheme) -> dict[str, tuple[str, ...]]:
        return {name: scheme.values(name) for name in scheme.dimensions if name != scheme.cadence_dimension}

    return list(statics(one).items()) == list(statics(other).items())
