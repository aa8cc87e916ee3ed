"""Launch several workflows on one engine: each as its own launcher does it, with one limit for all of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from flowctx.backfill.polling import PollingLauncher, UnderWay
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun
from flowctx.core.errors import BatchError
from flowctx.core.workflow.definition import Workflow


class WorkflowLaunchers(PollingLauncher):
    """Runs the partitions of a batch of several workflows on an engine.

    Args:
        launcher: Launches one workflow there.

    Raises:
        BatchError: It launches one DAG or job only.
    """

    def __init__(self, launcher: PollingLauncher) -> None:
        if launcher._named is not None:
            raise BatchError(
                f"{launcher._named!r} is named for all workflows of the batch, and runs one of them; leave it out, or "
                "launch that workflow alone"
            )
        super().__init__(launcher._client, launcher._max_active)
        self.engine = launcher.engine
        self._launcher = launcher
        self._by_workflow: dict[str, PollingLauncher] = {}

    def _of(self, workflow: str) -> PollingLauncher:
        return self._by_workflow.setdefault(workflow, copy.copy(self._launcher))

    def check(self, workflow: Workflow) -> None:
        """See whether the engine is there and can run the workflow.

        Raises:
            EngineError: It cannot; the message says what to do.
        """
        self._of(workflow.name).check(workflow)

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield what the engine knows of one workflow of a batch."""
        return self._of(workflow.name).find(batch, workflow)

    def had_ledger(self, run: PartitionRun) -> bool:
        """Return whether a run that is over says that it had a ledger to be recorded in."""
        return self._of(run.workflow).had_ledger(run)

    def cancel(self, batch: BatchRecord, runs: Sequence[PartitionRun]) -> Iterator[PartitionRun]:
        """Stop runs that are under way, and yield those that were stopped."""
        for one in batch.by_workflow():
            some = [run for run in runs if (run.workflow or batch.workflow) == one.workflow]
            stopped = self._of(one.workflow).cancel(one, some) if some else ()
            yield from (replace(run, workflow=one.workflow) for run in stopped)

    def obstacle(self) -> str | None:
        """Return what keeps the engine from running what it has started of some workflow, if it says so."""
        return next((why for one in self._by_workflow.values() if (why := one.obstacle()) is not None), None)

    def _prepare(self, batch: BatchRecord) -> None:
        for one in batch.by_workflow():
            self._of(one.workflow)._prepare(one)

    def _begin(self, batch: BatchRecord, job: Job, before: PartitionRun | None) -> PartitionRun:
        one = batch.of(job.workflow) or batch
        return replace(self._of(one.workflow)._begin(one, job, before), workflow=job.workflow)

    def _changed(self, active: Mapping[str, UnderWay]) -> Iterator[tuple[str, PartitionRun]]:
        for name in dict.fromkeys(under_way.job.workflow for under_way in active.values()):
            some = {run_id: under_way for run_id, under_way in active.items() if under_way.job.workflow == name}
            yield from ((run_id, replace(run, workflow=name)) for run_id, run in self._of(name)._changed(some))
