"""A ledger in this process's memory: for tests, and for what need not outlive the process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from flowctx.core.clock import Clock
from flowctx.core.durability.records import (
    Capture,
    CaptureKey,
    CaptureState,
    OnCaptured,
    RunKey,
    RunRecord,
    RunStatus,
    StepRecord,
)
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.result import StepStatus
from flowctx.ledger.artifacts_memory import MemoryArtifacts
from flowctx.ledger.captures import Claim, PrunedCapture, by_subject, decide_claim, let_go, settled, to_be_claimed
from flowctx.ledger.old_names import OldNames
from flowctx.ledger.ownership import follower_key, owned, refuse_alive, refuse_known, refuse_unseen, reopened
from flowctx.ledger.pruning_memory import MemoryPruning
from flowctx.ledger.refusals import no_attempt, no_longer_held, one_run, superseded, taken_over
from flowctx.ledger.versions_memory import MemoryVersions


class MemoryLedger(MemoryPruning, MemoryVersions, OldNames):
    """Remembers runs for as long as the process lives; its calls take turns, so threads may share it.

    Args:
        clock: Another clock than the machine's.
        owner: Who begins runs there, for people to read; by default this process.

    Example:
        >>> MemoryLedger().captures()
        []
    """

    def __init__(self, clock: Clock | None = None, owner: str | None = None) -> None:
        super().__init__(clock)
        self._owner = owner
        #: What the names of its artifacts begin with.
        self.artifact_prefix = f"ledger-{uuid4().hex[:12]}"
        #: What it remembers of batches.
        self.batches = self._batches
        #: What it knows of the files in its store.
        self.artifacts = MemoryArtifacts(self.now)

    # -- runs -----------------------------------------------------------------------------------------------------

    def begin(
        self,
        run: RunRecord,
        *,
        resumes: RunRecord | None = None,
        completed: Collection[str] = (),
        on_captured: OnCaptured = "recapture",
        lease: timedelta = timedelta(minutes=1),
        exclusive: bool = False,
        take_over: bool = True,
        seen: Mapping[str, StepStatus] | None = None,
    ) -> RunRecord:
        """Begin a run and claim its capture; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        with self._lock:
            known = self._runs.get(run.key)
            if known is not None and (resumes is None or resumes.key != run.key):
                if exclusive:
                    refuse_known(known, self.now())
                known = known.joined_by(run)
                if known.status is RunStatus.RUNNING:
                    return self._join(known, lease)
                key = follower_key(known)
                follower = self._runs.get(key) if key is not None else None
                run, resumes = reopened(known, self.now(), follower), None
                completed = self._steps[run.key]
            elif resumes is not None:
                self._check_resumable(resumes, seen, take_over=take_over)
                run = replace(run, fencing_token=resumes.fencing_token + 1 if known is not None else 1)
            self._take_capture(run, resumes, on_captured, lease)
            if known is not None:
                self._let_go(run.key.digest)
            self._copy_completed(run, resumes or run, completed)
            now = self.now()
            run = replace(run, **owned(self._owner, now, lease))
            self._contexts[run.key, run.attempt] = run.context
            self._runs[run.key] = run
            self._heard[run.key] = now
            return run

    def _copy_completed(self, run: RunRecord, resumes: RunRecord, completed: Collection[str]) -> None:
        before = self._steps.get(resumes.key, {})
        self._steps[run.key] = {name: record for name, record in before.items() if name in completed}
        if resumes.key == run.key:
            return
        for attempt in range(1, resumes.attempt + 1):
            self._contexts[run.key, attempt] = self._contexts[resumes.key, attempt]
        self._fence_off(resumes.key.digest, run.run_id)
        self._runs[resumes.key] = replace(self._runs[resumes.key], continued_by=run.run_id)

    def _join(self, joined: RunRecord, lease: timedelta) -> RunRecord:
        self._runs[joined.key], self._contexts[joined.key, joined.attempt] = joined, joined.context
        self.renew(joined, lease)
        return joined

    def _check_resumable(self, resumes: RunRecord, seen: Mapping[str, StepStatus] | None, *, take_over: bool) -> None:
        standing = self._owned(resumes)
        if not take_over:
            refuse_alive(standing, self.now())
        refuse_unseen(resumes, seen, str(standing.status), self.statuses(resumes.key))

    def _take_capture(
        self, run: RunRecord, resumes: RunRecord | None, on_captured: OnCaptured, lease: timedelta
    ) -> None:
        if run.capture is not None:
            instead_of = resumes.key.digest if resumes else None
            claim = Claim.of(run, run.capture, lease, on_captured=on_captured, instead_of=instead_of)
            self._claim(claim, only_ask=run.is_part)

    def _fence_off(self, digest: str, by: str | None) -> None:
        for key, run in list(self._runs.items()):
            if key.digest == digest:
                if run.status is RunStatus.RUNNING:
                    run = replace(run, status=RunStatus.FAILED, error=taken_over(by))
                self._runs[key] = replace(run, fencing_token=run.fencing_token + 1, lease_until=None)
        for capture in list(self._captures.values()):
            if capture.holder == digest and capture.state is CaptureState.HELD:
                self._captures[capture.key] = replace(capture, state=CaptureState.RELEASED)

    def _owned(self, run: RunRecord) -> RunRecord:
        known = self._runs.get(run.key)
        if known is None or known.fencing_token != run.fencing_token:
            raise superseded(run.key)
        return known

    def record(self, run: RunRecord, steps: Sequence[StepRecord]) -> None:
        """Record how steps ended; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        with self._lock:
            self._owned(run)
            self._steps[run.key].update({record.step: record for record in steps})

    def forget(self, run: RunRecord, steps: Collection[str]) -> None:
        """Forget steps that do not count any more; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        with self._lock:
            known = self._owned(run)
            reads = {name: some for name, some in known.reads.items() if name not in steps}
            self._runs[run.key] = replace(known, reads=reads)
            self._steps[run.key] = {n: record for n, record in self._steps[run.key].items() if n not in steps}
            self._heard[run.key] = self.now()
            self._let_go(run.key.digest)

    def _let_go(self, digest: str) -> None:
        for key, held in self._captures.items():
            if held.holder == digest and held.completed_at is not None:
                self._captures[key] = let_go(held, self.now())

    def finish(self, run: RunRecord, status: RunStatus, error: str | None = None) -> None:
        """Say how a run ended; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        with self._lock:
            now = self.now()
            if run.is_part and status in (RunStatus.OK, RunStatus.SKIPPED):
                self._owned(run)
                if run.capture is not None and to_be_claimed(self._captures.get(run.capture), run.key.digest, status):
                    self._take_capture(replace(run, selected=()), None, "recapture", timedelta(0))
            ended = replace(self._owned(run), status=status, error=error, finished_at=now, lease_until=None)
            self._runs[run.key] = ended
            self._heard[run.key] = now
            held = self._captures.get(run.capture) if run.capture else None
            if held is not None and held.holder == run.key.digest:
                self._settle(held, complete=status is RunStatus.OK, is_hole=status is RunStatus.SKIPPED)

    def renew(self, run: RunRecord, lease: timedelta) -> None:
        """Extend the lease of the run's capture; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        with self._lock:
            known, now = self._owned(run), self.now()
            self._runs[run.key] = replace(known, lease_until=now + lease)
            self._heard[run.key] = now
            held = self._captures.get(run.capture) if run.capture else None
            if held is not None and held.holder == run.key.digest:
                self._captures[held.key] = replace(held, lease_until=now + lease)

    def get_run(self, run_id: str, *, workflow: str | None = None, partition: PartitionKey | None = None) -> RunRecord:
        """Return a run; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        with self._lock:
            found = [run for run in self._all(workflow, partition) if run.run_id == run_id]
        return one_run(found, run_id, lambda: self.list_runs(run_id=run_id, limit=6))

    def list_runs(
        self,
        *,
        workflow: str | None = None,
        batch_id: str | None = None,
        status: RunStatus | None = None,
        partition: PartitionKey | None = None,
        capture_id: str | None = None,
        run_id: str | None = None,
        limit: int = 50,
    ) -> list[RunRecord]:
        """Return the runs that fit, the latest first."""
        with self._lock:
            found = [
                run
                for run in self._all(workflow, partition)
                if batch_id in (None, run.context.batch_id)
                and status in (None, run.status)
                and capture_id in (None, run.context.capture_id)
                and run_id in (None, run.run_id)
            ]
        return sorted(found, key=lambda run: run.context.started_at, reverse=True)[:limit]

    def run_ids(self, begun: str, *, limit: int = 10) -> list[str]:
        """Return the ids of runs that begin so, sorted, each once."""
        with self._lock:
            return sorted({run.run_id for run in self._all(None, None) if run.run_id.startswith(begun)})[:limit]

    def _all(self, workflow: str | None, partition: PartitionKey | None) -> list[RunRecord]:
        return [
            replace(run, last_seen_at=self._heard[key])
            for key, run in self._runs.items()
            if workflow in (None, run.workflow) and partition in (None, run.context.partition)
        ]

    def steps(self, key: RunKey, names: Collection[str] | None = None) -> list[StepRecord]:
        """Return the recorded steps of a run in the order in which they began."""
        with self._lock:
            found = [r for r in self._steps.get(key, {}).values() if names is None or r.step in names]
        return sorted(found, key=lambda record: record.started_at)

    def statuses(self, key: RunKey) -> dict[str, StepStatus]:
        """Return how the recorded steps of a run ended."""
        return {record.step: record.status for record in self.steps(key)}

    def context(self, key: RunKey, attempt: int) -> WorkflowContext:
        """Return what the first step of an attempt at a run saw."""
        with self._lock:
            try:
                return self._contexts[key, attempt]
            except KeyError:
                raise no_attempt(key, attempt) from None

    # -- captures -------------------------------------------------------------------------------------------------

    def claim(
        self,
        key: CaptureKey,
        *,
        holder: str,
        lease: timedelta,
        on_captured: OnCaptured = "recapture",
        workflow: str | None = None,
        partition: PartitionKey | None = None,
        run_id: str | None = None,
    ) -> Capture:
        """Claim a capture; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        with self._lock:
            who: dict[str, Any] = {"workflow": workflow, "partition": partition, "run_id": run_id}
            return self._claim(Claim(key=key, holder=holder, lease=lease, on_captured=on_captured, **who))

    def _claim(self, claim: Claim, *, only_ask: bool = False) -> Capture:
        subject = claim.key.idempotency_key
        pruned = {
            one.capture_id: PrunedCapture(one.revision, datetime.fromisoformat(one.completed_at))
            for (of, _), (_, one) in self._pruned.items()
            if of == subject
        }
        granted = decide_claim(claim, self.captures(idempotency_key=subject), pruned, self.now())
        if only_ask:
            return granted
        before = self._captures.get(claim.key)
        if before is not None and claim.is_held_by_another(before):
            self._fence_off(before.holder, claim.run_id)
        self._captures[claim.key] = granted
        return granted

    def renew_capture(self, capture: Capture, lease: timedelta) -> Capture:
        """Extend the lease of a claimed capture, from now."""
        with self._lock:
            self._held(capture)
            self._captures[capture.key] = replace(capture, lease_until=self.now() + lease)
            return self._captures[capture.key]

    def close_capture(self, capture: Capture, *, complete: bool) -> Capture:
        """Say that a claimed capture is complete, or let go of it."""
        with self._lock:
            state = CaptureState.COMPLETE if complete else CaptureState.RELEASED
            held = self._held(capture, state)  # closed so already, by this very grant, it was by us
            return self._settle(held, complete=complete)

    def _settle(self, capture: Capture, *, complete: bool, is_hole: bool = False) -> Capture:
        done = self._captures[capture.key] = settled(capture, self.now(), complete=complete, is_hole=is_hole)
        return done

    def _held(self, capture: Capture, *closed: CaptureState) -> Capture:
        held, fitting = self._captures.get(capture.key), (CaptureState.HELD, *closed)
        if held is None or held.fencing_token != capture.fencing_token or held.state not in fitting:
            raise no_longer_held(capture)
        return held

    def captures(
        self,
        *,
        idempotency_key: str | None = None,
        workflow: str | None = None,
        partition: PartitionKey | None = None,
        limit: int | None = None,
    ) -> list[Capture]:
        """Return the captures that fit, by idempotency key and revision."""
        with self._lock:
            found = [
                capture
                for capture in self._captures.values()
                if (idempotency_key is None or capture.key.idempotency_key == idempotency_key)
                and (workflow is None or capture.workflow == workflow)
                and (partition is None or capture.partition == partition)
            ]
        latest = sorted(found, key=lambda capture: capture.claimed_at, reverse=True)[:limit]
        return sorted(latest, key=by_subject)

    def current_revisions(self, idempotency_keys: Collection[str]) -> dict[str, int]:
        """Return the revision of the current capture of each of some subjects that has one."""
        there, gone = self._last_readable(), self._last_pruned()
        return {key: there[key] for key in idempotency_keys if there.get(key, 0) > gone.get(key, 0)}

    def _last_readable(self) -> dict[str, int]:
        """Return of each subject the last revision that can be read."""
        found = (one for one in self.captures() if one.can_be_read)
        return {capture.key.idempotency_key: capture.revision for capture in found}

    def _last_pruned(self) -> dict[str, int]:
        """Return of each subject the last revision that was pruned, and was not made again since."""
        with self._lock:
            there = {(capture.key.idempotency_key, capture.revision) for capture in self._captures.values()}
            return dict(sorted(self._pruned.keys() - there))

    def count_superseded(self, batch_id: str, workflow: str, *, limit: int) -> int:
        """Return how many captures of a batch are not current, because a later one of the same subject can be read."""
        some = [run for run, *_ in self._of_batch(batch_id) if run.workflow == workflow]
        latest = sorted(some, key=lambda run: str(run.context.partition or ""), reverse=True)[:limit]
        keys = {run.key.digest for run in latest}
        held = [capture for capture in self.captures(workflow=workflow) if capture.holder in keys]
        there, gone = self._last_readable(), self._last_pruned()
        keys_of = ((capture.key.idempotency_key, capture.revision) for capture in held)
        return sum(max(there.get(key, 0), gone.get(key, 0)) > revision for key, revision in keys_of)

    def remember_engine_name(self, engine: str, workflow: str, name: str, dimensions: Sequence[str] = ()) -> None:
        """Remember a name under which an engine has a workflow."""
        with self._lock:
            self._engine_names.setdefault((engine, workflow), {})[name] = tuple(dimensions)

    def engine_names(self, engine: str, workflow: str) -> dict[str, tuple[str, ...]]:
        """Return the names under which an engine has a workflow, with the dimensions of its runs there."""
        with self._lock:
            return dict(sorted(self._engine_names.get((engine, workflow), {}).items()))

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""
