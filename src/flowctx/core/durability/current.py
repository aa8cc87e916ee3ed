"""Which version is read of partitions of which the newest one was pruned: nothing older takes its place."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flowctx.core.durability.ledger import Ledger, RunLedger
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.versions import PrunedVersion, Version, by_partition, version_to_read
from flowctx.core.errors import VersionGone
from flowctx.core.partitions.key import PartitionKey


def pruned_beside(
    ledger: RunLedger, workflow: str, versions: Sequence[Version], batch_id: str | None = None
) -> dict[PartitionKey | None, list[PrunedVersion]]:
    """Return what was pruned of the partitions of which something was complete and is not any more.

    Of others, nothing that was pruned is newer than what is complete: the last version stays until another one is. Of a
    batch that has made several dates without partitions, any of them may have been pruned.

    Args:
        ledger: Where outputs are remembered.
        workflow: The workflow's name.
        versions: All captures of some partitions.
        batch_id: The batch that reads, if one does.
    """
    keys = {one.partition for one in versions if one.first_completed_at is not None and not one.ended_well}
    keys |= {None for one in versions if one.partition is None and batch_id is not None and one.batch_id == batch_id}
    return by_partition(ledger.pruned_versions(workflow, keys)) if keys else {}


def versions_to_read(
    ledger: RunLedger,
    workflow: str,
    versions: Sequence[Version],
    batch_id: str | None = None,
    own_runs: Collection[str] = (),
) -> dict[PartitionKey | None, Version | VersionGone | None]:
    """Return of each partition that has versions the one that a run of a batch reads, or why nobody can.

    Args:
        ledger: Where outputs are remembered.
        workflow: The workflow's name.
        versions: All captures of some partitions.
        batch_id: The batch; without it, what is current is read.
        own_runs: As for :func:`~flowctx.core.durability.versions.version_to_read`.
    """
    pruned = pruned_beside(ledger, workflow, versions, batch_id)
    found: dict[PartitionKey | None, Version | VersionGone | None] = {}
    for key, some in by_partition(versions).items():
        try:
            found[key] = version_to_read(some, batch_id, own_runs, pruned.get(key, ()))
        except VersionGone as exc:
            found[key] = exc
    return found


def under_way(ledger: Ledger, versions: Sequence[Version]) -> set[PartitionKey | None]:
    """Return the partitions that a run is at which gives signs of life.

    Args:
        ledger: Where runs are remembered.
        versions: All captures of some partitions.
    """
    running = {version.run_key: version.partition for version in versions if version.status is RunStatus.RUNNING}
    if not running:
        return set()
    now = ledger.now()
    return {running[run_key] for run_key, run in ledger.runs_of(running).items() if run.is_alive(now)}
