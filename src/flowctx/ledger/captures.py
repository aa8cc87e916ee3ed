"""Who gets a capture: the rule that every ledger applies inside its own transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from flowctx.core.durability.records import Capture, CaptureKey, CaptureState, OnCaptured, RunRecord, RunStatus
from flowctx.core.errors import AlreadyCaptured, CaptureHeld
from flowctx.core.partitions.key import PartitionKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What somebody asks for who claims a capture."""

    #: The capture.
    key: CaptureKey
    #: Who asks for it.
    holder: str
    #: For how long.
    lease: timedelta
    #: What to do when the subject is captured already.
    on_captured: OnCaptured = "recapture"
    #: A holder that loses it, lease or not.
    instead_of: str | None = None
    #: What the capture says of the run that asks for it.
    workflow: str | None = None
    partition: PartitionKey | None = None
    run_id: str | None = None

    @classmethod
    def of(cls, run: RunRecord, key: CaptureKey, lease: timedelta, **how: Any) -> Claim:
        """Return the claim of a run to its capture; ``how`` has ``on_captured`` and ``instead_of``."""
        who: dict[str, Any] = {"workflow": run.workflow, "partition": run.context.partition, "run_id": run.run_id}
        return cls(key=key, holder=run.key.digest, lease=lease, **who, **how)

    def is_held_by_another(self, capture: Capture) -> bool:
        """Return whether neither who asks nor who loses it is the holder of a capture."""
        return capture.holder not in (self.holder, self.instead_of)


class PrunedCapture(NamedTuple):
    """A capture of a subject that was complete, and was pruned."""

    #: Its revision.
    revision: int
    #: When it was complete first.
    completed_at: datetime


def decide_claim(
    claim: Claim, rivals: Sequence[Capture], pruned: Mapping[str, PrunedCapture], now: datetime
) -> Capture:
    """Return the capture as granted.

    Args:
        claim: What is asked for.
        rivals: All captures of the subject.
        pruned: Those that were pruned, by their ids: no revision of them is given to another capture, and a capture
            that is made anew has its own again, and is no newer than it was. Those before a rival that can be read
            need not be there, but for its own.
        now: The time now.

    Raises:
        CaptureHeld: Another holder's lease runs.
        AlreadyCaptured: With ``on_captured="skip"``, this capture is complete; or another one is, and one is current.
    """
    before = next((capture for capture in rivals if capture.key == claim.key), None)
    _refuse(claim, rivals, pruned, now)
    taken = {rival.revision for rival in rivals}
    own = pruned.get(claim.key.capture_id)
    if before is not None:
        revision, first = before.revision, before.first_completed_at or before.completed_at
    elif own is not None and own.revision not in taken:
        revision, first = own
    else:
        revision, first = 1 + max([*(one.revision for one in pruned.values()), *taken], default=0), None
    return Capture(
        key=claim.key,
        revision=revision,
        fencing_token=before.fencing_token + 1 if before else 1,
        holder=claim.holder,
        state=CaptureState.HELD,
        workflow=claim.workflow,
        partition=claim.partition,
        run_id=claim.run_id,
        lease_until=now + claim.lease,
        claimed_at=now,
        first_completed_at=first,
        let_go=_let_go_before(before, now),
    )


def _let_go_before(before: Capture | None, now: datetime) -> tuple[datetime, datetime] | None:
    """Return since when a capture is not complete any more that is granted now, if that is for longer."""
    if before is None or before.completed_at is not None or before.let_go_at is None:
        return None
    return before.let_go_at, now


def _refuse(claim: Claim, rivals: Sequence[Capture], pruned: Mapping[str, PrunedCapture], now: datetime) -> None:
    """Refuse a claim against which a capture of another holder stands."""
    skips = claim.on_captured == "skip"
    is_captured = skips and _is_any_current(rivals, pruned)
    for rival in filter(claim.is_held_by_another, rivals):
        is_own = rival.key == claim.key
        if skips and rival.state is CaptureState.COMPLETE and (is_captured or is_own):
            raise AlreadyCaptured(
                f"{_about(rival)} is captured already{_by(rival)}; pass on_captured='recapture' to redo it"
            )
        if rival.state is CaptureState.HELD and rival.lease_until > now and (is_own or skips):
            raise CaptureHeld(
                f"{_about(rival)} is being written{_by(rival)}, and the lease runs until "
                f"{rival.lease_until:%Y-%m-%d %H:%M:%S} UTC; wait, or continue that run: "
                f"flowctx resume {rival.run_id or 'RUN_ID'} (if it is dead and its engine still calls it running, "
                "mark it as failed there)"
            )


def _is_any_current(rivals: Iterable[Capture], pruned: Mapping[str, PrunedCapture]) -> bool:
    """Return whether a capture is newer than all that was pruned, and was not made again since, and can be read."""
    there = {rival.revision: rival.can_be_read for rival in rivals}
    gone = max((one.revision for one in pruned.values() if one.revision not in there), default=0)
    return any(can_be_read and revision > gone for revision, can_be_read in there.items())


def let_go(capture: Capture, now: datetime) -> Capture:
    """Return a capture that is whole no more; since when and until when it was, stays known."""
    first = capture.first_completed_at or capture.completed_at
    return replace(capture, state=CaptureState.RELEASED, completed_at=None, first_completed_at=first, claimed_at=now)


def settled(capture: Capture, now: datetime, *, complete: bool, is_hole: bool = False) -> Capture:
    """Return a capture that nobody writes any more; one that says so already says since when.

    One that can be read, and tells something else from now on, counts as granted once more: it was there twice.

    Args:
        capture: The capture.
        now: The time now.
        complete: Whether it can be read.
        is_hole: Whether its run found that there is nothing.
    """
    state = CaptureState.COMPLETE if complete else CaptureState.RELEASED
    if capture.completed_at is not None:
        if capture.state is state and (complete or is_hole):
            return replace(capture, lease_until=now)
        grants = capture.fencing_token + (complete or is_hole)
        capture = replace(let_go(capture, now), fencing_token=grants)
    return replace(capture, state=state, lease_until=now, completed_at=now if complete or is_hole else None)


def to_be_claimed(captured: Capture | None, holder: str, status: RunStatus) -> bool:
    """Return whether a part that has completed its capture, or says that there is nothing, is still to be given it.

    Args:
        captured: The capture as it is, if it is there.
        holder: Who has completed it.
        status: How the part has ended: ok or skipped.

    Raises:
        AlreadyCaptured: It says that there is nothing, of what another run has completed, which stays so.
    """
    if captured is None:
        return True
    is_complete = captured.state is CaptureState.COMPLETE
    if captured.holder == holder:  # it may have been told so already
        return not (is_complete if status is RunStatus.OK else captured.is_hole)
    if status is RunStatus.SKIPPED and is_complete:
        raise AlreadyCaptured(
            f"{_about(captured)} is complete{_by(captured)} and stays so: what a part has skipped does not replace it; "
            "run the whole of it again if there is nothing"
        )
    return True


def by_subject(capture: Capture) -> tuple[str, int]:
    """Return what captures are sorted by."""
    return capture.key.idempotency_key, capture.revision


def _about(capture: Capture) -> str:
    what = f"workflow {capture.workflow!r}" if capture.workflow else f"subject {capture.key.idempotency_key}"
    where = f", partition {capture.partition}" if capture.partition else ""
    return f"{what}{where} (capture {capture.key.capture_id})"


def _by(capture: Capture) -> str:
    return f" by run {capture.run_id}" if capture.run_id else f" by {capture.holder}"
