"""``flowctx batches``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import click

from flowctx.backfill.belonging import Tally, tally
from flowctx.backfill.status import counted
from flowctx.cli.options import json_option, name_of, there_option
from flowctx.cli.output import clock_time, print_json, print_table
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger


@click.command(short_help="List batches, the latest first.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", default=20, show_default=True, help="How many.")
@there_option
@json_option
def batches(limit: int, ledger: Ledger, as_json: bool) -> None:
    """List the batches that the ledger remembers, the latest first.

    \b
    flowctx batches
    flowctx batches --limit 5 --json
    """  # noqa: D301 - \b is for click
    there = ledger.batches.all(limit)
    found = list(zip(there, _tallies(ledger, there), strict=True))
    if as_json:
        print_json(
            [
                {
                    "batch_id": batch.batch_id,
                    "workflow": batch.workflow,
                    "selection": batch.selection,
                    **({"workflows": list(batch.workflows)} if batch.others else {}),
                    "total": batch.total_of_all,
                    "counts": known.counts,
                    "outside": known.outside,
                    "unclear": known.unclear,
                    "engine": batch.engine,
                    "created_at": batch.created_at.isoformat(),
                    "canceled_at": batch.canceled_at.isoformat() if batch.canceled_at else None,
                }
                for batch, known in found
            ]
        )
        return
    rows = [
        (
            batch.batch_id,
            ", ".join(batch.workflows),
            f"{total:,}" if (total := batch.total_of_all) is not None else "",
            batch.engine,
            clock_time(batch.created_at),
            _so_far(batch, known),
        )
        for batch, known in found
    ]
    columns = ("batch", "workflow", "partitions", "engine", "made (UTC)", "so far")
    print_table("batches", columns, rows, none=f"{name_of(ledger)} remembers no batch; flowctx backfill makes one")


def _tallies(ledger: Ledger, found: Sequence[BatchRecord]) -> list[Tally]:
    """Count how batches stand, every second one on a connection of its own: a database counts both at the same time."""
    address = getattr(ledger, "address", None)
    if address is None or len(found) < 2:
        return [_tally(ledger, batch) for batch in found]
    tallies: list[Tally] = [Tally({})] * len(found)
    with closing(open_ledger(address, make=False)) as other, ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(lambda: [_tally(other, batch) for batch in found[1::2]])
        tallies[::2] = [_tally(ledger, batch) for batch in found[::2]]
        tallies[1::2] = theirs.result()
    return tallies


def _tally(ledger: Ledger, batch: BatchRecord) -> Tally:
    counts: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    unclear = 0
    for one in batch.by_workflow():
        found = tally(ledger.batches, one)
        counts.update(found.counts)
        outside.update(found.outside)
        unclear += found.unclear
    return Tally(counts, outside, unclear)


def _so_far(batch: BatchRecord, found: Tally) -> str:
    """Return how a batch stands, in a line."""
    parts = [counted(found.counts)] if found.counts else []
    if found.unclear:
        parts.append(f"{found.unclear:,} of these may not be selected")
    if found.outside:
        what = "not selected" if batch.selection else "without a partition"
        parts.append(f"{counted(found.outside)} ({what})")
    return ", ".join(parts + ["the batch is canceled"] * bool(batch.canceled_at))
