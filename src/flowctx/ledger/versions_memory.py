"""What other runs have made, in this process's memory: the captures of partitions, and what a step of each recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from flowctx.core.durability.records import RunKey, RunRecord, RunStatus, StepOutput, StepRecord
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.durability.versions import PrunedVersion, Version
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepStatus
from flowctx.ledger.memory_state import MemoryState
from flowctx.ledger.rows import step_row
from flowctx.ledger.standing import FindBatch, version_of


class MemoryVersions(MemoryState, FindBatch):
    """The captures of other runs; see :class:`~flowctx.core.durability.ledger.Ledger`."""

    def versions(
        self, workflow: str, step: str, partitions: Collection[PartitionKey | None], *, batch_id: str | None = None
    ) -> list[Version]:
        """Return all captures of some partitions, complete or not, with how a step of each ended."""
        wanted = set(partitions)
        with self._lock:
            by_digest = {key.digest: run for key, run in self._runs.items()}
            found = [
                version_of(by_digest[capture.holder], step, self._step(by_digest[capture.holder].key, step), capture)
                for capture in self._captures.values()
                if capture.workflow == workflow and capture.partition in wanted and capture.holder in by_digest
            ]
            parts = [
                (run, self._step(key, step))
                for key, run in self._runs.items()
                if batch_id is not None and run.context.batch_id == batch_id and run.workflow == workflow
                if run.is_part and key.partition in wanted and run.status is not RunStatus.OK
                if run.capture is not None
            ]
            recorded = [(one.started_at, 0, run, one) for run, one in parts if one is not None]
            under_way = [
                (run.begun_at or run.context.started_at, 1, run, None)
                for run, one in parts
                if one is None and run.status is RunStatus.RUNNING and step in run.selected
            ]
            in_order = sorted([*recorded, *under_way], key=lambda part: part[:2])
            return found + [version_of(run, step, record) for _, _, run, record in in_order]

    def versions_meant(
        self, workflow: str, step: str, partitions: Collection[PartitionKey | None], choices: Collection[VersionChoice]
    ) -> list[Version]:
        """Return of all captures of some partitions those that one of some choices may mean: here, all."""
        return self.versions(workflow, step, partitions)

    def versions_of_runs(self, workflow: str, step: str, run_keys: Collection[str]) -> list[Version]:
        """Return the captures that some runs hold, complete or not, with how a step of each ended."""
        wanted = set(run_keys)
        with self._lock:
            keys = {key.partition for key in self._runs if key.digest in wanted}
            return [one for one in self.versions(workflow, step, keys) if one.run_key in wanted]

    def pruned_versions(self, workflow: str, partitions: Collection[PartitionKey | None]) -> list[PrunedVersion]:
        """Return what is still known of the captures of some partitions that were complete and are pruned."""
        wanted = set(partitions)
        with self._lock:
            return [one for of, one in self._pruned.values() if of == workflow and one.partition in wanted]

    def recorded_steps(
        self, run_keys: Collection[str], *, names: Collection[str] | None = None, reading: bool = False
    ) -> dict[str, list[StepRecord]]:
        """Return the recorded steps of several runs, by the digests of their keys, in the order in which they began."""
        wanted = set(run_keys)

        def is_asked_for(one: StepRecord) -> bool:
            return (names is None or one.step in names) and (bool(one.inputs) or not reading)

        with self._lock:
            found = {
                key.digest: list(filter(is_asked_for, records.values()))
                for key, records in self._steps.items()
                if key.digest in wanted
            }
        return {digest: sorted(some, key=lambda one: one.started_at) for digest, some in found.items() if some}

    def statuses_of(self, run_keys: Collection[str]) -> dict[str, dict[str, StepStatus]]:
        """Return how the recorded steps of several runs ended, by the digests of their keys."""
        recorded = self.recorded_steps(run_keys)
        return {digest: {one.step: one.status for one in some} for digest, some in recorded.items()}

    def digests_of(
        self, steps: Collection[str], run_keys: Collection[str]
    ) -> dict[tuple[str, str], tuple[StepStatus, str]]:
        """Return how some steps of several runs ended, and the digests of what they recorded."""
        recorded = {name: self.step_outputs(name, run_keys) for name in steps}
        return {
            (digest, name): (record.status, str(record.digest))
            for name, records in recorded.items()
            for digest, record in records.items()
        }

    def runs_of(self, run_keys: Collection[str]) -> dict[str, RunRecord]:
        """Return several runs, by the digests of their keys; those that nobody knows are left out."""
        wanted = set(run_keys)
        with self._lock:
            return {
                key.digest: replace(run, last_seen_at=self._heard[key])
                for key, run in self._runs.items()
                if key.digest in wanted
            }

    def captured_partitions(self, workflow: str) -> Iterator[PartitionKey]:
        """Yield the partitions of a workflow that anybody has claimed a capture of, in no particular order."""
        with self._lock:
            found = {c.partition for c in self._captures.values() if c.workflow == workflow and c.partition is not None}
        yield from found

    def _step(self, key: RunKey, step: str) -> StepRecord | None:
        return self._steps.get(key, {}).get(step)

    def step_outputs(self, step: str, run_keys: Collection[str]) -> dict[str, StepOutput]:
        """Return what one step of several runs has returned, by the digests of their keys."""
        wanted = set(run_keys)
        with self._lock:
            found = {key.digest: records for key, records in self._steps.items() if key.digest in wanted}
        returned = {digest: records[step] for digest, records in found.items() if step in records}
        return {
            digest: StepOutput(
                status=one.status, output=one.output, version=one.version, digest=step_row(digest, one)["digest"]
            )
            for digest, one in returned.items()
        }
