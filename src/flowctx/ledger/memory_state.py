"""What a ledger in this process's memory holds; its parts share it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from flowctx.core.clock import Clock
from flowctx.core.durability.records import Capture, CaptureKey, RunKey, RunRecord, StepRecord
from flowctx.core.durability.versions import PrunedVersion
from flowctx.core.workflow.context import WorkflowContext
from flowctx.ledger.batches_memory import MemoryBatches


class MemoryState:
    """Holds runs, captures and batches.

    Args:
        clock: Another clock than the machine's.
    """

    def __init__(self, clock: Clock | None) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._runs: dict[RunKey, RunRecord] = {}
        self._heard: dict[RunKey, datetime] = {}
        self._contexts: dict[tuple[RunKey, int], WorkflowContext] = {}
        self._steps: dict[RunKey, dict[str, StepRecord]] = {}
        self._captures: dict[CaptureKey, Capture] = {}
        self._engine_names: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
        #: What was pruned, by subject and revision, with its workflow.
        self._pruned: dict[tuple[str, int], tuple[str | None, PrunedVersion]] = {}
        self._batches = MemoryBatches(self._of_batch, self.now, self._all_pruned)

    def _memory(self) -> tuple[dict[Any, Any], ...]:
        return self._runs, self._heard, self._steps, self._contexts, self._captures, self._pruned

    def _of_batch(self, batch_id: str | None) -> list[tuple[RunRecord, datetime, list[StepRecord]]]:
        """Return the runs of a batch (``None``: of any), when they were last heard of, and their steps."""
        with self._lock:
            return [
                (run, self._heard[key], list(self._steps.get(key, {}).values()))
                for key, run in self._runs.items()
                if run.context.batch_id is not None and batch_id in (None, run.context.batch_id)
            ]

    def _all_pruned(self) -> list[tuple[str | None, PrunedVersion]]:
        """Return the versions that were pruned, and the workflow of each."""
        with self._lock:
            return list(self._pruned.values())

    def now(self) -> datetime:
        """Return the time by which leases are measured."""
        return self._clock.now() if self._clock else datetime.now(UTC)
