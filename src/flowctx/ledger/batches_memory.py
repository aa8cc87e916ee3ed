"""Batches in this process's memory."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from flowctx.core.batches.ledger import DecideBatch, LaunchLease, ParamsOfRuns, meant_batch
from flowctx.core.batches.outcomes import occasion_text, pruned_outcome, winning_outcome
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState, Standing
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.durability.versions import PrunedVersion
from flowctx.core.workflow.result import StepStatus
from flowctx.ledger.refusals import no_batch

Runs = Iterable[tuple[RunRecord, datetime, list[StepRecord]]]


class MemoryBatches:
    """Remembers batches for as long as the process lives; see :class:`~flowctx.core.batches.ledger.BatchStore`.

    Args:
        of_batch: Returns the recorded runs of a batch (``None``: of any), with when they were last heard of.
        now: Tells the time.
        pruned: Returns the versions that were pruned, and the workflow of each.
    """

    def __init__(
        self,
        of_batch: Callable[[str | None], Runs],
        now: Callable[[], datetime],
        pruned: Callable[[], Iterable[tuple[str | None, PrunedVersion]]],
    ) -> None:
        self._of_batch, self._now, self._pruned = of_batch, now, pruned
        self._lock = threading.RLock()
        self._batches: dict[str, BatchRecord] = {}
        self._launchers: dict[str, tuple[str, datetime]] = {}
        self._notes: dict[str, dict[tuple[str, str], PartitionRun]] = {}

    def put(self, batch: BatchRecord) -> None:
        """Remember a batch, or what has changed about it."""
        with self._lock:
            known = self._batches.get(batch.batch_id)
            self._batches[batch.batch_id] = replace(batch, kept_at=known.kept_at if known else None)

    def get(self, batch_id: str) -> BatchRecord:
        """Return a batch, also one of which only runs are known."""
        found = self.find(batch_id)
        if found is None:
            raise no_batch(batch_id, meant_batch(batch_id, self))
        return found

    def find(self, batch_id: str) -> BatchRecord | None:
        """Return a batch, also one of which only runs are known; ``None`` if nobody remembers it."""
        with self._lock:
            return self._batches.get(batch_id) or next(iter(self._of_runs(batch_id)), None)

    def all(self, limit: int = 50) -> list[BatchRecord]:
        """Return batches, the latest first, also those of which only runs are known."""
        with self._lock:
            found = {batch.batch_id: batch for batch in self._of_runs(None)} | self._batches
        return sorted(found.values(), key=lambda batch: batch.created_at, reverse=True)[:limit]

    def _of_runs(self, batch_id: str | None) -> Iterator[BatchRecord]:
        runs = sorted((run for run, _, _ in self._of_batch(batch_id)), key=lambda run: str(run.context.batch_id))
        for name, some in itertools.groupby(runs, key=lambda run: str(run.context.batch_id)):
            first = min(some, key=lambda run: run.context.started_at)
            yield BatchRecord(
                batch_id=name,
                workflow=first.workflow,
                import_path=first.import_path,
                engine=first.engine,
                created_at=first.context.started_at,
            )

    def lead(self, batch_id: str, launcher: str, lease: timedelta, decide: DecideBatch) -> LaunchLease:
        """Ask to be the one who launches a batch, and say what it asks for."""
        with self._lock:
            now = self._now()
            holder, until = self._launchers.get(batch_id, (launcher, now))
            if holder != launcher and until > now:
                return LaunchLease(holder, until, until - now)
            known = self._batches.get(batch_id) or next(iter(self._of_runs(batch_id)), None)
            kept_at = known.kept_at if known is not None else None
            self._batches[batch_id] = replace(decide(known), canceled_at=None, kept_at=kept_at)
            self._launchers[batch_id] = launcher, now + lease
            return LaunchLease(launcher, now + lease, lease)

    def cancel(self, batch_id: str) -> BatchRecord:
        """Say that a batch is canceled, whoever launches it."""
        with self._lock:
            self._batches[batch_id] = replace(self.get(batch_id), canceled_at=self._now())
            return self._batches[batch_id]

    def keep(self, batch_id: str, *, kept: bool = True) -> BatchRecord:
        """Say that nothing of a batch is pruned, however old it is, or that it may be again."""
        with self._lock:
            self._batches[batch_id] = replace(self.get(batch_id), kept_at=self._now() if kept else None)
            return self._batches[batch_id]

    def kept(self) -> set[str]:
        """Return the batches that are kept."""
        return {batch_id for batch_id, batch in self._batches.items() if batch.kept_at is not None}

    def acquire_launch_lease(
        self, batch_id: str, launcher: str, lease: timedelta, *, instead_of: str | None = None
    ) -> str:
        """Ask to be the one who launches a batch; returns who does."""
        with self._lock:
            if batch_id not in self._batches:
                raise no_batch(batch_id)
            now = self._now()
            holder, until = self._launchers.get(batch_id, (launcher, now))
            if holder not in (launcher, instead_of) and until > now:
                return holder
            self._launchers[batch_id] = launcher, now + lease
            return launcher

    def record_outcomes(self, batch_id: str, runs: Sequence[PartitionRun]) -> None:
        """Remember what an engine said of partitions."""
        with self._lock:
            planned = self._batches.get(batch_id)
            first = planned.workflow if planned is not None else ""
            notes = self._notes.setdefault(batch_id, {})
            for run in runs:
                name = "" if run.workflow == first else run.workflow
                notes[name, run.partition] = replace(run, workflow="")

    def iter_outcomes(
        self, batch_id: str, partitions: Collection[str] | None = None, *, workflow: str | None = None
    ) -> Iterator[PartitionRun]:
        """Yield what became of each partition, in the order of their texts."""
        accounts = self._accounts(batch_id, workflow)
        wanted = sorted((run for run in accounts if partitions is None or run.partition in partitions), key=_about)
        for _, some in itertools.groupby(wanted, key=_about):
            yield winning_outcome(some)

    def _accounts(self, batch_id: str, workflow: str | None) -> list[PartitionRun]:
        with self._lock:
            planned = self._batches.get(batch_id)
            # The batch's own has no name, unless it was noted before anybody said whose batch it is.
            own = {"", workflow} if planned is None or planned.workflow == workflow else {workflow}
            notes = self._notes.get(batch_id, {}).items()
            noted = [run for (name, _), run in notes if workflow is None or name in own]
            of_workflow = (one for one in self._of_batch(batch_id) if workflow in (None, one[0].workflow))
            pruned = [
                pruned_outcome(str(one.partition), datetime.fromisoformat(one.completed_at))
                for of, one in self._pruned()
                if one.batch_id == batch_id and one.partition is not None and workflow in (None, of)
            ]
            return [*noted, *itertools.starmap(_partition_run, of_workflow), *pruned]

    def iter_standings(self, batch_id: str, workflow: str) -> Iterator[Standing]:
        """Yield how each partition of a workflow stands in a batch."""
        return map(Standing.of, self.iter_outcomes(batch_id, workflow=workflow))

    def iter_partitions(self, batch_id: str, workflow: str, *, besides: str | None = None) -> Iterator[str]:
        """Yield the text of each partition of which anything is known in a batch, an empty one first."""
        accounts = self._accounts(batch_id, workflow)
        return iter(sorted(run.partition for run in accounts if besides is None or not run.run_id.startswith(besides)))

    def count_outcomes(self, batch_id: str, workflow: str) -> dict[str, int]:
        """Return how many partitions of a workflow stand how in a batch."""
        found = Counter(run.state for run in self.iter_outcomes(batch_id, workflow=workflow))
        return {str(state): found[state] for state in PartitionState if found[state]}

    def params_of_runs(self, batch_id: str, workflow: str, names: Collection[str]) -> list[ParamsOfRuns]:
        """Return which parameters the recorded runs of partitions have that are ok, and which have each."""
        with self._lock:
            found = [run for run, _, _ in self._of_batch(batch_id) if run.workflow == workflow]
        return [
            ParamsOfRuns(
                {name: run.context.params[name] for name in names if name in run.context.params},
                [(str(run.context.partition), run.run_id)],
            )
            for run in found
            if run.status is RunStatus.OK and run.context.partition
        ]

    def runs_by_workflow(self, batch_id: str) -> dict[str, dict[str, int]]:
        """Return how many recorded runs of each workflow carry a batch's id, by how they stand."""
        found: dict[str, dict[str, int]] = {}
        with self._lock:
            for run, _, _ in self._of_batch(batch_id):
                counts = found.setdefault(run.workflow, {})
                counts[str(run.status)] = counts.get(str(run.status), 0) + 1
        return dict(sorted(found.items()))

    def prune(self, before: datetime) -> int:
        """Forget old notes of partitions without a run, and batches of which nothing is left; return how many."""
        with self._lock:
            recorded = {(run.context.batch_id, str(run.context.partition)) for run, _, _ in self._of_batch(None)}
            launched = {name for name, (_, until) in self._launchers.items() if until > before}
            for name in self._notes.keys() - launched:
                self._notes[name] = {
                    place: run
                    for place, run in self._notes[name].items()
                    if run.last_seen_at >= before or (name, place[1]) in recorded
                }
            left = {name for name, _ in recorded} | {name for name, notes in self._notes.items() if notes} | launched
            left |= self.kept()
            old = [name for name, batch in self._batches.items() if batch.created_at < before and name not in left]
            for name in old:
                del self._batches[name]
            return len(old)

    def memory(self) -> tuple[dict[str, Any], ...]:
        """Return all that it holds."""
        return self._batches, self._launchers, self._notes


def _about(run: PartitionRun) -> str:
    return run.label


def _partition_run(run: RunRecord, last_seen_at: datetime, steps: list[StepRecord]) -> PartitionRun:
    ctx = run.context
    as_of_date = ctx.as_of_date.isoformat() if ctx.as_of_date else None
    failed = sorted((s for s in steps if s.status is StepStatus.FAILED), key=lambda step: step.started_at)
    return PartitionRun(
        partition=str(ctx.partition or ""),
        occasion="" if ctx.partition else occasion_text(as_of_date, ctx.capture_id, str(ctx.batch_id)),
        state=PartitionState(run.status),
        run_id=run.run_id,
        engine=run.engine,
        attempt=run.attempt,
        started_at=run.context.started_at,
        begun_at=run.begun_at,
        ended_at=run.finished_at,
        last_seen_at=last_seen_at,
        step=failed[0].step if failed else None,
        error=(failed[0].error if failed else None) or run.error,
        traceback=failed[0].traceback if failed else None,
        category=str(failed[0].category) if failed and failed[0].category else None,
        recorded=True,
        part=run.is_part,
    )
