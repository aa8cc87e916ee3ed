"""What every ledger answers when it must say no."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flowctx.core.durability.records import Capture, RunKey, RunRecord
from flowctx.core.errors import NoLedger, Superseded, UnknownBatch, UnknownRun


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


def no_batch(batch_id: str, meant: str = "") -> UnknownBatch:
    """Return the answer to a look for a batch that nobody remembers.

    Args:
        batch_id: Its id.
        meant: The question whether another one was meant.
    """
    return UnknownBatch(f"the ledger remembers no batch {batch_id!r}; {meant}see: flowctx batches")


def no_ledger(shown: str, why: str = "the database has no tables of flowctx's") -> NoLedger:
    """Return the answer to who only reads where nothing is.

    Args:
        shown: The ledger's URL, without its password.
        why: What was seen there.
    """
    return NoLedger(
        f"there is no ledger {shown}: {why}; name one that is there (--ledger, FLOWCTX_LEDGER_URL), or make it by a "
        "first run or backfill, or by: flowctx ledger upgrade"
    )


def one_run(found: Sequence[RunRecord], run_id: str, of_id: Callable[[], Sequence[RunRecord]]) -> RunRecord:
    """Return the one run that was found.

    Args:
        found: The runs of the id, of the workflow and the partition that were asked for.
        run_id: The id.
        of_id: Returns all runs of the id.

    Raises:
        UnknownRun: There is none, or more than one.
    """
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownRun(
            f"{len(found)} runs have the id {run_id!r}: {_texts(found)}; say which with workflow= or partition= "
            "(--workflow, --partition)"
        )
    others = of_id()
    if others:
        raise UnknownRun(
            f"the ledger remembers run {run_id!r}, but as {_texts(others)}: of another workflow or partition than was "
            "asked for"
        )
    raise UnknownRun(f"the ledger remembers no run {run_id!r}; see: flowctx runs")


def _texts(found: Sequence[RunRecord]) -> str:
    return ", ".join(run.key.text for run in found[:5]) + (", ..." if len(found) > 5 else "")
