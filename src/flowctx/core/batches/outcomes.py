"""Which of several accounts of one partition counts: what its steps recorded, and then what engines say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.errors import WorkflowChanged

#: How an error begins that says that a run could not begin, or go on, because its workflow has changed since.
CHANGED: Final = f"{WorkflowChanged.__name__}: "
#: What such an error says of parameters, and of steps.
_OF_PARAMS: Final = "- parameter '"
_OF_STEPS: Final = ("- step '", "- the code of step '")


def says_changed(error: str | None) -> bool:
    """Return whether an error says that a run could not go on because its workflow has changed since.

    Example:
        >>> says_changed("WorkflowChanged: workflow 'prices' has changed since"), says_changed(None)
        (True, False)
    """
    return (error or "").startswith(CHANGED)


def says_params_changed(error: str | None) -> bool:
    """Return whether an error says of parameters that they are not what they were; see :func:`says_changed`.

    Example:
        >>> says_params_changed("WorkflowChanged: workflow 'prices' has changed: - parameter 'limit' was removed")
        True
    """
    return says_changed(error) and _OF_PARAMS in (error or "")


def says_only_params_changed(error: str | None) -> bool:
    """Return whether an error says so, and nothing of a step.

    Example:
        >>> changed = "WorkflowChanged: - parameter 'limit' was removed"
        >>> says_only_params_changed(changed), says_only_params_changed(f"{changed} - step 'a' was removed")
        (True, False)
    """
    return says_params_changed(error) and not any(text in (error or "") for text in _OF_STEPS)


def winning_outcome(accounts: Iterable[PartitionRun]) -> PartitionRun:
    """Return how a partition stands of which there are several accounts.

    What an engine says of a run is merged with what the run's steps recorded. Then the latest run counts that wrote
    the partition's capture; others count only while that one is not done. A run of a part never hides a whole one.
    What was pruned counts where no whole run is recorded, and nothing is done.

    Raises:
        ValueError: There is no account.
    """
    accounts = list(accounts)
    if len(accounts) == 1:
        return accounts[0]
    if pruned := [account for account in accounts if account.state is PartitionState.PRUNED]:
        accounts = [account for account in accounts if _outlives(account)]
        if not accounts:
            return max(pruned, key=_heard)
    by_run: dict[str, list[PartitionRun]] = {}
    for account in accounts:
        by_run.setdefault(account.run_id, []).append(account)
    runs = [_merged(some) for some in by_run.values()]
    if len(runs) == 1:
        return runs[0]
    writers = [run for run in runs if _writes(run)]
    last = max(writers, key=lambda run: _wrote(by_run[run.run_id]), default=None)
    if last is None:
        return max(runs, key=_heard)
    if last.state is PartitionState.OK:
        return last
    others = [run for run in runs if run is last or not _writes(run)]
    if last.state is PartitionState.SKIPPED:
        others = [run for run in others if run is last or not run.state.ended]
    return max(others, key=_heard)


def _outlives(account: PartitionRun) -> bool:
    """Whether an account counts beside a version of its partition that was pruned."""
    done = account.state.done and account.state is not PartitionState.PRUNED
    return done or (account.recorded and not account.part)


def pruned_outcome(partition: str, known_since: datetime) -> PartitionRun:
    """Return how a partition stands of which a version was pruned.

    Args:
        partition: The text of its key.
        known_since: When the version was complete.
    """
    return PartitionRun(
        partition=partition,
        state=PartitionState.PRUNED,
        run_id="",
        engine="local",
        ended_at=known_since,
        last_seen_at=known_since,
    )


def _heard(run: PartitionRun) -> float:
    return run.last_seen_at.timestamp()


def _wrote(accounts: list[PartitionRun]) -> float:
    """Return when a run last wrote: of one that is recorded, its engine may say later what is long over."""
    return max(_heard(account) for account in accounts if account.recorded or not any(a.recorded for a in accounts))


def _writes(run: PartitionRun) -> bool:
    """Whether a run has the capture, or had it: an engine's word of failure alone may be of one that never began."""
    return run.state.done or (run.recorded and not run.part)


def _merged(accounts: list[PartitionRun]) -> PartitionRun:
    """Return one account of a run: its steps say what is done, its engine whether it is over."""
    recorded = next((account for account in accounts if account.recorded), None)
    reported = max((account for account in accounts if not account.recorded), key=_heard, default=None)
    if recorded is None or reported is None:
        return reported or accounts[0]
    if reported.state is PartitionState.WAITING:  # it has begun since, or had before
        return recorded
    if not reported.state.ended:
        if recorded.state.done and reported.attempt <= recorded.attempt:
            return recorded  # the engine has not heard of it yet; of what it runs again, the steps tell
        begun_again = replace(reported, recorded=True, part=recorded.part)
        return max(recorded, begun_again, key=_heard)
    if reported.state is PartitionState.CANCELED and not recorded.state.done and _heard(reported) >= _heard(recorded):
        return replace(reported, recorded=True, part=recorded.part)
    if recorded.state.ended:
        if reported.state is recorded.state and not recorded.error and reported.error:
            return replace(recorded, error=reported.error, step=reported.step)
        return replace(recorded, refused=reported.error) if _was_refused(recorded, reported) else recorded
    if not reported.attempt or _heard(recorded) > _heard(reported):
        return recorded  # somebody else is at it, or it has begun again since
    state = PartitionState.PARTIAL if reported.state.done else reported.state
    return replace(reported, state=state, recorded=True, part=recorded.part)


def _was_refused(recorded: PartitionRun, reported: PartitionRun) -> bool:
    """Whether a run that failed was launched again since, and could not go on: an attempt 0 is one that began nothing.

    Of a run that its engine began again, only its error tells that no step ran.
    """
    failed = recorded.state is reported.state is PartitionState.FAILED and _heard(reported) > _heard(recorded)
    return failed and reported.error != recorded.error and (not reported.attempt or says_changed(reported.error))


def occasion_text(as_of_date: str | None, capture_id: str | None, batch_id: str) -> str:
    """Return what tells a run without a partition from others of its batch.

    Example:
        >>> occasion_text("2026-01-09", "2026-01-09T14:00:00Z|restate", "restate")
        '2026-01-09T14:00:00Z'
        >>> occasion_text("2026-01-09", "restate", "restate")  # as flowctx 0.1 named captures
        '2026-01-09'
    """
    head, _, batch = (capture_id or "").rpartition("|")
    return (head if batch == batch_id else "") or as_of_date or capture_id or ""
