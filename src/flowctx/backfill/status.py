"""How a batch stands, whichever engine its partitions ran on."""

from __future__ import annotations

import itertools
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from flowctx.backfill.again import GOES_ON
from flowctx.backfill.belonging import Apart, batch_asked_of, outcomes_of, surely_unclear, told_apart
from flowctx.backfill.grid import Grid
from flowctx.backfill.run_figures import count_by_date, percentiles
from flowctx.backfill.same_batch import count_other_params
from flowctx.backfill.selected_texts import SelectedTexts
from flowctx.backfill.superseding import count_superseded
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState, Standing
from flowctx.core.data.encoding import to_json
from flowctx.core.data.secrets import without_digests
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import FlowctxError, LedgerError
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow
from flowctx.ledger import ledger_to_read

#: So many failures are listed with their errors, unless more are asked for; all are counted.
MAX_FAILURES = 1000
#: So many of them with the traceback, and so many reasons of skips.
MAX_TRACEBACKS, MAX_REASONS = 100, 20
_CANCELED = PartitionState.CANCELED
#: Of which states reasons are counted, and what a status calls them.
_REASONS = {
    PartitionState.SKIPPED: "skips",
    PartitionState.WAITING: "waits",
    PartitionState.OK: "tolerated",
    PartitionState.PARTIAL: "partial",
}


