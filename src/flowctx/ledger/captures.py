"""Who gets a capture: the rule that every ledger applies inside its own transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from flowctx.core.durability.records import Capture, CaptureKey, CaptureState, OnCaptured, RunRecord
from flowctx.core.errors import AlreadyCaptured, CaptureHeld


def decide_claim(
    rivals: Sequence[Capture],
    wanted: Capture,
    *,
    now: datetime,
    on_captured: OnCaptured,
    instead_of: str | None = None,
    last_pruned: int = 0,
    pruned_as: int | None = None,
) -> Capture:
    """Return the capture as granted.

    Args:
        rivals: All captures of the subject.
        wanted: The capture that is asked for, by whom and for how long; its revision and token do not count.
        now: The time now.
        on_captured: What to do when the subject is captured already.
        instead_of: A holder that loses it, lease or not.
        last_pruned: The highest revision of the subject that was pruned: no other capture is to have its number.
        pruned_as: The revision of the wanted capture, if it was pruned: it has it again, and is no newer than it was.

    Raises:
        CaptureHeld: Another holder's lease runs.
        AlreadyCaptured: With ``on_captured="skip"``, there is a complete capture.
    """
    others = [rival for rival in rivals if rival.holder not in (wanted.holder, instead_of)]
    before = next((capture for capture in rivals if capture.key == wanted.key), None)
    for rival in others:
        if on_captured == "skip" and rival.state is CaptureState.COMPLETE:
            raise AlreadyCaptured(
                f"{_about(rival)} is captured already{_by(rival)}; pass on_captured='recapture' to redo it"
            )
        if rival.state is CaptureState.HELD and rival.lease_until > now and (rival is before or on_captured == "skip"):
            raise CaptureHeld(
                f"{_about(rival)} is being written{_by(rival)}, and the lease runs until "
                f"{rival.lease_until:%Y-%m-%d %H:%M:%S} UTC; wait, or continue that run: "
                f"flowctx resume {rival.run_id or 'RUN_ID'} (if it is dead and its engine still calls it running, "
                "mark it as failed there)"
            )
    if before is not None:
        first = before.first_completed_at or before.completed_at
        token = before.fencing_token + 1
        return replace(wanted, revision=before.revision, fencing_token=token, first_completed_at=first)
    taken = {rival.revision for rival in rivals}
    if pruned_as is None or pruned_as in taken:
        pruned_as = max(last_pruned, *taken, 0) + 1
    return replace(wanted, revision=pruned_as, fencing_token=1)


def requested_capture(
    key: CaptureKey,
    *,
    holder: str,
    now: datetime,
    lease: timedelta,
    **claimant: object,
) -> Capture:
    """Return a capture as somebody asks for it."""
    return Capture(
        key=key,
        revision=0,
        fencing_token=0,
        holder=holder,
        state=CaptureState.HELD,
        lease_until=now + lease,
        claimed_at=now,
        **claimant,  # type: ignore[arg-type]
    )


def claimant_of(run: RunRecord) -> dict[str, Any]:
    """Return what a capture says of the run that asks for it."""
    return {"workflow": run.workflow, "partition": run.context.partition, "run_id": run.run_id}


def by_subject(capture: Capture) -> tuple[str, int]:
    """Return what captures are sorted by."""
    return capture.key.idempotency_key, capture.revision


def _about(capture: Capture) -> str:
    what = f"workflow {capture.workflow!r}" if capture.workflow else f"subject {capture.key.idempotency_key}"
    where = f", partition {capture.partition}" if capture.partition else ""
    return f"{what}{where} (capture {capture.key.capture_id})"


def _by(capture: Capture) -> str:
    return f" by run {capture.run_id}" if capture.run_id else f" by {capture.holder}"
