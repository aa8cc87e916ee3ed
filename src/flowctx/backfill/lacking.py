"""What of a batch lacks inputs before it begins: nobody has captured them, and the batch is not to make them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from flowctx.backfill.again import RunsAgain
from flowctx.backfill.joint import JointBackfill
from flowctx.backfill.plan import Backfill
from flowctx.core.batches.records import Job, PartitionRun
from flowctx.core.durability.current import versions_to_read
from flowctx.core.durability.versions import Version
from flowctx.core.errors import CalendarError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.inputs import Input, inputs_of

#: So many partitions are looked at, at most, and so many at a time.
MAX_LOOKED_AT: Final = 20_000
_PAGE = 500

#: A partition of a workflow, by its name.
_Place = tuple[str, PartitionKey | None]
#: What a partition reads of a step of a workflow, or why it has nothing to read.
_Read = tuple[str, str, Sequence[PartitionKey | None]] | str


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """How many partitions of a batch would run and lack inputs: those fail, or wait for what failed."""

    #: How many.
    count: int
    #: Which is the first, and what it needs, in words; empty if there is none.
    first: str
    #: Whether there may be more: of very many partitions only the first ones are looked at.
    cut: bool

    @property
    def text(self) -> str:
        """How many there are, in words; empty if there is none."""
        some = f" of the first {MAX_LOOKED_AT:,}" if self.cut else ""
        return f"{self.count:,}{some}: {self.first}" if self.count else f"none{some}" if self.cut else ""


def inputs_lacking(batch: Backfill | JointBackfill, again: RunsAgain) -> Lacking:
    """Return what of a batch would run now and lack inputs.

    Inputs that are ``optional()`` are not needed, and what the batch itself is to make before is there in time.

    Args:
        batch: The batch.
        again: What of it would run again.

    Example:
        >>> from flowctx import PartitionScheme, Workflow
        >>> tiers = PartitionScheme(tier=["T1", "T2"])
        >>> rates, report = Workflow("rates", partitions=tiers), Workflow("report", partitions=tiers)
        >>> rates.step(name="rate")(lambda ctx: {"rate": 1}) and None
        >>> report.step(name="line", inputs={"rate": rates.output("rate")})(lambda ctx, rate: dict(rate)) and None
        >>> inputs_lacking(Backfill(report, "tier=T2", "b", ledger="memory://"), RunsAgain()).first
        'tier=T2 needs tier=T2 of rates'
    """
    look = _Look(batch)
    if not look.reads_anything:
        return Lacking(count=0, first="", cut=False)
    work = batch.iter_work(None, again)
    some = itertools.islice(work, MAX_LOOKED_AT)
    while page := list(itertools.islice(some, _PAGE)):
        look.look_at(page)
    return Lacking(count=look.count, first=look.first, cut=next(work, None) is not None)


class _Look:
    """Looks at the work of a batch, in its order."""

    def __init__(self, batch: Backfill | JointBackfill) -> None:
        plans = batch.plans if isinstance(batch, JointBackfill) else [batch]
        self._plans = {plan.workflow.name: plan for plan in plans}
        self._batch_id, self._ledger = batch.batch_id, batch.ledger
        #: What is not there when its readers come: it lacks inputs itself, or has failed and does not run again.
        self._not_made: set[_Place] = set()
        self.count, self.first = 0, ""

    @property
    def reads_anything(self) -> bool:
        """Whether a workflow of the batch has inputs that it needs."""
        return any(_needed(plan.workflow) for plan in self._plans.values())

    def look_at(self, page: Sequence[Job | PartitionRun]) -> None:
        """Look at some of it, in order."""
        jobs: list[tuple[Workflow, PartitionKey | None, list[_Read]]] = []
        first = next(iter(self._plans))  # what is of the only workflow need not name it
        for item in page:
            plan = self._plans[item.workflow or first]
            if isinstance(item, Job):
                jobs.append((plan.workflow, item.key, list(_reads(plan.workflow, item.key))))
            elif not item.state.done:
                self._not_made.add((plan.workflow.name, PartitionKey.parse(item.partition)))
        missing = self._missing([read for _, _, some in jobs for read in some])
        for workflow, key, some in jobs:
            why = next((text for read in some if (text := self._why(read, missing))), "")
            if why:
                self._not_made.add((workflow.name, key))
                self.count += 1
                whose = f" of {workflow.name}" if len(self._plans) > 1 else ""
                self.first = self.first or f"{key}{whose} {why}"

    def _made_here(self, place: _Place) -> bool:
        """Whether the batch has selected a partition."""
        plan = self._plans.get(place[0])
        return plan is not None and place[1] in plan.selection

    def _missing(self, reads: Sequence[_Read]) -> set[tuple[str, str, PartitionKey | None]]:
        """Return what the ledger has nothing to read of, of all that the batch has not selected."""
        wanted: dict[tuple[str, str], dict[PartitionKey | None, None]] = {}
        for read in reads:
            if not isinstance(read, str):
                keys = (key for key in read[2] if not self._made_here((read[0], key)))
                wanted.setdefault(read[:2], {}).update(dict.fromkeys(keys))
        found: set[tuple[str, str, PartitionKey | None]] = set()
        for (workflow, step), some in wanted.items():
            versions = self._ledger.versions(workflow, step, list(some), batch_id=self._batch_id) if some else []
            chosen = versions_to_read(self._ledger, workflow, versions, self._batch_id)
            there = {key for key, one in chosen.items() if isinstance(one, Version) and one.is_read}
            found |= {(workflow, step, key) for key in some if key not in there}
        return found

    def _why(self, read: _Read, missing: set[tuple[str, str, PartitionKey | None]]) -> str:
        """Return why what a partition reads is not there, as words that follow its name; empty if it is."""
        if isinstance(read, str):
            return read
        workflow, step, keys = read
        lacking = [key for key in keys if (workflow, step, key) in missing or (workflow, key) in self._not_made]
        if not lacking:
            return ""
        more = f" and {len(lacking) - 1:,} more" if len(lacking) > 1 else ""
        return f"needs {lacking[0]}{more} of {workflow}" if lacking[0] is not None else f"needs {workflow}"


def _needed(workflow: Workflow) -> list[Input]:
    return [item for _, _, item in inputs_of(workflow) if not item.is_optional]


def _reads(workflow: Workflow, key: PartitionKey | None) -> Iterator[_Read]:
    """Yield what a partition needs of each of its inputs."""
    scheme = workflow.partitions
    for item in _needed(workflow):
        try:
            keys = item.partitions(scheme, key)
            why = item.lacking(scheme, key, keys)
        except CalendarError as exc:
            yield f"cannot be read for: {exc}"
            continue
        if why is not None:
            yield f"has no partition of {item.workflow.name} to read ({why})"
        else:
            yield item.workflow.name, item.step_name, keys
