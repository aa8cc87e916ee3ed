"""Say of a run that it is over, also where it cannot say so itself: its engine has stopped it, or it died."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from flowctx.core.durability.completeness import not_ended_text, not_recorded_text, status_when_over
from flowctx.core.durability.ledger import Ledger, RunLedger
from flowctx.core.durability.records import MOST_INSTANCES, RunRecord, RunStatus, dag_ids_of
from flowctx.core.durability.resumption import failure_of, reason_of
from flowctx.core.errors import CaptureRefused, Superseded
from flowctx.core.workflow.context import engine_of
from flowctx.core.workflow.result import StepStatus


class Undone(NamedTuple):
    """A step that its engine calls failed, or that could not run."""

    #: What there is to say of it.
    why: str
    #: When it was last told to run: what was recorded before does not count.
    asked_at: datetime


#: The steps that say why a run ended so.
_TELLING = {
    RunStatus.FAILED: StepStatus.FAILED,
    RunStatus.SKIPPED: StepStatus.SKIPPED,
    RunStatus.OK: StepStatus.TOLERATED,
}

#: Returns the steps of a run that are undone, as its engine says; ``None``: it does not.
UndoneOf = Callable[[RunRecord], Mapping[str, Undone] | None]


def finish_run(ledger: RunLedger, run: RunRecord, status: RunStatus, error: str | None = None) -> RunStatus:
    """Say how a run ended, and return how: a part whose capture another run has by now is partial, and says so.

    Args:
        ledger: Where it is recorded.
        run: The run.
        status: How it ended.
        error: Why.

    Raises:
        Superseded: The run goes on elsewhere.
        LedgerError: It could not be recorded, and the setting is strict.
    """
    try:
        ledger.finish(run, status, error)
    except CaptureRefused as exc:
        ledger.finish(run, RunStatus.PARTIAL, str(exc))
        return RunStatus.PARTIAL
    return status


def recorded_reason(
    ledger: RunLedger, run: RunRecord, status: RunStatus, statuses: Mapping[str, StepStatus]
) -> str | None:
    """Return why a run ended so: the word of the first step that failed, was skipped, or is optional and failed.

    Args:
        ledger: Where it is recorded.
        run: The run.
        status: How it ended.
        statuses: How its recorded steps ended.
    """
    names = [name for name, how in statuses.items() if how is _TELLING.get(status)]
    record = next(iter(ledger.steps(run.key, names)), None) if names else None
    return reason_of(status, record.step, record.error) if record is not None else None


def end_engine_run(
    ledger: Ledger,
    run_id: str,
    engine: Mapping[str, str],
    status: RunStatus,
    error: str | None = None,
    *,
    seconds_ago: float = 0.0,
    undone: UndoneOf = lambda run: None,
) -> int:
    """End what the ledger takes for running of an engine's run, of all workflows and partitions that it serves.

    Args:
        ledger: Where it is recorded.
        run_id: The engine's id of the run.
        engine: What ``metadata["engine"]`` of the run says, at least; other engines and other DAGs have the same ids.
        status: What the engine calls it.
        error: What the engine says of it.
        seconds_ago: How long ago the engine said so: an attempt that has begun since is left alone.
        undone: Returns the steps of a run that are undone.

    Returns:
        How many it ended.
    """
    count = 0
    for run in ledger.list_runs(run_id=run_id, status=RunStatus.RUNNING, limit=MOST_INSTANCES):
        known = engine_of(run.context)
        if any(known.get(name) != value for name, value in engine.items()):
            continue
        if run.begun_at is not None and run.begun_at > ledger.now() - timedelta(seconds=seconds_ago):
            continue
        count += end_run(ledger, run, status, error, undone) is not None
    return count


def end_run(
    ledger: RunLedger, run: RunRecord, status: RunStatus, error: str | None = None, undone: UndoneOf = lambda run: None
) -> RunStatus | None:
    """End a run that the ledger takes for running, as its engine says; what its steps recorded comes first.

    A run that the engine calls failed, and of which no step is undone, is ok or skipped if all of its steps are; then
    a part is partial.

    Args:
        ledger: Where it is recorded.
        run: The run, as it was read.
        status: What the engine calls it.
        error: What the engine says of it.
        undone: As for :func:`end_engine_run`; asked where the engine is content, or the steps have all ended well.

    Returns:
        How it ended; ``None`` if it had ended already, or has gone on since.
    """
    if run.status is not RunStatus.RUNNING:
        return None
    ended, why = _ending(ledger, run, status, error, undone)
    try:
        return finish_run(ledger, run, ended, why)
    except Superseded:
        return None


def _ending(
    ledger: RunLedger, run: RunRecord, status: RunStatus, error: str | None, undone: UndoneOf
) -> tuple[RunStatus, str | None]:
    """Return how a run has ended that its engine calls over, and why."""
    statuses = ledger.statuses(run.key)
    if StepStatus.FAILED in statuses.values():
        return RunStatus.FAILED, recorded_reason(ledger, run, RunStatus.FAILED, statuses)
    found = status_when_over(dict.fromkeys(run.steps, ()), statuses)
    own_ended_well = _own_ended_well(run, statuses)
    asked = own_ended_well or (found, status) == (RunStatus.PARTIAL, RunStatus.OK)
    known = undone(run) if asked and status is not RunStatus.CANCELED else None
    if known and (whys := _undone_steps(ledger, run, known, statuses)):
        return RunStatus.FAILED, failure_of(*next(iter(whys.items())))
    if own_ended_well and known is not None:
        return found, recorded_reason(ledger, run, found, statuses)
    left = [name for name in run.steps if name not in statuses]
    # The run does not tell which of its steps follow one that was skipped: those an engine skips without a word.
    skipped = StepStatus.SKIPPED in statuses.values()
    ended = status if status in (RunStatus.FAILED, RunStatus.CANCELED) else found
    if ended is RunStatus.FAILED and error and (more := not_ended_text(left, skipped=skipped)):
        error = f"{error}; {more}"
    elif ended is RunStatus.PARTIAL and not run.is_part:
        error = error or not_recorded_text(left, skipped=skipped)
    return ended, error or recorded_reason(ledger, run, ended, statuses)


def _own_ended_well(run: RunRecord, statuses: Mapping[str, StepStatus]) -> bool:
    """Whether all steps did of the DAG that began the run; of others that make it, nobody says which are theirs."""
    selected = run.selected if len(dag_ids_of(run.context)) < 2 else ()
    own = [name for name in run.steps if name in (selected or run.steps)]
    ended = {name: how for name, how in statuses.items() if name in own}
    return status_when_over(dict.fromkeys(own, ()), ended) in (RunStatus.OK, RunStatus.SKIPPED)


def _undone_steps(
    ledger: RunLedger, run: RunRecord, undone: Mapping[str, Undone], statuses: Mapping[str, StepStatus]
) -> dict[str, str]:
    """Return the steps that have not run since they were last told to, and why."""
    found = [step for step in undone if step in statuses]
    made = {
        one.step
        for one in (ledger.steps(run.key, found) if found else ())
        if one.started_at + timedelta(seconds=one.seconds) >= undone[one.step].asked_at
    }
    return {step: one.why for step, one in undone.items() if step not in made}
