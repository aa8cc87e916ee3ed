"""Which partitions were built on something else than would be read now; and by which way."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from flowctx.core.durability.current import under_way
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import StepRecord
from flowctx.core.durability.versions import PrunedVersion, Version, newest, newest_known, newest_pruned, pruned_text
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow, expect_workflow, workflows_read
from flowctx.versions.changes import Tolerance
from flowctx.versions.choosing import StepVersions, required_ledger
from flowctx.versions.reading_graph import CURRENT, ReadingGraph
from flowctx.versions.stale_links import Made, StalePartition

#: How many partitions are looked at at a time.
_PAGE = 500


def stale(
    workflow: Workflow,
    select: Selection | str | None = None,
    *,
    code: bool = False,
    atol: float = 0.0,
    rtol: float = 0.0,
    until: date | str | None = None,
    ledger: Ledger | str | None = None,
) -> list[StalePartition]:
    """Return the partitions that were built on something else than a run would read now.

    What a step has read is recorded with it. A partition is stale if the current version of something that it has read
    has other content than what it has read, or not the step that was read, or is stale itself, over any number of
    workflows; or if its inputs ask for a partition that it has not read and that has been captured, or not for one that
    it has read. Content that is the same after a new capture makes nothing stale, and nor is what a run has made that
    was to read what was known at a time (``known_at=``). A partition of which no version is current any more, since
    what it held was pruned or written over, is returned, too, unless a run is at it.

    Args:
        workflow: The workflow.
        select: Which partitions, as a selection or its text; ``None``: all that were captured.
        code: Also return partitions of which a step ran with other code than it has now.
        atol: Numbers that differ by no more are the same content.
        rtol: The same, as a part of the new number.
        until: The last as-of date: what is selected after it is left out. Without it, ``last:5`` counts from the latest
            one that is due.
        ledger: Where they are remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.

    Returns:
        The stale partitions in the scheme's order, each with the chain of what makes it so; of a long one, the first
        links and the last.

    Raises:
        LedgerError: There is no ledger.
        WorkflowError: It is no workflow.
        ContextError: A tolerance cannot be.
        PartitionError: The selection cannot be.

    Example:
        >>> from flowctx import Workflow
        >>> flow = Workflow("alone")
        >>> flow.step(name="only")(lambda ctx: {}) and None
        >>> stale(flow, ledger="memory://")
        []
    """
    return list(iter_stale(workflow, select, code=code, atol=atol, rtol=rtol, until=until, ledger=ledger))


def iter_stale(
    workflow: Workflow,
    select: Selection | str | None = None,
    *,
    code: bool = False,
    atol: float = 0.0,
    rtol: float = 0.0,
    until: date | str | None = None,
    ledger: Ledger | str | None = None,
) -> Iterator[StalePartition]:
    """Yield what :func:`stale` returns, as soon as it is found; it takes and raises the same."""
    there = required_ledger(ledger)
    first = next(iter(expect_workflow(workflow).steps))
    versions = StepVersions(there, workflow, first)
    graph = ReadingGraph(there, Tolerance(atol=atol, rtol=rtol), workflows_read(workflow))
    now = {step.name: step.code_version for step in workflow.steps.values()} if code else {}
    captured = versions.each(versions.keys(select, until), (CURRENT,))
    while page := list(itertools.islice(captured, _PAGE)):
        missing = _missing(there, page)
        known = ((key, newest_known(some, ())) for key, some, _ in page if key not in missing)
        current = {Made(workflow.name, key, None): version for key, version in known if version is not None}
        records = graph.explore({made: version.run_key for made, version in current.items()}, every=code)
        for made in (Made(workflow.name, key, None) for key, _, _ in page):
            if (lost := missing.get(made.partition)) is not None:
                yield lost
            if (version := current.get(made)) is None:
                continue
            changed = _changed(records.get(version.run_key, ()), now)
            if made in graph.stale or changed:
                chain, left_out = graph.chain(made)
                yield StalePartition(
                    partition=made.partition,
                    capture_id=version.capture_id,
                    chain=chain,
                    left_out=left_out,
                    code=changed,
                )


def _changed(records: Iterable[StepRecord], now: dict[str, str | None]) -> tuple[str, ...]:
    """Return the steps that ran with other code, where both are known."""
    return tuple(r.step for r in records if r.version and now.get(r.step) and now[r.step] != r.version)


def _missing(
    ledger: Ledger, page: Sequence[tuple[PartitionKey | None, Sequence[Version], Sequence[PrunedVersion]]]
) -> dict[PartitionKey | None, StalePartition]:
    """Return the partitions of which something was complete and nothing is current any more, unless a run is at one."""
    lost = {key: one for key, some, pruned in page if (one := _lost(key, some, pruned)) is not None}
    begun = under_way(ledger, [version for key, some, _ in page if key in lost for version in some])
    return {key: one for key, one in lost.items() if key not in begun}


def _lost(
    key: PartitionKey | None, versions: Sequence[Version], pruned: Sequence[PrunedVersion]
) -> StalePartition | None:
    if (gone := newest_pruned(versions, pruned)) is not None:
        why = pruned_text(gone).partition("; ")[0]
        return StalePartition(partition=key, capture_id=gone.capture_id, missing=why)
    over = newest(version for version in versions if version.first_completed_at is not None and not version.part)
    if over is None or newest_known(versions, ()) is not None:
        return None
    why = f"what {over.capture_id} held is there no more: run {over.run_id}, which wrote over it, {over.standing}"
    return StalePartition(partition=key, capture_id=over.capture_id, missing=why)
