"""When a run is over, and whether what it leaves is whole: the one rule for all engines.

A capture is complete when every step of the workflow is, ok or skipped by its own word. A run of some of the steps is
a part: it ends as ``partial`` and captures nothing, unless other runs of the same capture have done the rest.

What other runs have done counts only where each step was made of what the steps that it follows have made last. So the
records of one run hold together: where it has a step and one that it follows, the one was made of the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.durability.resumption import run_status
from flowctx.core.workflow.cascade import Order, before_of, ends_of, followers, nearest_before
from flowctx.core.workflow.result import StepStatus

#: So many runs of one capture are looked at, the latest: a part may fail every minute for a week before it is well.
_MOST_RUNS: Final = 10_000
#: Of so many runs at a time the records are in memory, with outputs of up to 48 KiB each.
_AT_A_TIME: Final = 100


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
        own = {step: before_of(after).among(selected) for step, after in order.items() if step in selected}
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


def unrecorded_steps(order: Order, statuses: Mapping[str, StepStatus]) -> list[str]:
    """Return the steps of a run of which nothing is known, nor follows from what is known of those before them.

    Example:
        >>> unrecorded_steps({"one": (), "two": ("one",), "three": ("two",)}, {"one": StepStatus.OK})
        ['two', 'three']
    """
    return [step for step, status in ends_of(order, statuses).items() if status is None]


def not_recorded_text(steps: Collection[str], *, skipped: bool = False) -> str | None:
    """Return that nothing is recorded of steps of a run that is over, if there are some.

    Args:
        steps: The steps.
        skipped: Whether they may have been skipped after another one, of which an engine records nothing.

    Example:
        >>> not_recorded_text(["two", "three"])
        "steps 'two' and 'three' are not recorded: they have not run, or not since a step before them, or the ledger \
was away; run them again"
    """
    if not steps:
        return None
    are, have, were, them = ("are", "they have", "were", "them") if len(steps) > 1 else ("is", "it has", "was", "it")
    skips = f"{were} skipped, " if skipped else ""
    again = "" if skipped else f"; run {them} again"
    why = f"{have} not run, or not since a step before {them}, {skips}or the ledger was away"
    return f"{_named(steps)} {are} not recorded: {why}{again}"


def not_ended_text(steps: Sequence[str], *, skipped: bool = False) -> str | None:
    """Return which step of a run that died had not ended: the first of those of which nothing is recorded.

    Args:
        steps: Those steps, in order.
        skipped: As for :func:`not_recorded_text`; then any of them may be the one.

    Example:
        >>> not_ended_text(["two", "three"]), not_ended_text(["two", "three"], skipped=True)
        ("step 'two' had not ended", "steps 'two' and 'three' had not ended, or were skipped")
    """
    if not skipped:
        return f"step {steps[0]!r} had not ended" if steps else None
    were = "were" if len(steps) > 1 else "was"
    return f"{_named(steps)} had not ended, or {were} skipped" if steps else None


def leads_on(order: Order, step: str, statuses: Mapping[str, StepStatus]) -> bool:
    """Return whether a step after which others run has some that are still to run."""
    if statuses.get(step) not in (StepStatus.OK, StepStatus.TOLERATED):
        return False
    return not followers(order, [step]) <= statuses.keys()


def _or_partial(status: RunStatus, *, over: bool) -> RunStatus:
    return RunStatus.PARTIAL if over and status is RunStatus.RUNNING else status


@dataclass(frozen=True, kw_only=True)
class CaptureSteps:
    """What all runs of one capture together have done of it, for one of them that is over."""

    #: The records of steps that this run has not, and that count.
    others: tuple[StepRecord, ...] = ()
    #: The steps that do not count, and for each one that it follows and is not made of, or that does not count itself.
    outdated: Mapping[str, str] = field(default_factory=dict)

    def statuses(self, own: Mapping[str, StepStatus]) -> dict[str, StepStatus]:
        """Return how the steps ended that count, given those of the run."""
        counted = {step: status for step, status in own.items() if step not in self.outdated}
        return counted | {record.step: record.status for record in self.others}

    @property
    def why_not_whole(self) -> str | None:
        """Why steps do not count, and what to do about it.

        Example:
            >>> CaptureSteps(outdated={"two": "one", "three": "two"}).why_not_whole
            "steps 'two' and 'three' are not made of what step 'one' has made last; run them again"
        """
        if not self.outdated:
            return None
        newer = dict.fromkeys(before for before in self.outdated.values() if before not in self.outdated)
        are, them = ("are", "them") if len(self.outdated) > 1 else ("is", "it")
        have = "have" if len(newer) > 1 else "has"
        return f"{_named(self.outdated)} {are} not made of what {_named(newer)} {have} made last; run {them} again"


def _named(steps: Iterable[str]) -> str:
    *most, last = map(repr, steps)
    return f"steps {', '.join(most)} and {last}" if most else f"step {last}"


def steps_of_capture(ledger: RunLedger, run: RunRecord, order: Order, own: Collection[str]) -> CaptureSteps:
    """Return what all runs of a run's capture together have done, as far as it is made of one another.

    A step counts if it was made after all that it follows were made last.

    Args:
        ledger: Where the runs are recorded.
        run: The run; its own records go before those of others.
        order: All steps of the workflow in order, and which of them each one follows.
        own: The steps that the run has recorded itself.
    """
    runs = [one.without_outputs() for one in _recorded(ledger, [run, *_other_runs(ledger, run)])]
    found = _latest(record for one in runs[1:] for record in one.records.values() if record.step not in own)
    latest = {**_by_name(found), **runs[0].records}
    outdated: dict[str, str] = {}
    for step in order:
        before = nearest_before(order, latest, step) if step in latest else ()
        newer = (name for name in before if name in outdated or not _made_after(runs, latest[step], latest[name]))
        if (name := next(newer, None)) is not None:
            outdated[step] = name
    if not outdated.keys().isdisjoint(own):
        # A run's records hold together: beside one that does not count, there is no place for what it is not made of.
        return CaptureSteps(outdated=outdated)
    counted = [latest[step] for step in order if step in latest and step not in own and step not in outdated]
    others = tuple(record for one in counted for record in _with_output(ledger, runs, one))
    return CaptureSteps(others=others, outdated=outdated)


@dataclass(frozen=True)
class _Recorded:
    """A run and its complete steps."""

    run: RunRecord
    records: Mapping[str, StepRecord]

    def without_outputs(self) -> _Recorded:
        """Return it with what is to be compared of its steps."""
        return _Recorded(self.run, {name: _compared(record) for name, record in self.records.items()})

    def has(self, record: StepRecord) -> bool:
        """Whether it has done just that, or has taken it over."""
        found = self.records.get(record.step)
        return found is not None and _is_same(found, record)

    def did(self, record: StepRecord) -> bool:
        """Whether it has done just that itself, in its latest attempt."""
        to_do = not self.run.is_part or record.step in self.run.selected
        return to_do and record.run_attempt == self.run.attempt and self.has(record)


def _recorded(
    ledger: RunLedger, runs: Sequence[RunRecord], names: Collection[str] | None = None
) -> Iterator[_Recorded]:
    """Yield runs with their complete steps, all or those named, many by one query."""
    for start in range(0, len(runs), _AT_A_TIME):
        some = runs[start : start + _AT_A_TIME]
        found = ledger.recorded_steps([run.key.digest for run in some], names=names)
        for run in some:
            yield _Recorded(run, _by_name(one for one in found.get(run.key.digest, ()) if one.complete))


def _compared(record: StepRecord) -> StepRecord:
    return StepRecord(
        step=record.step,
        status=record.status,
        started_at=record.started_at,
        seconds=record.seconds,
        run_attempt=record.run_attempt,
    )


def _with_output(ledger: RunLedger, runs: Iterable[_Recorded], record: StepRecord) -> list[StepRecord]:
    """Return a record with its output; none if its run has made the step again by now."""
    run = next(one.run for one in runs if one.has(record))
    return [one for one in ledger.steps(run.key, [record.step]) if _is_same(one, record)]


def _made_after(runs: Collection[_Recorded], record: StepRecord, before: StepRecord) -> bool:
    """Return whether a step was made after another one that it follows.

    A run that has both says so: it was, unless that other one was made again since. Else the order in which runs were
    begun and ended, by the ledger's clock, and at last the times that the steps themselves have told.
    """
    those = [one for one in runs if one.has(record)]
    known = [one.records[before.step] for one in those if before.step in one.records]
    if known:
        return all(_is_same(one, before) for one in known)
    if _in_turn(runs, before, record):
        return True
    if _in_turn(runs, record, before):
        return False
    return record.started_at >= before.started_at + timedelta(seconds=before.seconds)


def _in_turn(runs: Collection[_Recorded], first: StepRecord, second: StepRecord) -> bool:
    """Return whether a run that has done one step was over when the run was begun that did another one."""
    over = [one.run.finished_at for one in runs if one.has(first) and one.run.finished_at is not None]
    begun = [one.run.begun_at for one in runs if one.did(second) and one.run.begun_at is not None]
    return bool(over and begun) and min(over) <= max(begun)


def _is_same(one: StepRecord, other: StepRecord) -> bool:
    """Whether two records are of one and the same execution: other runs take it over as it is."""
    return (one.started_at, one.seconds) == (other.started_at, other.seconds)


def steps_of_other_runs(ledger: RunLedger, run: RunRecord, missing: Collection[str]) -> list[StepRecord]:
    """Return the latest records of steps that other runs of the same capture have completed."""
    found: list[StepRecord] = []
    for other in _recorded(ledger, _other_runs(ledger, run), missing):
        found = _latest([*found, *other.records.values()])
    return found


def _other_runs(ledger: RunLedger, run: RunRecord) -> list[RunRecord]:
    ctx = run.context
    if ctx.capture_id is None:
        return []
    others = ledger.list_runs(
        workflow=run.workflow,
        batch_id=ctx.batch_id,
        partition=ctx.partition,
        capture_id=ctx.capture_id,
        limit=_MOST_RUNS,
    )
    return [other for other in others if other.key != run.key and other.capture == run.capture]


def _latest(records: Iterable[StepRecord]) -> list[StepRecord]:
    return list(_by_name(sorted(records, key=lambda record: record.started_at)).values())


def _by_name(records: Iterable[StepRecord]) -> dict[str, StepRecord]:
    return {record.step: record for record in records}
