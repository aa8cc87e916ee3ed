"""Forget old runs, captures and batches in this process's memory, but never what is still current."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime

from flowctx.core.data.handles import paths_in
from flowctx.core.durability.records import Capture, CaptureState, Pruned, PrunedRuns, RunStatus
from flowctx.ledger.memory_state import MemoryState
from flowctx.ledger.standing import pruned_version


class MemoryPruning(MemoryState):
    """The pruning of a ledger in memory; see :class:`~flowctx.core.durability.ledger.Ledger`."""

    def prune(self, before: datetime, *, versions: int = 1) -> Pruned:
        """Forget what was last heard of before a time, except for what is current or is kept."""
        with self._lock:
            kept = self._kept(before, versions)
            batches = {key.digest: run.context.batch_id for key, run in self._runs.items()}
            runs = [key for key, heard in self._heard.items() if heard < before and key.digest not in kept]
            of = Counter((key.workflow, batches[key.digest]) for key in runs)
            for key in runs:
                del self._runs[key], self._heard[key], self._steps[key]
                for at in [at for at in self._contexts if at[0] == key]:
                    del self._contexts[at]
            left = kept | {key.digest for key in self._runs}
            old = [c for c in self._captures.values() if c.claimed_at < before and c.holder not in left]
            for capture in old:
                del self._captures[capture.key]
                pruned = pruned_version(capture, batches.get(capture.holder)) if capture.workflow else None
                if pruned is not None:
                    place = capture.key.idempotency_key, capture.revision
                    _, known = self._pruned.get(place, (None, pruned))
                    again = replace(known, last_completed_at=pruned.last_completed_at)
                    self._pruned[place] = capture.workflow, again
            order = sorted(of.items(), key=lambda one: (one[0][0], one[0][1] or ""))
            return Pruned(
                runs=len(runs),
                captures=len(old),
                batches=self._batches.prune(before),
                of=tuple(PrunedRuns(workflow=w, batch_id=b, runs=number) for (w, b), number in order),
            )

    def _kept(self, before: datetime, versions: int) -> set[str]:
        """Return the digests of the keys of the runs that stay whatever their age is."""
        last: dict[str, list[Capture]] = {}
        for capture in self._captures.values():
            if capture.state is CaptureState.COMPLETE:
                last.setdefault(capture.key.idempotency_key, []).append(capture)
        kept = set[str]()
        # The last word may be that there is nothing, or that what there was is whole no more: without it an older
        # capture would be read as the current one, or would not be known to be it.
        for capture in self._captures.values():
            newer = [c for c in last.get(capture.key.idempotency_key, ()) if c.revision > capture.revision]
            tells = capture.completed_at is not None or capture.first_completed_at is not None
            if tells and len(newer) < versions:
                kept.add(capture.holder)
        kept |= {c.holder for c in self._captures.values() if c.state is CaptureState.HELD and c.lease_until > before}
        live = [(key, run.lease_until) for key, run in self._runs.items() if run.status is RunStatus.RUNNING]
        kept |= {key.digest for key, until in live if until is not None and until > before}
        named = self._batches.kept()
        kept |= {key.digest for key, run in self._runs.items() if run.context.batch_id in named}
        return self._with_what_they_read(kept | {key.digest for key, heard in self._heard.items() if heard >= before})

    def _with_what_they_read(self, kept: set[str]) -> set[str]:
        """Return runs, and those of which they have read, or are to read again, however far."""
        inputs = {key.digest: [record.inputs for record in records.values()] for key, records in self._steps.items()}
        for key, run in self._runs.items():
            if run.status is not RunStatus.OK:
                inputs.setdefault(key.digest, []).extend(run.reads.values())
        pending = list(kept)
        while pending:
            reads = [read for one in inputs.get(pending.pop(), ()) for some in one.values() for read in some]
            new = {read.run_key for read in reads} - kept
            kept |= new
            pending += new
        return kept

    def would_prune(self, before: datetime, *, versions: int = 1) -> tuple[Pruned, set[str]]:
        """Return what :meth:`prune` would forget, and where the artifacts are that would still be referred to."""
        with self._lock:
            memory = (*self._memory(), *self._batches.memory())
            kept = [dict(known) for known in memory]
            pruned, paths = self.prune(before, versions=versions), self.artifact_paths()
            for known, before_it in zip(memory, kept, strict=True):
                known.clear()
                known.update(before_it)
            return pruned, paths

    def artifact_paths(self) -> set[str]:
        """Return where all artifacts are that the ledger refers to, relative to their store."""
        with self._lock:
            values = [
                value for steps in self._steps.values() for r in steps.values() for value in (r.output, r.updates)
            ]
            return {path for value in values for path in paths_in(value)}
