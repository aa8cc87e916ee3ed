"""Who gets a capture: the rule that every ledger applies inside its own transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from flowctx.core.durability.records import Capture, CaptureKey, CaptureState, OnCaptured, RunRecord
from flowctx.core.errors import AlreadyCaptured, CaptureHeld


def decide_claim(
    key: CaptureKey,
    rivals: Sequence[Capture],
    pruned: Mapping[str, int],
    *,
    holder: str,
    now: datetime,
    lease: timedelta,
    on_captured: OnCaptured,
    claimant: Mapping[str, Any],
    instead_of: str | None = None,
) -> Capture:
    """Return the capture as granted.

    Args:
        key: The capture that is asked for.
        rivals: All captures of the subject.
        pruned: The revisions of those that were pruned, by their ids: none is given to another capture, and a capture
            that is made anew has its own again, and is no newer than it was. Those before a rival's need not be there,
            but for its own.
        holder: Who asks for it.
        now: The time now.
        lease: For how long it is asked for.
        on_captured: What to do when the subject is captured already.
        claimant: What it says of the run that asks for it; see :func:`claimant_of`.
        instead_of: A holder that loses it, lease or not.

    Raises:
        CaptureHeld: Another holder's lease runs.
        AlreadyCaptured: With ``on_captured="skip"``, there is a complete capture.
    """
    before = next((capture for capture in rivals if capture.key == key), None)
    others = [rival for rival in rivals if rival.holder not in (holder, instead_of)]
    _refuse(others, before, now, on_captured)
    taken = {rival.revision for rival in rivals}
    revision = pruned.get(key.capture_id)
    if before is not None:
        revision = before.revision
    elif revision is None or revision in taken:
        revision = 1 + max([*pruned.values(), *taken], default=0)
    return Capture(
        key=key,
        revision=revision,
        fencing_token=before.fencing_token + 1 if before else 1,
        holder=holder,
        state=CaptureState.HELD,
        lease_until=now + lease,
        claimed_at=now,
        first_completed_at=(before.first_completed_at or before.completed_at) if before else None,
        **claimant,
    )


def _refuse(others: Sequence[Capture], before: Capture | None, now: datetime, on_captured: OnCaptured) -> None:
    """Refuse a claim against which a capture of another holder stands."""
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


def refuse_hole(captured: Capture | None, holder: str) -> None:
    """Refuse that a part says there is nothing of what another run has completed under the same capture.

    Raises:
        AlreadyCaptured: It stays complete.
    """
    if captured is not None and captured.holder != holder and captured.state is CaptureState.COMPLETE:
        raise AlreadyCaptured(
            f"{_about(captured)} is complete{_by(captured)} and stays so: what a part has skipped does not replace it; "
            "run the whole of it again if there is nothing"
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
