"""How the partitions of slices stand."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import reduce

from flowctx.core.batches.bulk import Slice
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.workflow.definition import Workflow


def slice_counts(ledger: Ledger, workflow: Workflow, batch_id: str, slices: Sequence[Slice]) -> dict[str, int]:
    """Return how many partitions of slices stand how; ``missing`` are those of which nothing is known.

    Args:
        ledger: Where the batch is remembered.
        workflow: Its workflow.
        batch_id: The batch.
        slices: The slices, which have no partition in common.
    """
    counts: dict[str, int] = {}
    for run in _outcomes(ledger, workflow, batch_id, slices):
        counts[str(run.state)] = counts.get(str(run.state), 0) + 1
    missing = sum(part.partitions for part in slices) - sum(counts.values())
    return {**counts, "missing": missing} if missing else counts


def captured_since(
    ledger: Ledger, workflow: Workflow, batch_id: str, slices: Sequence[Slice], since: datetime
) -> list[str]:
    """Return the partitions of slices that have ended well since a time on the ledger's clock.

    Args:
        ledger: Where the batch is remembered.
        workflow: Its workflow.
        batch_id: The batch.
        slices: The slices; of none, it is none.
        since: The time, with its zone.
    """
    return [
        run.partition
        for run in _outcomes(ledger, workflow, batch_id, slices)
        if run.state is PartitionState.OK and run.ended_at is not None and run.ended_at >= since
    ]


def _outcomes(ledger: Ledger, workflow: Workflow, batch_id: str, slices: Sequence[Slice]) -> Iterator[PartitionRun]:
    """Yield how the partitions of slices stand."""
    scheme = workflow.partitions
    assert scheme is not None  # noqa: S101 - a batch has partitions
    if not slices:
        return
    selected = reduce(operator.or_, (scheme.select(part.select) for part in slices))
    for run in ledger.batches.iter_outcomes(batch_id, workflow=workflow.name):
        if run.partition and run.partition in selected:
            yield run


def not_done(counts: Mapping[str, int]) -> str:
    """Return in words how many partitions have not ended well; empty if all have.

    Example:
        >>> not_done({"ok": 1200, "failed": 3, "missing": 10})
        '3 failed, 10 missing'
        >>> not_done({"ok": 1200, "skipped": 3})
        ''
    """
    done = [str(state) for state in PartitionState if state.done]
    return ", ".join(f"{count:,} {state}" for state, count in counts.items() if state not in done)
