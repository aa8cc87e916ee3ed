"""What an engine says is over is over in the ledger too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import NamedTuple

from flowctx.backfill.polling import PAGE, under_way_otherwise
from flowctx.backfill.selected_texts import SelectedTexts
from flowctx.core.batches.launcher import ENGINES
from flowctx.core.batches.ledger import BatchStore
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.recorded import latest_continuation
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.errors import EngineError, EngineUnavailable, UnknownRun
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow

logger = logging.getLogger("flowctx")

#: How an engine calls a run that is done; what was pruned, the ledger says.
CALLED_DONE = (PartitionState.OK, PartitionState.SKIPPED)

#: So many runs of a batch are looked at.
_MOST = 10_000
#: What to do where the ledger has nothing of what an engine calls done.
SEE_LEDGER = "see whether tasks there write to this ledger (FLOWCTX_LEDGER_URL)"
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
    #: Whether it is of a run that nothing is to be started beside: under way, with other parameters than the batch has.
    beside: bool = False


def settle_run(
    ledger: Ledger,
    workflow: str,
    outcome: PartitionRun,
    asked_at: datetime | None = None,
    *,
    is_lost: Callable[[], bool] = lambda: False,
) -> SettledRun:
    """End a recorded run that its engine calls over.

    A step may have begun after its engine ended the run, and before it was killed for that. So what counts is when the
    engine was asked, and not when it ended the run; only a run that has begun since then is left alone. So is one that
    goes on elsewhere: a worker process knows of its own runs alone, and an engine of those on it.

    Args:
        ledger: Where it is recorded.
        workflow: The workflow's name.
        outcome: What the engine says of it.
        asked_at: A time on the ledger's clock before the engine was asked; by default when it ended the run.
        is_lost: Whether a run that the ledger does not have, and that its engine calls ok, was to be in it.
    """
    if not outcome.state.ended:
        return SettledRun(outcome, outcome)
    if outcome.worker is not None:  # which was heard of by this machine's clock
        outcome = replace(outcome, last_seen_at=ledger.now())
    partition = PartitionKey.parse(outcome.partition) if outcome.partition else None
    try:
        found = ledger.get_run(outcome.run_id, workflow=workflow, partition=partition)
        if outcome.worker is not None:  # which goes on with the run that goes on with it
            found = latest_continuation(ledger, found)
    except UnknownRun:
        if outcome.state is PartitionState.OK and is_lost():
            why = f"{outcome.engine} calls it done, and the ledger has nothing of it: {SEE_LEDGER}"
            outcome = replace(outcome, state=PartitionState.PARTIAL, error=why)
            return SettledRun(outcome, outcome, lost=True)
        return SettledRun(outcome, outcome)
    status: RunStatus | None = found.status
    if status is RunStatus.RUNNING:
        status = None
        if _is_said_of(found, outcome, asked_at):
            status = end_run(ledger, found, RunStatus(outcome.state), outcome.error or _WORDS.get(outcome.state))
            found = ledger.get_run(found.run_id, workflow=workflow, partition=partition)
            if outcome.worker is not None and status is not None:
                outcome = replace(outcome, error=found.error)
    state = outcome.state if status is None else PartitionState(status)
    if state is outcome.state or (outcome.state is PartitionState.CANCELED and not state.done):
        return SettledRun(outcome, outcome)
    error = found.error or (None if state.done else outcome.error)
    return SettledRun(outcome, replace(outcome, state=state, error=error))


def _is_said_of(run: RunRecord, outcome: PartitionRun, asked_at: datetime | None) -> bool:
    """Whether what is said of a run is said of its latest attempt, as it is recorded."""
    if outcome.worker is not None:
        return run.owner == outcome.worker
    if outcome.engine in ENGINES and run.engine != outcome.engine:
        return False
    heard_at = outcome.last_seen_at if asked_at is None else max(asked_at, outcome.last_seen_at)
    return run.last_seen_at is None or run.last_seen_at <= heard_at  # else it has begun again since


class Settling(NamedTuple):
    """Settles what an engine says of a workflow's runs in a batch with what the ledger has of them."""

    ledger: Ledger
    batch_id: str
    #: The engine that is asked.
    launcher: object
    #: The workflow of runs that do not say theirs.
    workflow: str = ""
    #: Whether a run, of which its engine tells what it was given, had what a function makes of its partition.
    had_made_params: Callable[[PartitionRun], bool] = lambda run: True

    def settle(
        self, outcome: PartitionRun, asked_at: datetime | None = None, noted: PartitionRun | None = None
    ) -> SettledRun:
        """Settle one run; see :func:`settle_run`.

        Args:
            outcome: What the engine says of it.
            asked_at: A time on the ledger's clock before the engine was asked.
            noted: What was known of its partition before.
        """
        workflow = outcome.workflow or self.workflow
        lost = partial(self._is_lost, workflow, outcome, noted)
        return settle_run(self.ledger, workflow, outcome, asked_at, is_lost=lost)

    def settle_all(
        self, found: Iterator[PartitionRun], workflow: str, asked_at: datetime | None, *, was_planned: bool = True
    ) -> Iterator[SettledRun]:
        """Settle runs of one workflow; what was known before is read for many at a time.

        One with other parameters than those of the batch is left out, unless it was known; while it is under way, its
        partition cannot run.

        Args:
            found: What the engine says of them.
            workflow: The workflow's name.
            asked_at: A time on the ledger's clock before the engine was asked.
            was_planned: Whether the batch had its parameters before: of one that had not, only what is recorded is
                known, since what was noted of the others was not compared.
        """
        while some := list(islice(found, PAGE)):
            texts = {run.partition for run in some}
            outcomes = self.ledger.batches.iter_outcomes(self.batch_id, texts, workflow=workflow)
            known = {run.partition: run for run in outcomes}
            for run in some:
                before = known.get(run.partition)
                noted = before if before is not None and before.run_id == run.run_id and before.attempt > 0 else None
                is_known = noted is not None and (was_planned or noted.recorded)
                run = replace(run, workflow=workflow)
                if is_known or not (run.other_params or not self.had_made_params(run)):
                    yield self.settle(run, asked_at, before)
                elif not run.state.ended:
                    yield self._not_beside(run)
                elif noted is not None and noted.state.done:
                    why = "it had other parameters than the batch was planned with since"
                    again = replace(run, state=PartitionState.PARTIAL, error=why, ended_at=None)
                    again = replace(again, last_seen_at=self.ledger.now())
                    yield SettledRun(again, again)

    def _not_beside(self, run: PartitionRun) -> SettledRun:
        why, now = f"{run.engine.title()}: {under_way_otherwise(run.run_id)}", self.ledger.now()
        refused = replace(run, state=PartitionState.FAILED, attempt=0, error=why, last_seen_at=now)
        return SettledRun(refused, refused, beside=True)

    def _is_lost(self, workflow: str, outcome: PartitionRun, noted: PartitionRun | None) -> bool:
        """Whether a run had a ledger, and what it made is not known to be done, nor to have been pruned."""
        if noted is not None and noted.run_id == outcome.run_id and noted.state.done:
            return False
        partition = PartitionKey.parse(outcome.partition) if outcome.partition else None
        if any(one.batch_id == self.batch_id for one in self.ledger.pruned_versions(workflow, [partition])):
            return False
        # A launcher of one's own may have been written before it was asked this.
        had_ledger = getattr(self.launcher, "had_ledger", None)
        try:
            return had_ledger is not None and bool(had_ledger(replace(outcome, workflow=workflow)))
        except EngineUnavailable:
            raise
        except EngineError as exc:  # whoever launches may not be allowed to look at what steps handed on
            logger.warning("whether run %s had a ledger is not known, so it is ok: %s", outcome.run_id, exc)
            return False


