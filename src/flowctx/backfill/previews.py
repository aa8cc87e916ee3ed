"""The tables of a batch in small: those of the partition of a workflow that was captured last stand for all."""

from __future__ import annotations

from dataclasses import dataclass

from flowctx.artifacts.previews import StoredPreview, stored_previews
from flowctx.core.batches.records import BatchRecord, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord
from flowctx.core.errors import UnknownRun
from flowctx.core.partitions.key import PartitionKey

#: So many tables and files are shown.
MAX_TABLES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class LatestTables:
    """The tables and files of one partition in small."""

    #: What it is about: the partition, and the workflow where the batch is of several.
    label: str
    #: The run.
    run_id: str
    #: That run, as the ledger remembers it.
    run: RunRecord
    #: Its tables and files, in the order of the steps; the first ones, if there are many.
    previews: tuple[StoredPreview, ...]
    #: A drawing of what it was built from, as HTML that stands in the page as it is.
    lineage: str = ""


def latest_tables(ledger: Ledger, batch: BatchRecord) -> list[LatestTables]:
    """Return the tables of the partition that was captured last, of each workflow of a batch that recorded one."""
    found = (_latest(ledger, one, several=bool(batch.others)) for one in batch.by_workflow())
    return [latest for latest in found if latest is not None]


def _latest(ledger: Ledger, batch: BatchRecord, *, several: bool) -> LatestTables | None:
    outcomes = ledger.batches.iter_outcomes(batch.batch_id, workflow=batch.workflow)
    done = (one for one in outcomes if one.state is PartitionState.OK and one.recorded)
    latest = max(done, key=lambda one: one.ended_at or one.last_seen_at, default=None)
    if latest is None:
        return None
    partition = PartitionKey.parse(latest.partition) if latest.partition else None
    try:
        run = ledger.get_run(latest.run_id, workflow=batch.workflow, partition=partition)
    except UnknownRun:  # pruned meanwhile
        return None
    previews = tuple(stored_previews(ledger, ledger.steps(run.key)))[:MAX_TABLES]
    label = " ".join(text for text in (batch.workflow if several else "", latest.label) if text)
    return LatestTables(label=label, run_id=latest.run_id, run=run, previews=previews)
