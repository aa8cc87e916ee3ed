"""Forget old runs, captures and batches in this process's memory, but never what is still current."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

from flowctx.core.data.handles import paths_in
from flowctx.core.durability.records import (
    Capture,
    CaptureKey,
    CaptureState,
    Pruned,
    RunKey,
    RunRecord,
    RunStatus,
    StepRecord,
)
from flowctx.core.durability.versions import PrunedVersion
from flowctx.core.workflow.context import WorkflowContext
from flowctx.ledger.batches_memory import MemoryBatches
from flowctx.ledger.captures import by_subject
from flowctx.ledger.standing import pruned_version


class MemoryPruning:
    """The pruning of a ledger in memory; see :class:`~flowctx.core.durability.ledger.Ledger`."""

    _lock: threading.RLock
    _runs: dict[RunKey, RunRecord]
    _heard: dict[RunKey, datetime]
    _contexts: dict[tuple[RunKey, int], WorkflowContext]
    _steps: dict[RunKey, dict[str, StepRecord]]
    _captures: dict[CaptureKey, Capture]
    _pruned: dict[CaptureKey, tuple[str | None, PrunedVersion]]
    _batches: MemoryBatches

    def prune(self, before: datetime) -> Pruned:
        """Forget what was last heard of before a time, except for what is current."""
        with self._lock:
            current: dict[str, Capture] = {}
            for capture in sorted(self._captures.values(), key=by_subject):
                if capture.state is CaptureState.COMPLETE:
                    current[capture.key.idempotency_key] = capture
            kept = {capture.holder for capture in current.values()}
            # The last word may be that there is nothing: without it an older capture would be read as the current one.
            skipped = {key.digest for key, run in self._runs.items() if run.status is RunStatus.SKIPPED}
            for capture in self._captures.values():
                complete = current.get(capture.key.idempotency_key)
                if capture.holder in skipped and (complete is None or complete.revision < capture.revision):
                    kept.add(capture.holder)
            kept |= {
                c.holder for c in self._captures.values() if c.state is CaptureState.HELD and c.lease_until > before
            }
            batches = {key.digest: run.context.batch_id for key, run in self._runs.items()}
            runs = [key for key, heard in self._heard.items() if heard < before and key.digest not in kept]
            for key in runs:
                del self._runs[key], self._heard[key], self._steps[key]
                for at in [at for at in self._contexts if at[0] == key]:
                    del self._contexts[at]
            old = [c for c in self._captures.values() if c.claimed_at < before and c.holder not in kept]
            for capture in old:
                del self._captures[capture.key]
                pruned = pruned_version(capture, batches.get(capture.holder)) if capture.workflow else None
                if pruned is not None:
                    self._pruned[capture.key] = (capture.workflow, pruned)
            return Pruned(runs=len(runs), captures=len(old), batches=self._batches.prune(before))

    def would_prune(self, before: datetime) -> tuple[Pruned, set[str]]:
        """Return what :meth:`prune` would forget, and where the artifacts are that would still be referred to."""
        with self._lock:
            memory = (*self._memory(), *self._batches.memory())
            kept = [dict(known) for known in memory]
            pruned, paths = self.prune(before), self.artifact_paths()
            for known, before_it in zip(memory, kept, strict=True):
                known.clear()
                known.update(before_it)
            return pruned, paths

    def _memory(self) -> tuple[dict[Any, Any], ...]:
        return self._runs, self._heard, self._steps, self._contexts, self._captures, self._pruned

    def artifact_paths(self) -> set[str]:
        """Return where all artifacts are that the ledger refers to, relative to their store."""
        with self._lock:
            values = [
                value for steps in self._steps.values() for r in steps.values() for value in (r.output, r.updates)
            ]
            return {path for value in values for path in paths_in(value)}
