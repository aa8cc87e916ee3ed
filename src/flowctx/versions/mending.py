"""What has to run again where partitions are stale: which of them, with which parameters, and what before them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flowctx.core.batches.partition_params import PARAMS_AGAIN, PartitionParams
from flowctx.core.durability.current import versions_to_read
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.param_changes import removed_params
from flowctx.core.durability.records import RunRecord
from flowctx.core.durability.versions import Version, by_partition, newest
from flowctx.core.errors import BatchError, PartitionError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection import Selection
from flowctx.core.partitions.selection_text import selection_text
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.inputs import inputs_of
from flowctx.core.workflow.step_config import STEP_CONFIG
from flowctx.versions.stale_links import StalePartition
from flowctx.versions.staleness import stale

#: How many partitions are looked at at a time.
_PAGE = 500


def selection_of(workflow: Workflow, found: Iterable[StalePartition]) -> Selection:
    """Return stale partitions as a selection of the workflow's scheme.

    Raises:
        PartitionError: The workflow has no partitions.
    """
    if workflow.partitions is None:
        raise PartitionError(f"workflow {workflow.name!r} has no partitions; run it again: flowctx run")
    return workflow.partitions.select(selection_text(one.partition for one in found if one.partition is not None))


def stale_chain(workflow: Workflow, found: Sequence[StalePartition], ledger: Ledger) -> dict[Workflow, Selection]:
    """Return what has to run again so that stale partitions are mended: they, and all that is stale that they read.

    Args:
        workflow: The workflow that is to be mended.
        found: Its stale partitions.
        ledger: Where runs are remembered.

    Returns:
        The partitions of each workflow, the workflow itself first.

    Raises:
        PartitionError: A workflow that is read is stale, and has no partitions.
    """
    chain = {workflow: selection_of(workflow, found)}
    stale_keys: dict[Workflow, dict[PartitionKey | None, StalePartition]] = {}
    needed: dict[Workflow, set[PartitionKey | None]] = {workflow: {one.partition for one in found}}
    pending: list[tuple[Workflow, PartitionKey | None]] = [(workflow, one.partition) for one in found]
    while pending:
        reader, key = pending.pop()
        for source, read in _reads(reader, key):
            if source is workflow:  # of it, exactly what was asked for
                continue
            if source not in stale_keys:
                stale_keys[source] = {one.partition: one for one in stale(source, ledger=ledger)}
            if read in stale_keys[source] and read not in needed.setdefault(source, set()):
                needed[source].add(read)
                pending.append((source, read))
    for source, keys in needed.items():
        if keys and source is not workflow:
            chain[source] = selection_of(source, [one for key, one in stale_keys[source].items() if key in keys])
    return chain


def _reads(workflow: Workflow, key: PartitionKey | None) -> Iterator[tuple[Workflow, PartitionKey | None]]:
    """Yield the partitions of workflows that a partition reads."""
    for _, _, item in inputs_of(workflow):
        assert isinstance(item.workflow, Workflow)  # noqa: S101 - there is no other source
        for read in item.partitions(workflow.partitions, key):
            yield item.workflow, read


class ParamsAgain(PartitionParams):
    """Makes the parameters of a partition: those of the run that wrote its current version, and what is asked for.

    So it does the configuration of steps that the caller of that run had set. Where no version is current any more, it
    is the run of the newest one that was complete.

    Args:
        workflow: The workflow.
        ledger: Where its runs are remembered.
        params: Parameters that win over those.
    """

    # Ledgers have batches of this name. It stays, whatever becomes of the code: such a batch is to go on.
    name = f"{PARAMS_AGAIN}@a4c42a9c21f7"

    def __init__(self, workflow: Workflow, ledger: Ledger, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self.workflow, self.ledger = workflow, ledger
        self._last: tuple[PartitionKey, RunRecord | None] | None = None

    def __call__(self, key: PartitionKey) -> Mapping[str, Any]:
        """Return the parameters of one partition."""
        run = self._run(key)
        if run is None:
            return self.params
        known = run.context.params
        self._refuse_lost(run)
        if not self.workflow.extra_params:
            known = {name: value for name, value in known.items() if name in self.workflow.params}
        return {**known, **self.params}

    def check(self, keys: Iterable[PartitionKey]) -> None:
        """Refuse partitions that had what the workflow does not have any more.

        Raises:
            BatchError: One had a parameter that is gone where another was added, or configured a step that is gone.
        """
        rest = iter(keys)
        while page := list(itertools.islice(rest, _PAGE)):
            for run in self.ledger.runs_of({version.run_key for version in self._versions(page).values()}).values():
                self._refuse_lost(run)

    def _refuse_lost(self, run: RunRecord) -> None:
        added = [name for name in self.workflow.params if name not in {**run.context.params, **self.params}]
        removed = removed_params(self.workflow, run, ()) if added else []
        if removed:  # of these, what the steps made their config of is still there
            removed = removed_params(self.workflow, run, self.ledger.steps(run.key))
        what = f"partition {run.context.partition} of {self.workflow.name}"
        if removed:
            raise BatchError(
                f"{what} had parameters that are gone ({', '.join(removed)}), and the workflow has others since "
                f"({', '.join(added)}): say what those are to be (-p {added[0]}=VALUE); run the stale partitions of a "
                "workflow that is only read before, without --stale"
            )
        if gone := [step for step in run.context.metadata.get(STEP_CONFIG) or {} if step not in self.workflow.steps]:
            raise BatchError(
                f"{what} had a configuration of step {gone[0]!r}, which the workflow does not have; run it without "
                "--stale: flowctx run, with --step-config STEP.NAME=VALUE"
            )

    def step_config(self, key: PartitionKey) -> Mapping[str, Mapping[str, Any]] | None:
        """Return what the caller of that run had set of its steps."""
        run = self._run(key)
        of_steps = (run.context.metadata.get(STEP_CONFIG) if run is not None else None) or {}
        return of_steps or None

    def _run(self, key: PartitionKey) -> RunRecord | None:
        """Return the run whose parameters a partition has again; it is asked for twice in a row."""
        last = self._last
        if last is None or last[0] != key:
            version, name = self._versions([key]).get(key), self.workflow.name
            run = self.ledger.get_run(version.run_id, workflow=name, partition=key) if version is not None else None
            last = self._last = (key, run)
        return last[1]

    def _versions(self, keys: Sequence[PartitionKey]) -> dict[PartitionKey | None, Version]:
        """Return of each partition the current version; where there is none any more, the newest that was complete."""
        versions = self.ledger.versions(self.workflow.name, next(iter(self.workflow.steps)), keys)
        completed = by_partition(one for one in versions if one.ended_well or one.first_completed_at is not None)
        last = {key: newest(some) for key, some in completed.items()}
        current = versions_to_read(self.ledger, self.workflow.name, versions)
        found = {key: one if isinstance(one, Version) else last.get(key) for key, one in current.items()}
        return {key: version for key, version in found.items() if version is not None}