@dataclass(frozen=True, kw_only=True)
class BatchStatus:
    """How a batch stands; made by :meth:`of`."""

    #: What it was asked to run.
    batch: BatchRecord
    #: How many partitions stand how; those of which nothing is known are ``missing``.
    counts: Mapping[str, int]
    #: How many runs were on which engine; what waits has none.
    engines: Mapping[str, int]
    #: Seconds that runs took which ended at their first attempt: ``p50``, ``p90``, ``p99`` and ``max``. One that an
    #: engine ran again later, or whose first step waited for more than a minute, counts since it last began.
    seconds: Mapping[str, float]
    #: What failed, with its step and error; the first thousand, or as many as were asked for.
    failures: tuple[PartitionRun, ...]
    #: Why partitions were skipped, and how many for each reason; the most frequent ones.
    skips: Mapping[str, int]
    #: What partitions wait for that have not begun, and how many for each; the most frequent ones.
    waits: Mapping[str, int]
    #: Runs of other workflows that carry the batch's id: how many, by workflow and by how they stand.
    others: Mapping[str, Mapping[str, int]]
    #: What carries the batch's id and is none of its partitions, by how it stands: it is outside of the selection, or
    #: has no partition where others have one. It counts for nothing else.
    outside: Mapping[str, int] = field(default_factory=dict)
    #: Of how many partitions that are counted only the workflow could tell whether they are selected; at least.
    unclear: int = 0
    #: How many of them others have captured since, by workflow, among the last 10,000 of each: what the batch has of
    #: these is not current.
    superseded: Mapping[str, int] = field(default_factory=dict)
    #: Of how many that are over and not done the ledger has no run, though their engine has, by engine.
    unrecorded: Mapping[str, int] = field(default_factory=dict)
    #: How many partitions were made with other parameters than the batch has now.
    other_params: int = 0
    #: How partitions stand by date that ran for several business dates; in ``counts`` each of them counts once.
    dates: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    #: When the first run started and the last one ended.
    started_at: datetime | None
    ended_at: datetime | None
    #: What optional steps failed of, in runs that are ok, and in how many.
    tolerated: Mapping[str, int] = field(default_factory=dict)
    #: Why partitions are partial that were to be whole, and how many for each; the most frequent reasons.
    partial: Mapping[str, int] = field(default_factory=dict)
    #: Why what failed could not go on when it was launched again, and how many for each; the most frequent reasons.
    refused: Mapping[str, int] = field(default_factory=dict)
    #: Its partitions in rows and columns; those of which anything is known, where nobody planned it or its workflow is
    #: not at hand, in the order of their texts; of several workflows, none.
    grid: Grid | None = field(default=None, repr=False)
    #: The partition that was captured last; of several workflows, each has its own.
    latest: Standing | None = field(default=None, repr=False)
    #: How each workflow stands, where the batch has several, those that are read first.
    by_workflow: tuple[BatchStatus, ...] = ()

    @property
    def total(self) -> int:
        """How many partitions it has."""
        selected = self.batch.total_of_all if self.unclear else None
        return sum(self.counts.values()) if selected is None else selected

    @property
    def complete(self) -> bool:
        """Whether each partition is captured or was skipped, for certain, and there is one; of each workflow.

        Of a batch that nobody planned, also what is ``outside``, and each of ``dates``: nothing says it was not to run.
        """
        left = self.missing or self.unclear or not self.counts or not all(one.complete for one in self.by_workflow)
        unplanned = (self.outside, *self.dates.values()) if self.batch.selection is None else ()
        states = itertools.chain(self.counts, *unplanned)
        return not left and all(PartitionState(state).done for state in states)

    @property
    def failed(self) -> int:
        """How many failures there are to list, as :attr:`complete` counts them."""
        name = str(PartitionState.FAILED)
        return self.counts.get(name, 0) + (self.outside.get(name, 0) if self.batch.selection is None else 0)

    @property
    def missing(self) -> int:
        """How many partitions have not been run."""
        return self.counts.get("missing", 0)

    @classmethod
    def of(
        cls,
        ledger: Ledger | str,
        batch_id: str,
        workflow: Workflow | None = None,
        *others: Workflow,
        failures: int = MAX_FAILURES,
    ) -> BatchStatus:
        """Read how a batch stands.

        Args:
            ledger: Where it is remembered, or its URL.
            batch_id: The batch.
            workflow: Its workflow, which knows what is missing; nothing is imported because a ledger says so.
            *others: The others, where it has several, in any order.
            failures: So many failures are listed with their errors.

        Raises:
            UnknownBatch: The ledger remembers no such batch.
            BatchError: The batch was planned, and not for one of these workflows.
            ContextError: What was given is no ledger.
            LedgerError: There is no ledger.

        Example:
            >>> from flowctx import PartitionScheme, Workflow
            >>> from flowctx.backfill import Backfill
            >>> from flowctx.ledger import open_ledger
            >>> ledger = open_ledger("memory://")
            >>> flow = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2"]))
            >>> ledger.batches.put(Backfill(flow, "tier=T1", "restate", ledger=ledger).record())
            >>> BatchStatus.of(ledger, "restate", flow).counts
            {'missing': 1}
        """
        found = ledger_to_read(ledger)
        if found is None:
            raise LedgerError("how a batch stands is in its ledger; pass ledger= or set FLOWCTX_LEDGER_URL")
        batch = found.batches.get(batch_id)
        workflows = [workflow, *others] if workflow is not None else []
        asked = {one.name: batch_asked_of(batch, one) for one in workflows}
        if batch.others or len(asked) > 1:
            each = batch.by_workflow() if batch.others else [*asked.values()]
            return _of_several(found, batch, each, workflows, failures)
        batch = next(iter(asked.values()), batch)
        return cls._of_one(found, batch, workflow, _Survey(_selection(batch, workflow), failures))

    @classmethod
    def _of_one(cls, ledger: Ledger, batch: BatchRecord, workflow: Workflow | None, survey: _Survey) -> BatchStatus:
        batch_id, selection = batch.batch_id, survey.selection
        found = list(ledger.batches.iter_standings(batch_id, batch.workflow))
        apart = survey.told_apart(ledger, batch, found)
        runs = survey.over(found, apart)
        # Of what an engine started, also what maps are reduced to.
        listed = runs if batch.selection is not None else found
        failed = [run.partition for run in listed if run.state is PartitionState.FAILED][: survey.most]
        survey.failures = list(_failures(ledger, batch, failed))
        by_workflow = ledger.batches.runs_by_workflow(batch_id)
        known = sum(survey.counts.values())
        total = len(selection) if selection is not None else batch.total or known
        missing = {"missing": total - known} if total > known else {}
        unclear = 0 if selection is not None else surely_unclear(batch, known, apart)
        occasions = [run for run in runs if run.occasion]
        if selection is not None and workflow is not None and workflow.partitions is not None:
            grid: Grid | None = Grid.of(workflow.partitions, selection, runs)
        else:
            grid = Grid.of_occasions(occasions) if occasions else Grid.of_runs(runs)
        return cls(
            batch=batch,
            counts={str(state): survey.counts[state] for state in PartitionState if state in survey.counts} | missing,
            outside=survey.outside,
            unclear=unclear,
            others={name: n for name, n in by_workflow.items() if name != batch.workflow},
            superseded=count_superseded(ledger, batch),
            other_params=count_other_params(ledger.batches, batch, runs),
            dates=count_by_date(ledger, batch, runs, sum(by_workflow.get(batch.workflow, {}).values())),
            grid=grid,
            latest=max((run for run in runs if _is_captured(run)), key=attrgetter("ended_at"), default=None),
            **survey.facts(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data, without the grid."""
        batch = self.batch
        several = {"workflows": [one.to_dict() for one in self.by_workflow]} if self.by_workflow else {}
        return {
            "batch_id": batch.batch_id,
            "workflow": batch.workflow,
            "selection": batch.selection,
            "params": to_json(without_digests(batch.params)),
            "params_from": batch.params_from,
            "other_params": self.other_params,
            "created_at": batch.created_at.isoformat(),
            "canceled_at": _iso(batch.canceled_at),
            "total": self.total,
            "counts": dict(self.counts),
            "outside": dict(self.outside),
            "unclear": self.unclear,
            "superseded": dict(self.superseded),
            "unrecorded": dict(self.unrecorded),
            "others": {name: dict(counts) for name, counts in self.others.items()},
            "dates": {date: dict(counts) for date, counts in self.dates.items()},
            "engines": dict(self.engines),
            "seconds": dict(self.seconds),
            "started_at": _iso(self.started_at),
            "ended_at": _iso(self.ended_at),
            "failures": [_failure_data(run, place < MAX_TRACEBACKS) for place, run in enumerate(self.failures)],
            "skips": dict(self.skips),
            "waits": dict(self.waits),
            "tolerated": dict(self.tolerated),
            "partial": dict(self.partial),
            "refused": dict(self.refused),
            **several,
        }


class _Survey:
    """Counts while outcomes go by."""

    def __init__(self, selection: Selection | None, most: int) -> None:
        self.selection, self.most = selection, most
        self.counts: dict[PartitionState, int] = {}
        self.outside: dict[str, int] = {}
        self.engines: Counter[str] = Counter()
        self.failures: list[PartitionRun] = []
        self.reasons: dict[PartitionState, Counter[str]] = {state: Counter() for state in _REASONS}
        self.unrecorded: Counter[str] = Counter()
        self.seconds = array("d")
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None

    def facts(self) -> dict[str, Any]:
        """Return what it has counted, under the names that a status has for it."""
        return {
            **{name: dict(self.reasons[state].most_common(MAX_REASONS)) for state, name in _REASONS.items()},
            "engines": dict(self.engines),
            "seconds": percentiles(self.seconds),
            "failures": tuple(self.failures),
            "unrecorded": dict(self.unrecorded),
            "refused": dict(Counter(refusals(self.failures)).most_common(MAX_REASONS)),
            "started_at": self.started_at,
            "ended_at": self.ended_at,
        }

    def add(self, other: _Survey, workflow: str) -> None:
        """Count what another has counted, of one workflow."""
        self.engines.update(other.engines)
        self.failures += [replace(run, workflow=workflow) for run in other.failures]
        del self.failures[self.most :]
        for state, reasons in other.reasons.items():
            self.reasons[state].update(reasons)
        self.unrecorded.update(other.unrecorded)
        self.seconds.extend(other.seconds)
        self.started_at = min(filter(None, (self.started_at, other.started_at)), default=None)
        self.ended_at = max(filter(None, (self.ended_at, other.ended_at)), default=None)

    def told_apart(self, ledger: Ledger, batch: BatchRecord, runs: Sequence[Standing]) -> Apart:
        """Tell which of some runs are of no partition of the batch: its selection does, or else its text."""
        if self.selection is None:
            return told_apart(ledger.batches, batch)
        selected = SelectedTexts(self.selection)
        return Apart(frozenset(run.partition for run in runs if run.partition not in selected))

    def over(self, runs: Sequence[Standing], apart: Apart) -> list[Standing]:
        """Return the runs of partitions that are selected, and count them."""
        found = [run for run in runs if run.partition not in apart.outside] if apart.outside else list(runs)
        if apart.outside:
            self.outside = dict(Counter([str(run.state) for run in runs if run.partition in apart.outside]))
        ok = PartitionState.OK
        self.counts = dict(Counter([run.state for run in found]))
        self.engines = Counter([run.engine for run in found if run.has_run])
        for run in found:
            if run.state is not ok or run.error:
                self._add_reason(run)
                if run.state in GOES_ON and run.has_run and not run.recorded:
                    self.unrecorded[run.engine] += 1
        times = (run.seconds for run in found if run.attempt == 1 and run.state is not _CANCELED)
        self.seconds.extend([seconds for seconds in times if seconds is not None])
        self.started_at = min([run.started_at for run in found if run.started_at], default=None)
        self.ended_at = max([run.ended_at for run in found if run.ended_at], default=None)
        return found

    def _add_reason(self, run: Standing) -> None:
        reasons = self.reasons.get(run.state)
        if reasons is None or (run.state is PartitionState.PARTIAL and not run.error):
            return  # there is none, as of a part that was asked for
        if run.error in reasons or len(reasons) < MAX_FAILURES:
            reasons[run.error or "no reason given"] += 1


def refusals(failures: Iterable[PartitionRun]) -> Iterator[str]:
    """Yield why what failed could not go on, in words that are the same for all that have one reason."""
    for run in failures:
        if run.refused is not None:
            yield " ".join(run.refused.split()).replace(f" {run.run_id} ", " RUN ")


def _failure_data(run: PartitionRun, traced: bool) -> dict[str, Any]:
    """Return a failure as JSON-ready data, with its traceback or without."""
    return {
        **({"workflow": run.workflow} if run.workflow else {}),
        "partition": run.label,
        "step": run.step,
        "error": run.error,
        "refused": run.refused,
        "run_id": run.run_id if run.has_run else None,
        "engine": run.engine,
        "attempt": run.attempt,
        "category": run.category,
        "traceback": run.traceback if traced else None,
    }


def _failures(ledger: Ledger, batch: BatchRecord, partitions: Sequence[str]) -> Iterator[PartitionRun]:
    """Yield the outcomes of partitions that failed."""
    found = outcomes_of(ledger.batches, batch, partitions)
    failed = (run for run in found if run.state is PartitionState.FAILED)
    return itertools.islice(failed, len(partitions))


def _is_captured(run: Standing) -> bool:
    return run.recorded and run.state is PartitionState.OK and run.ended_at is not None


def _of_several(
    ledger: Ledger, batch: BatchRecord, each: Sequence[BatchRecord], workflows: Sequence[Workflow], most: int
) -> BatchStatus:
    """Return how a batch of several workflows stands: the whole, and each of them."""
    known = {workflow.name: workflow for workflow in workflows}
    total = _Survey(None, most)
    found: list[BatchStatus] = []
    for one in each:
        workflow = known.get(one.workflow)
        survey = _Survey(_selection(one, workflow), most)
        status = BatchStatus._of_one(ledger, one, workflow, survey)
        total.add(survey, one.workflow)
        found.append(replace(status, others={}))
    states = [*map(str, PartitionState), "missing"]
    sums = {state: sum(status.counts.get(state, 0) for status in found) for state in states}
    names = {one.workflow for one in each}
    others = {n: counts for n, counts in ledger.batches.runs_by_workflow(batch.batch_id).items() if n not in names}
    return BatchStatus(
        batch=batch,
        counts={state: count for state, count in sums.items() if count},
        outside=dict(sum((Counter(status.outside) for status in found), Counter())),
        unclear=sum(status.unclear for status in found),
        others=others,
        superseded={name: count for status in found for name, count in status.superseded.items()},
        other_params=sum(status.other_params for status in found),
        dates={d: sum((Counter(one.dates.get(d)) for one in found), Counter()) for one in found for d in one.dates},
        by_workflow=tuple(found),
        **total.facts(),
    )


def counted(counts: Mapping[str, int]) -> str:
    """Return counts in words.

    Example:
        >>> counted({"ok": 1200, "failed": 3})
        '1,200 ok, 3 failed'
    """
    return ", ".join(f"{count:,} {state}" for state, count in counts.items())


def _selection(batch: BatchRecord, workflow: Workflow | None) -> Selection | None:
    if workflow is None or workflow.partitions is None or batch.selection is None:
        return None
    try:
        found = workflow.partitions.select(batch.selection)
    except FlowctxError:  # the scheme has changed since
        return None
    same = batch.digest is None or found.has_digest(batch.digest)
    return found if same else None  # else it has changed, and the batch has not


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
