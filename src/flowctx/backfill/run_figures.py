"""Figures of the runs of a batch: how long they took, and for which dates they were."""

from __future__ import annotations

import logging
import re
from array import array
from collections import Counter
from collections.abc import Sequence

from flowctx.core.batches.records import BatchRecord, PartitionState, Standing
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import PayloadError

logger = logging.getLogger("flowctx")

#: So many runs of a batch are looked at, in less than a second.
_MOST = 1000
#: What stands in the key of a partition that has a date.
_DATED = re.compile(r"=\d{4}-")


def percentiles(seconds: array[float]) -> dict[str, float]:
    """Return how long runs took: half of them, most of them, and the longest."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    found = {f"p{p}": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 90, 99)}
    return {name: round(value, 6) for name, value in {**found, "max": ordered[-1]}.items()}


def count_by_date(
    ledger: Ledger, batch: BatchRecord, partitions: Sequence[Standing], runs: int
) -> dict[str, dict[str, int]]:
    """Count how partitions stand that ran for several business dates, by date: their keys have none.

    Args:
        ledger: Where runs are remembered; of very many, the latest thousand are looked at.
        batch: The batch, as it is for one workflow.
        partitions: How its partitions stand.
        runs: How many runs it has.
    """
    if runs <= len(partitions) or any(_DATED.search(one.partition) for one in partitions[:1]):
        return {}
    found: dict[str, dict[str, PartitionState]] = {}
    try:
        known = ledger.list_runs(workflow=batch.workflow, batch_id=batch.batch_id, limit=_MOST)
    except PayloadError as exc:
        logger.warning("batch %s: for which dates its runs were is not known: %s", batch.batch_id, exc)
        return {}
    for run in known:
        if run.context.partition is None or run.context.as_of_date is None:
            continue
        of_date = found.setdefault(str(run.context.partition), {})
        date, state = str(run.context.as_of_date), PartitionState(run.status)
        if date not in of_date or (state.done and not of_date[date].done):
            of_date[date] = state
    several = [(date, str(state)) for of_date in found.values() if len(of_date) > 1 for date, state in of_date.items()]
    return {date: dict(Counter(state for one, state in several if one == date)) for date in sorted(dict(several))}
