"""Outputs that the ledger has and Dagster's files have not: of runs that went on elsewhere."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

from collections.abc import Iterable, Sequence

from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.recorded import recorded_envelope
from flowctx.core.durability.records import CaptureState, RunRecord
from flowctx.core.errors import UnknownRun
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.partitions.key import PartitionKey
from flowctx.dagster.output_store import StoredOutput


def output_of_capture(
    ledger: Ledger | None,
    asset_path: Sequence[str],
    key: str | None,
    capture_ids: Iterable[str],
    artifacts: ArtifactStore | None,
) -> StoredOutput | None:
    """Return what a step of a workflow handed on in one of these captures, if a run of it is recorded.

    Args:
        ledger: Where runs are recorded, if anywhere.
        asset_path: Path of the asset's key, which ends with the names of workflow and step.
        key: Dagster's key of the partition.
        capture_ids: The captures.
        artifacts: Where what is large is kept.
    """
    if ledger is None or len(asset_path) < 2:
        return None
    for capture_id in capture_ids:
        for run in ledger.list_runs(workflow=asset_path[-2], capture_id=capture_id, limit=5):
            found = _output(ledger, run, asset_path, key, artifacts)
            if found is not None:
                return found
    return None


def current_output(
    ledger: Ledger | None, asset_path: Sequence[str], key: str | None, artifacts: ArtifactStore | None
) -> StoredOutput | None:
    """Return what a step of a workflow handed on in the current capture of a partition, if it is recorded."""
    if ledger is None or len(asset_path) < 2:
        return None
    found = ledger.captures(workflow=asset_path[-2], partition=_partition(ledger, asset_path[-2], key))
    captures = [capture for capture in found if capture.state is CaptureState.COMPLETE]
    for capture in sorted(captures, key=lambda capture: capture.revision, reverse=True):
        partition = capture.partition
        text = None if partition is None else "|".join(partition[name] for name in sorted(partition))
        if text != (None if key is None else str(key)) or capture.run_id is None:
            continue
        try:
            run = ledger.get_run(capture.run_id, workflow=capture.workflow, partition=partition)
        except UnknownRun:
            continue
        return _output(ledger, run, asset_path, key, artifacts)
    return None


def _partition(ledger: Ledger, workflow: str, key: str | None) -> PartitionKey | None:
    """Return the partition that a key of Dagster's stands for, as the workflow's latest capture names dimensions."""
    latest = ledger.captures(workflow=workflow, limit=1)
    if key is None or not latest or latest[0].partition is None:
        return None
    names, values = sorted(latest[0].partition), str(key).split("|")
    return PartitionKey(**dict(zip(names, values, strict=True))) if len(names) == len(values) else None


def _output(
    ledger: Ledger, run: RunRecord, asset_path: Sequence[str], key: str | None, artifacts: ArtifactStore | None
) -> StoredOutput | None:
    envelope = recorded_envelope(ledger, run, asset_path[-1])
    if envelope is None:
        return None
    return StoredOutput(
        asset_path=tuple(asset_path),
        key=key,
        partition=run.context.partition,
        capture_id=str(run.context.capture_id),
        run_id=run.run_id,
        envelope=envelope,
        artifacts=artifacts,
    )
