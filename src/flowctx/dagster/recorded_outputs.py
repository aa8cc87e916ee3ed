"""Outputs that the ledger has and Dagster's files have not, or have older: of runs that went on elsewhere."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from flowctx.core.durability.current import pruned_beside
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.recorded import find_run, recorded_envelope
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.durability.versions import (
    PrunedVersion,
    Version,
    comes_after,
    last_begun,
    newest_known,
    newest_pruned,
    older_with_step,
    pruned_text,
    without_step,
)
from flowctx.core.errors import ArtifactError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import Envelope
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.result import StepStatus
from flowctx.dagster.output_store import StoredOutput, output_name
from flowctx.dagster.partitions import from_dagster_key


@dataclass(frozen=True, kw_only=True)
class OutputPlace:
    """Where the output of one partition of an asset is looked for, among files and in the ledger."""

    #: The path of the asset's key.
    asset_path: tuple[str, ...]
    #: Dagster's key of the partition.
    key: str | None
    #: The scheme that its partitions were made of, if they were made of one.
    scheme: PartitionScheme | None = None
    #: The workflow and the step that the asset is of, where its metadata says so.
    metadata_step: tuple[str, ...] | None = None

    @property
    def of_step(self) -> tuple[str, ...]:
        """The workflow and the step that it may be of: by default the end of its path."""
        return self.metadata_step or self.asset_path

    @property
    def workflow(self) -> str:
        """The workflow by which the ledger may know it."""
        return self.of_step[-2] if len(self.of_step) > 1 else ""

    @property
    def step(self) -> str:
        """The step by which the ledger may know it."""
        return self.of_step[-1]

    def stored(self, ctx: WorkflowContext, envelope: Envelope, artifacts: ArtifactStore | None) -> StoredOutput:
        """Return what a run made of it."""
        return StoredOutput(
            asset_path=self.asset_path,
            key=self.key,
            partition=ctx.partition,
            capture_id=str(ctx.capture_id),
            run_id=ctx.run_id,
            envelope=envelope,
            artifacts=artifacts,
        )


@dataclass(frozen=True)
class RecordedOutputs:
    """What the ledger has of the steps of workflows."""

    #: Where runs are recorded.
    ledger: Ledger
    #: Where what is large is kept.
    artifacts: ArtifactStore | None

    def context(self, run_id: str) -> WorkflowContext | None:
        """Return the context of a run, if it is recorded."""
        return next((run.context for run in self.ledger.list_runs(run_id=run_id, limit=1)), None)

    def of_captures(self, place: OutputPlace, capture_ids: Iterable[str]) -> StoredOutput | None:
        """Return what a step handed on in the first of these captures of which a run is recorded."""
        for capture_id in capture_ids if place.workflow else ():
            for run in self.ledger.list_runs(workflow=place.workflow, capture_id=capture_id, limit=5):
                envelope = recorded_envelope(self.ledger, run, place.step)
                if envelope is not None:
                    return place.stored(run.context, envelope, self.artifacts)
        return None

    def of_batch(self, place: OutputPlace, batch_id: str) -> StoredOutput | None:
        """Return what a batch has of an asset without partitions: of several dates, the one that it has begun last.

        Raises:
            ArtifactError: That is not complete.
        """
        last = last_begun(one for one in self._versions(place) if one.batch_id == batch_id)
        if last is not None and last.has_step and not last.is_read:
            name = output_name(place.asset_path, place.key)
            raise ArtifactError(f"{name} has no output in batch {batch_id!r}: its run {last.run_id} {last.standing}")
        return None if last is None else self._of_version(place, last)

    def newer(self, place: OutputPlace, stored: StoredOutput | None) -> StoredOutput | None:
        """Return what is current by the ledger, where that is newer than what is stored.

        Args:
            place: Where it is looked for.
            stored: The file that was written last, if there is one.

        Raises:
            ArtifactError: The current capture was made without the step; or none is current, since the one that is
                stored failed when it was made again, or one that was newer than what is there was pruned.
        """
        versions = self._versions(place)
        gone = list(itertools.chain.from_iterable(pruned_beside(self.ledger, place.workflow, versions).values()))
        is_step = place.metadata_step is not None or any(version.has_step for version in versions)
        if is_step and (pruned := newest_pruned(versions, gone)) is not None:
            if self._stands(place, stored, pruned, versions):
                return None
            raise ArtifactError(f"{output_name(place.asset_path, place.key)} has no output: {pruned_text(pruned)}")
        current = newest_known(versions, ())
        if stored is not None and (current is None or not self._is_newer(place.workflow, current, stored, versions)):
            if not self._has_failed_since(place, stored, versions):
                return None
            if current is None:
                return self.rewritten(place, stored)
        if current is None:
            return None
        if not current.has_step and place.metadata_step is not None:
            older = older_with_step(current, versions)
            raise ArtifactError(
                f"{output_name(place.asset_path, place.key)} has no output, {without_step(place.step, current, older)}"
            )
        return self._of_version(place, current)

    def rewritten(self, place: OutputPlace, stored: StoredOutput) -> StoredOutput | None:
        """Return what the ledger has of the capture that is stored, where another run has written it since.

        Raises:
            ArtifactError: That run has not made the step, or it failed there: what is stored is not of the capture now.
        """
        version = _of_capture(self._versions(place), stored.capture_id)
        if version is None or not self._is_newer(place.workflow, version, stored, [version]):
            return None
        # What it failed to make, no older run of the capture stands in for.
        found = self._of_version(place, version) if version.step_status is not StepStatus.FAILED else None
        if found is None and version.has_step and place.metadata_step is not None:
            how = f"step {place.step!r} {version.step_status or 'has not run'} there; make it again"
            if version.status is RunStatus.RUNNING:
                how = f"it {version.standing}, and step {place.step!r} is not done there; try again when it is"
            raise ArtifactError(
                f"{output_name(place.asset_path, place.key)} has no output in capture {version.capture_id}, which run "
                f"{version.run_id} has begun to make again since it was stored: {how}"
            )
        return found

    def _stands(
        self, place: OutputPlace, stored: StoredOutput | None, pruned: PrunedVersion, versions: Sequence[Version]
    ) -> bool:
        """Whether a file is of what was current and was pruned, or of something newer that has not failed since."""
        if stored is None or stored.capture_id == pruned.capture_id:
            return stored is not None
        version = _of_capture(versions, stored.capture_id)
        is_newer = version is not None and not comes_after(pruned, version)
        return is_newer and not self._has_failed_since(place, stored, versions)

    def _versions(self, place: OutputPlace) -> list[Version]:
        if not place.workflow:
            return []
        partition = self._partition(place)
        if place.key is not None and partition is None:
            return []
        return self.ledger.versions(place.workflow, place.step, [partition])

    def _partition(self, place: OutputPlace) -> PartitionKey | None:
        """Return the partition that Dagster's key stands for; by no scheme, as the latest capture names dimensions."""
        if place.key is None:
            return None
        if place.scheme is not None:
            return from_dagster_key(place.key, place.scheme)
        latest = self.ledger.captures(workflow=place.workflow, limit=1)
        if not latest or latest[0].partition is None:
            return None
        names, values = sorted(latest[0].partition), str(place.key).split("|")
        return PartitionKey(**dict(zip(names, values, strict=True))) if len(names) == len(values) else None

    def _is_newer(self, workflow: str, version: Version, stored: StoredOutput, versions: Iterable[Version]) -> bool:
        """Whether a capture is newer than a file: by their revisions, else by their runs, and when those were begun."""
        known = _of_capture(versions, stored.capture_id)
        if known is not None and known.subject == version.subject and known.revision != version.revision:
            return known.revision < version.revision
        run = find_run(self.ledger, stored.run_id, workflow, version.partition)
        if run is None or _went_on_elsewhere(run):
            return True
        if stored.run_id == version.run_id:
            return False
        since = version.claimed_at
        return run.begun_at is None or since is None or run.begun_at < datetime.fromisoformat(since)

    def _has_failed_since(self, place: OutputPlace, stored: StoredOutput, versions: Iterable[Version]) -> bool:
        """Whether another run was to make the capture of a file again, and is over without: the file is of none now."""
        version = _of_capture(versions, stored.capture_id)
        if version is None or version.ended_well or version.status is RunStatus.RUNNING:
            return False
        return self._is_newer(place.workflow, version, stored, [version])

    def _of_version(self, place: OutputPlace, version: Version) -> StoredOutput | None:
        run = find_run(self.ledger, version.run_id, place.workflow, version.partition)
        if run is None:  # it was pruned meanwhile
            return None
        envelope = recorded_envelope(self.ledger, run, place.step)
        if envelope is None and version.has_step and version.ended_well and version.is_hole:
            envelope = Envelope(step=place.step, status=StepStatus.SKIPPED, error=version.error)
        return None if envelope is None else place.stored(run.context, envelope, self.artifacts)


def _of_capture(versions: Iterable[Version], capture_id: str) -> Version | None:
    return next((one for one in versions if one.capture_id == capture_id and not one.part), None)


def _went_on_elsewhere(run: RunRecord) -> bool:
    """Whether a run has gone on under its own id, which Dagster's never do: its files are of the attempt before."""
    checkpoint = run.context.checkpoint
    return checkpoint is not None and checkpoint.resumed_from == run.run_id
