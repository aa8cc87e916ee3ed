"""``flowctx batches``."""

from __future__ import annotations

from collections import Counter

import click

from flowctx.cli.options import json_option, name_of, there_option
from flowctx.cli.output import clock_time, print_json, print_table
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.ledger import Ledger


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
    found = [(batch, _counts(ledger, batch)) for batch in ledger.batches.all(limit)]
    if as_json:
        print_json(
            [
                {
                    "batch_id": batch.batch_id,
                    "workflow": batch.workflow,
                    "selection": batch.selection,
                    **({"workflows": list(batch.workflows)} if batch.others else {}),
                    "total": _total(batch),
                    "counts": counts,
                    "engine": batch.engine,
                    "created_at": batch.created_at.isoformat(),
                    "canceled_at": batch.canceled_at.isoformat() if batch.canceled_at else None,
                }
                for batch, counts in found
            ]
        )
        return
    rows = [
        (
            batch.batch_id,
            ", ".join(batch.workflows),
            f"{total:,}" if (total := _total(batch)) is not None else "",
            batch.engine,
            clock_time(batch.created_at),
            ", ".join(
                [f"{count:,} {state}" for state, count in counts.items()] + ["canceled"] * bool(batch.canceled_at)
            ),
        )
        for batch, counts in found
    ]
    columns = ("batch", "workflow", "partitions", "engine", "made (UTC)", "so far")
    print_table("batches", columns, rows, none=f"{name_of(ledger)} remembers no batch; flowctx backfill makes one")


def _counts(ledger: Ledger, batch: BatchRecord) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name in batch.workflows:
        counts.update(ledger.batches.count_outcomes(batch.batch_id, name))
    return counts


def _total(batch: BatchRecord) -> int | None:
    totals = [one.total for one in batch.by_workflow()]
    return None if None in totals else sum(total or 0 for total in totals)
