"""What has to run again where partitions are stale: which of them, with which parameters, and what before them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.errors import PartitionError
from flowctx.core.partitions.key import PartitionKey, escape_value
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_path_of
from flowctx.core.workflow.inputs import Source, inputs_of
from flowctx.versions.staleness import StalePartition


def selection_of(workflow: Workflow, found: Iterable[StalePartition]) -> Selection:
    """Return stale partitions as a selection of the workflow's scheme.

    Raises:
        PartitionError: The workflow has no partitions.
    """
    if workflow.partitions is None:
        raise PartitionError(f"workflow {workflow.name!r} has no partitions; run it again: flowctx run")
    return workflow.partitions.select(selection_text(one.partition for one in found if one.partition is not None))


def selection_text(keys: Iterable[PartitionKey]) -> str:
    """Return a selection of some partitions, as text.

    Example:
        >>> selection_text([PartitionKey(tier="T1"), PartitionKey(tier="T2")])
        'tier=T1;tier=T2'
    """
    return ";".join(",".join(f"{name}={escape_value(value)}" for name, value in key.items()) for key in keys)


def stale_before(workflow: Workflow, found: Iterable[StalePartition]) -> list[str]:
    """Return the other workflows that stale partitions were built on and that are stale themselves, the first first.

    Each is named by its place in the code, where that is known.
    """
    before: dict[str, int] = {}
    for one in found:
        others = [link.read.workflow for link in one.chain if link.now is None and link.read.workflow != workflow.name]
        for depth, name in enumerate(dict.fromkeys(others)):
            before[name] = max(before.get(name, 0), depth)
    read = _workflows_read(workflow)
    names = sorted(before, key=lambda name: -before[name])
    return [(import_path_of(read[name]) if name in read else None) or name for name in names]


def _workflows_read(workflow: Source) -> dict[str, Source]:
    """Return a workflow and all that it reads, however far, by their names."""
    found: dict[str, Source] = {}
    pending = [workflow]
    while pending:
        one = pending.pop()
        if one.name not in found:
            found[one.name] = one
            pending += [item.workflow for _, _, item in inputs_of(one)]
    return found


class ParamsAgain:
    """Makes the parameters of a partition: those of the run that wrote its current version, and what is asked for.

    Args:
        workflow: The workflow.
        ledger: Where its runs are remembered.
        params: Parameters that win over those.
    """

    def __init__(self, workflow: Workflow, ledger: Ledger, params: Mapping[str, Any]) -> None:
        self.workflow, self.ledger, self.params = workflow, ledger, params

    def __call__(self, key: PartitionKey) -> Mapping[str, Any]:
        """Return the parameters of one partition."""
        step = next(iter(self.workflow.steps))
        version = VersionChoice().version(self.ledger.versions(self.workflow.name, step, [key]))
        if version is None:
            return self.params
        run = self.ledger.get_run(version.run_id, workflow=self.workflow.name, partition=key)
        known = run.context.params
        if not self.workflow.extra_params:
            known = {name: value for name, value in known.items() if name in self.workflow.params}
        return {**known, **self.params}
