"""How captures and batches stand for whoever reads them."""

from __future__ import annotations

from flowctx.core.batches.ledger import BatchStore
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.records import Capture, CaptureState, RunRecord, RunStatus, StepRecord
from flowctx.core.durability.versions import PrunedVersion, Version
from flowctx.ledger.rows import optional_stamp, stamp, step_row


class FindBatch:
    """Finds a batch that may not be there, in a ledger of any kind."""

    batches: BatchStore

    def find_batch(self, batch_id: str) -> BatchRecord | None:
        """Return a batch, or ``None`` if nobody remembers it."""
        return self.batches.find(batch_id)


def standing(status: RunStatus, *, complete: bool, is_hole: bool) -> RunStatus:
    """Return how a capture stands, given how its run ended: only a complete one is ok, and only a hole is skipped.

    Example:
        >>> standing(RunStatus.SKIPPED, complete=False, is_hole=True)
        <RunStatus.SKIPPED: 'skipped'>
        >>> standing(RunStatus.SKIPPED, complete=False, is_hole=False)
        <RunStatus.PARTIAL: 'partial'>
    """
    if complete:
        return RunStatus.OK
    if is_hole:
        return RunStatus.SKIPPED
    return RunStatus.PARTIAL if status in (RunStatus.OK, RunStatus.SKIPPED) else status


def pruned_version(capture: Capture, batch_id: str | None) -> PrunedVersion | None:
    """Return what stays known of a capture that is pruned; ``None`` of one that never was complete."""
    known_since = optional_stamp(capture.first_completed_at or capture.completed_at)
    if known_since is None:
        return None
    return PrunedVersion(
        partition=capture.partition,
        subject=capture.key.idempotency_key,
        capture_id=capture.key.capture_id,
        revision=capture.revision,
        batch_id=batch_id,
        completed_at=known_since,
        last_completed_at=optional_stamp(capture.completed_at or capture.claimed_at),
    )


def version_of(run: RunRecord, step: str, record: StepRecord | None, capture: Capture | None = None) -> Version:
    """Return what a run and its capture are for whoever reads a step of it; a part has no capture yet."""
    key = run.key.digest
    has_step = record is not None or step in run.steps
    captured = capture.key if capture is not None else run.capture
    return Version(
        partition=run.context.partition,
        subject=captured.idempotency_key if captured is not None else "",
        capture_id=captured.capture_id if captured is not None else "",
        revision=capture.revision if capture is not None else 0,
        run_key=key,
        run_id=run.run_id,
        batch_id=run.context.batch_id,
        status=standing(
            run.status,
            complete=capture is not None and capture.state is CaptureState.COMPLETE,
            is_hole=capture.is_hole if capture is not None else run.status is RunStatus.SKIPPED,
        ),
        error=run.error,
        completed_at=optional_stamp(capture.completed_at) if capture is not None else None,
        first_completed_at=optional_stamp(capture.first_completed_at) if capture is not None else None,
        let_go_at=optional_stamp(capture.let_go_at) if capture is not None else None,
        claimed_at=stamp(capture.claimed_at) if capture is not None else None,
        grants=capture.fencing_token if capture is not None else 0,
        part=capture is None,
        has_step=has_step,
        other_steps=() if has_step else run.steps,
        step_status=record.status if record is not None else None,
        digest=step_row(key, record)["digest"] if record is not None else None,
    )