def unconfirmed(
    batches: BatchStore, batch: BatchRecord, workflow: Workflow, told_of: Collection[tuple[str, str]]
) -> Iterator[PartitionRun]:
    """Yield, as partial, what was noted as done of a batch before it was planned, and nobody knows to be what it asks.

    Nothing of it is recorded, so it is the word of an engine, about a run that nobody compared with the plan.

    Args:
        batches: Where batches are remembered.
        batch: The batch, as it is planned now for one workflow.
        workflow: The workflow.
        told_of: The partitions of which the engine has told that it is launched on, by workflow: these were compared.
    """
    selected = None if workflow.partitions is None else SelectedTexts(workflow.partitions.select(batch.selection))
    for run in batches.iter_outcomes(batch.batch_id, workflow=workflow.name):
        noted = not run.recorded and run.state in CALLED_DONE
        if noted and (workflow.name, run.partition) not in told_of and selected and run.partition in selected:
            why = f"{run.engine} called it {run.state} before the batch was planned, and the ledger has nothing of it"
            again = replace(run, state=PartitionState.PARTIAL, error=why, ended_at=None)
            yield replace(again, last_seen_at=datetime.now(UTC), workflow=workflow.name)


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
    left = [run for run in (*silent, *(alive if over else ())) if has_worker_of(run, batch.batch_id)]
    why = "its slice was stopped, or died"
    return sum(end_run(ledger, run, RunStatus.CANCELED, why) is not None for run in left)


def worker_of(batch_id: str) -> str:
    """Return how the owner of a run begins that a worker of a batch has."""
    return f"a worker of batch {batch_id!r}"


def has_worker_of(run: RunRecord, batch_id: str) -> bool:
    """Return whether a worker of a batch has a run."""
    return (run.owner or "").startswith(worker_of(batch_id))


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
