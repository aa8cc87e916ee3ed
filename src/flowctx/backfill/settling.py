"""What an engine says is over is over in the ledger too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.errors import UnknownRun
from flowctx.core.partitions.key import PartitionKey

#: So many runs of a batch are looked at.
_MOST = 10_000
_WORDS = {
    PartitionState.FAILED: "its engine says that it failed",
    PartitionState.CANCELED: "it was canceled",
}


class SettledRun(NamedTuple):
    """What there is to say of a run that its engine has told of."""

    #: What is to be noted as the engine's word.
    noted: PartitionRun
    #: How it ended: by the ledger's account, if it has one, since an engine may call done what somebody marked so.
    known: PartitionRun
    #: Whether its engine calls it done, and the ledger has nothing of it although it was to be there.
    lost: bool = False


def settle_run(
    ledger: Ledger,
    workflow: str,
    outcome: PartitionRun,
    asked_at: datetime | None = None,
    *,
    batch_id: str | None = None,
    had_ledger: Callable[[PartitionRun], bool] = lambda run: False,
) -> SettledRun:
    """End a recorded run that its engine calls over.

    A step may have begun after its engine ended the run, and before it was killed for that. So what counts is when the
    engine was asked, and not when it ended the run; only a run that has begun since then is left alone.

    Args:
        ledger: Where it is recorded.
        workflow: The workflow's name.
        outcome: What the engine says of it.
        asked_at: A time on the ledger's clock before the engine was asked; by default when it ended the run.
        batch_id: The batch that the run is of; what was pruned of it is done for all that the ledger forgot.
        had_ledger: Whether a run had a ledger to be recorded in; if so, it is not done where the ledger has nothing of
            it: the ledger was away, or is an older backup.
    """
    if not outcome.state.ended:
        return SettledRun(outcome, outcome)
    partition = PartitionKey.parse(outcome.partition) if outcome.partition else None
    try:
        found = ledger.get_run(outcome.run_id, workflow=workflow, partition=partition)
    except UnknownRun:
        counts = batch_id is not None and _counts_already(ledger, workflow, outcome, batch_id)
        if outcome.state.done and not counts and had_ledger(outcome):
            why = f"{outcome.engine} calls it done, and the ledger has nothing of it"
            outcome = replace(outcome, state=PartitionState.PARTIAL, error=why)
            return SettledRun(outcome, outcome, lost=True)
        return SettledRun(outcome, outcome)
    heard_at = outcome.last_seen_at if asked_at is None else max(asked_at, outcome.last_seen_at)
    status: RunStatus | None = found.status
    if status is RunStatus.RUNNING:
        status = None
        if found.last_seen_at is None or found.last_seen_at <= heard_at:  # else it has begun again since
            status = end_run(ledger, found, RunStatus(outcome.state), outcome.error or _WORDS.get(outcome.state))
    state = outcome.state if status is None else PartitionState(status)
    if state is outcome.state or (outcome.state is PartitionState.CANCELED and not state.done):
        return SettledRun(outcome, outcome)
    error = found.error or (None if state.done else outcome.error)
    return SettledRun(outcome, replace(outcome, state=state, error=error))


def _counts_already(ledger: Ledger, workflow: str, outcome: PartitionRun, batch_id: str) -> bool:
    """Whether a run that the ledger does not have was noted as done before, or was pruned: its engine is not asked."""
    noted = ledger.batches.iter_outcomes(batch_id, [outcome.partition], workflow=workflow)
    if any(run.run_id == outcome.run_id and run.state.done for run in noted):
        return True
    partition = PartitionKey.parse(outcome.partition) if outcome.partition else None
    return any(version.batch_id == batch_id for version in ledger.pruned_versions(workflow, [partition]))


def end_silent_runs(ledger: Ledger, batch: BatchRecord) -> tuple[int, list[RunRecord]]:
    """End what a canceled batch has running in processes of flowctx's own that have died, as slices that were killed.

    A process gives signs of life; whose lease has run out without one is taken for dead.

    Args:
        ledger: Where it is recorded.
        batch: The batch, which was canceled.

    Returns:
        How many runs it ended, and those that may be under way.
    """
    why = "its batch was canceled, and its process died"
    silent, left = _silent_and_alive(ledger, batch)
    return sum(end_run(ledger, run, RunStatus.CANCELED, why) is not None for run in silent), left


def end_runs_of_slices(ledger: Ledger, batch: BatchRecord, *, over: bool) -> int:
    """End what slices of a batch have left under way that were stopped, or died; the batch goes on with it.

    Args:
        ledger: Where it is recorded.
        batch: The batch.
        over: Whether its engine calls all of them over; else what gives signs of life is left alone.

    Returns:
        How many runs it ended.
    """
    silent, alive = _silent_and_alive(ledger, batch)
    left = [
        run for run in (*silent, *(alive if over else ())) if (run.owner or "").startswith(worker_of(batch.batch_id))
    ]
    why = "its slice was stopped, or died"
    return sum(end_run(ledger, run, RunStatus.CANCELED, why) is not None for run in left)


def worker_of(batch_id: str) -> str:
    """Return how the owner of a run begins that a worker of a batch has."""
    return f"a worker of batch {batch_id!r}"


def _silent_and_alive(ledger: Ledger, batch: BatchRecord) -> tuple[list[RunRecord], list[RunRecord]]:
    """Return the runs of a batch in processes of flowctx's own whose lease has run out, and those whose has not."""
    silent: list[RunRecord] = []
    alive: list[RunRecord] = []
    now = ledger.now()
    for workflow in batch.workflows:
        running = ledger.list_runs(workflow=workflow, batch_id=batch.batch_id, status=RunStatus.RUNNING, limit=_MOST)
        for run in running:
            if run.engine == "local":
                (alive if run.lease_until is not None and run.lease_until > now else silent).append(run)
    return silent, alive
