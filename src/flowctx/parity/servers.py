"""A side on running servers: its runs are launched there, and recorded in the ledger that the servers have."""

from __future__ import annotations

from uuid import uuid4

from flowctx.backfill import Backfill
from flowctx.core.batches.launcher import Launcher
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError, PartitionError
from flowctx.core.partitions.selection_text import selection_text
from flowctx.parity.running import Work


def check_servers(work: Work, ledger: Ledger) -> None:
    """Refuse to launch where a run would supersede a capture.

    Raises:
        BatchError: The ledger has captures of the partitions.
        PartitionError: The workflow has no partitions, so that no batch can be made of it.
    """
    name = work.workflow.name
    if work.workflow.partitions is None:
        raise PartitionError(f"workflow {name!r} has no partitions, so that no server can be compared; leave out --url")
    step = next(iter(work.workflow.steps))
    taken = sorted({str(one.partition) for one in ledger.versions(name, step, list(work.keys)) if not one.part})
    if taken:
        raise BatchError(
            f"the ledger has captures of {len(taken):,} of these partitions, such as {taken[0]}, which runs on a "
            "server would supersede; compare with servers that have a ledger for tests (--ledger), choose partitions "
            "that nobody has captured, or leave out --url"
        )


def launch(work: Work, launcher: Launcher, ledger: Ledger) -> str:
    """Run partitions on a server, to their end, and return the id of their batch."""
    batch_id = f"parity-{uuid4().hex[:8]}"
    selection = selection_text(key for key in work.keys if key is not None)
    Backfill(work.workflow, selection, batch_id, params=dict(work.params), ledger=ledger).launch(launcher)
    return batch_id
