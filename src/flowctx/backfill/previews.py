"""The tables of a batch in small: those of the partition of a workflow that was captured last stand for all."""

from __future__ import annotations

from dataclasses import dataclass

from flowctx.artifacts.previews import StoredPreview, stored_previews
from flowctx.backfill.status import BatchStatus
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.recorded import find_run
from flowctx.core.durability.records import RunRecord
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


def latest_tables(ledger: Ledger, status: BatchStatus) -> list[LatestTables]:
    """Return the tables of the partition that was captured last, of each workflow of a batch that recorded one."""
    found = (_latest(ledger, one, several=bool(status.by_workflow)) for one in status.by_workflow or (status,))
    return [latest for latest in found if latest is not None]


def _latest(ledger: Ledger, status: BatchStatus, *, several: bool) -> LatestTables | None:
    batch, latest = status.batch, status.latest
    if latest is None:
        return None
    texts = [latest.partition] if latest.partition else None
    outcomes = ledger.batches.iter_outcomes(batch.batch_id, texts, workflow=batch.workflow)
    outcome = next((one for one in outcomes if one.label == (latest.partition or latest.occasion)), None)
    partition = PartitionKey.parse(latest.partition) if latest.partition else None
    if outcome is None:  # pruned meanwhile
        return None
    run = find_run(ledger, outcome.run_id, batch.workflow, partition)
    if run is None:
        return None
    previews = tuple(stored_previews(ledger, ledger.steps(run.key)))[:MAX_TABLES]
    label = " ".join(text for text in (batch.workflow if several else "", outcome.label) if text)
    return LatestTables(label=label, run_id=run.run_id, run=run, previews=previews)
