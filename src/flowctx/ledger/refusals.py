"""What every ledger answers when it must say no."""

from __future__ import annotations

from collections.abc import Sequence

from flowctx.core.durability.records import Capture, RunKey, RunRecord
from flowctx.core.errors import Superseded, UnknownBatch, UnknownRun


def superseded(key: RunKey) -> Superseded:
    """Return the answer to a write that comes too late."""
    return Superseded(
        f"run {key.text} was resumed or taken over elsewhere, so this write comes too late and is refused; "
        f"stop here, and see: flowctx show {key.run_id}"
    )


def no_longer_held(capture: Capture) -> Superseded:
    """Return the answer to a holder whose capture is another's."""
    return Superseded(
        f"capture {capture.key.capture_id} is no longer held with token {capture.fencing_token}: its lease ran out and "
        "somebody else has it, or it is settled; stop writing, and claim it anew"
    )


def taken_over(by: str | None) -> str:
    """Return the error of a run that lost its capture."""
    return f"its capture was taken over by {f'run {by}' if by else 'another holder'}"


def no_attempt(key: RunKey, attempt: int) -> UnknownRun:
    """Return the answer to a look for an attempt that was not."""
    return UnknownRun(f"run {key.text} had no attempt {attempt}; see: flowctx show {key.run_id}")


def no_batch(batch_id: str) -> UnknownBatch:
    """Return the answer to a look for a batch that nobody remembers."""
    return UnknownBatch(f"the ledger remembers no batch {batch_id!r}; see: flowctx batches")


def one_run(found: Sequence[RunRecord], run_id: str) -> RunRecord:
    """Return the one run that was found.

    Raises:
        UnknownRun: There is none, or more than one.
    """
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownRun(f"the ledger remembers no run {run_id!r} that fits; see: flowctx runs")
    texts = ", ".join(run.key.text for run in found[:5])
    raise UnknownRun(
        f"{len(found)} runs have the id {run_id!r}: {texts}{', ...' if len(found) > 5 else ''}; say which with "
        "workflow= or partition= (--workflow, --partition)"
    )
