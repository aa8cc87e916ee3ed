"""When a run is over, and whether what it leaves is whole: the one rule for all engines.

A capture is complete when every step of the workflow is, ok or skipped by its own word. A run of some of the steps is
a part: it ends as ``partial`` and captures nothing, unless other runs of the same capture have done the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.durability.resumption import run_status
from flowctx.core.workflow.cascade import Before, Order, RunIf
from flowctx.core.workflow.result import StepStatus


def end_status(order: Order, selected: Collection[str], statuses: Mapping[str, StepStatus]) -> RunStatus:
    """Return how a run stands of which some steps have ended.

    Args:
        order: All steps of the workflow in order, and which of them each one follows.
        selected: The steps that the run is to do; empty: all of them.
        statuses: How those steps ended that did, in this run or before it.

    Example:
        >>> order = {"one": (), "two": ("one",)}
        >>> end_status(order, ["one"], {"one": StepStatus.OK})
        <RunStatus.PARTIAL: 'partial'>
        >>> end_status(order, ["two"], {"one": StepStatus.OK, "two": StepStatus.OK})
        <RunStatus.OK: 'ok'>
    """
    if selected:
        own = {step: _before(after).among(selected) for step, after in order.items() if step in selected}
        ended = run_status(own, {step: status for step, status in statuses.items() if step in own})
        if ended in (RunStatus.RUNNING, RunStatus.FAILED):
            return ended
    return _or_partial(run_status(order, statuses), over=bool(selected))


def status_when_over(order: Order, statuses: Mapping[str, StepStatus]) -> RunStatus:
    """Return how a run ended that its engine calls over, whatever it calls it.

    Example:
        >>> status_when_over({"one": (), "two": ("one",)}, {"one": StepStatus.OK})
        <RunStatus.PARTIAL: 'partial'>
    """
    if StepStatus.FAILED in statuses.values():
        return RunStatus.FAILED
    return _or_partial(run_status(order, statuses), over=True)


def leads_on(order: Order, step: str, statuses: Mapping[str, StepStatus]) -> bool:
    """Return whether a step after which others run has some that are still to run."""
    if statuses.get(step) not in (StepStatus.OK, StepStatus.TOLERATED):
        return False
    after = {step}
    for name, before in order.items():  # each one after all that it follows
        if after.intersection(before):
            after.add(name)
    return not after <= statuses.keys()


def _before(after: Collection[str]) -> Before:
    return after if isinstance(after, Before) else Before.of(after, RunIf.OK)


def _or_partial(status: RunStatus, *, over: bool) -> RunStatus:
    return RunStatus.PARTIAL if over and status is RunStatus.RUNNING else status


def steps_of_other_runs(ledger: RunLedger, run: RunRecord, missing: Collection[str]) -> list[StepRecord]:
    """Return the latest records of steps that other runs of the same capture have completed."""
    ctx = run.context
    if ctx.capture_id is None:
        return []
    others = ledger.list_runs(
        workflow=run.workflow, batch_id=ctx.batch_id, partition=ctx.partition, capture_id=ctx.capture_id
    )
    found: list[StepRecord] = []
    for other in others:
        if other.key != run.key and other.capture == run.capture:
            found += ledger.steps(other.key, missing)
    return _latest(record for record in found if record.complete)


def _latest(records: Iterable[StepRecord]) -> list[StepRecord]:
    latest: dict[str, StepRecord] = {}
    for record in sorted(records, key=lambda record: record.started_at):
        latest[record.step] = record
    return list(latest.values())
