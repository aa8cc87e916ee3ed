"""Partitions of a batch that others have captured since: what the batch has of them is not the version that is read."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from typing import Final

from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.ledger import Ledger
from flowctx.core.printable import amount

logger = logging.getLogger("flowctx")

#: Of so many partitions of a workflow, the last ones, it is looked at: in a fraction of a second.
MOST: Final = 10_000


def count_superseded(ledger: Ledger, batch: BatchRecord) -> dict[str, int]:
    """Return how many partitions of a batch others have captured since, by workflow; none where there are none."""
    found = {name: ledger.count_superseded(batch.batch_id, name, limit=MOST) for name in batch.workflows}
    return {name: count for name, count in found.items() if count}


def superseded_text(counts: Mapping[str, int], total: int) -> str | None:
    r"""Return a line about them, if there are any.

    Args:
        counts: How many there are, by workflow.
        total: How many partitions the batch has: of more than are looked at, it is so many at least.

    Example:
        >>> print(*superseded_text({"nav": 3}, 40).split(": "), sep="\n")
        3 partitions were captured by others since
        what this batch has or makes of them is not current; see
        flowctx captures nav
    """
    if not counts:
        return None
    count = sum(counts.values())
    least = "at least " if total > MOST else ""
    what = f"{least}{amount(count, 'partition')} {'was' if count == 1 else 'were'} captured by others since"
    see = ", ".join(f"flowctx captures {shlex.quote(name)}" for name in counts)
    return f"{what}: what this batch has or makes of {'it' if count == 1 else 'them'} is not current; see: {see}"


def warn_of_superseded(ledger: Ledger, batch: BatchRecord) -> None:
    """Say before a batch is launched again that some of what it makes will not be current."""
    if (text := superseded_text(count_superseded(ledger, batch), batch.total_of_all or 0)) is not None:
        logger.warning("batch %s: %s", batch.batch_id, text)
