"""``flowctx captures``: what each partition was captured by."""

from __future__ import annotations

import click

from flowctx.cli.options import CommandError, json_option, name_of, own_name, partition_option, there_option
from flowctx.cli.output import as_of, capture_data, clock_time, echo, print_json, print_table
from flowctx.cli.run_names import meant_workflow, partition_named
from flowctx.core.durability.ledger import Ledger
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.printable import amount


@click.command(short_help="List what each partition was captured by.")
@click.argument("workflow", metavar="NAME", callback=own_name)
@partition_option("Only captures of this partition.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", default=1000, show_default=True, help="How many.")
@there_option
@json_option
def captures(workflow: str, partition: PartitionKey | str | None, limit: int, ledger: Ledger, as_json: bool) -> None:
    """List the captures of a workflow, the latest so many: each partition's revisions, and which one is current.

    Current is the one that is read: the highest revision that is complete, or whose run was
    skipped, so that there is nothing.

    \b
    flowctx captures daily_prices
    flowctx captures daily_prices --partition date=2012-10-26,symbol=IBM
    flowctx captures daily_prices --partition "2012-10-26|IBM"

    The workflow is meant by its own name, such as flowctx runs shows, or by its place, as flows.py:prices.
    """  # noqa: D301 - \b is for click
    partition = partition_named(ledger, workflow, partition)
    found = ledger.captures(workflow=workflow, partition=partition, limit=limit + 1)
    if not found and not ledger.list_runs(workflow=workflow, limit=1):
        meant = meant_workflow(ledger, workflow)
        raise CommandError(f"in {name_of(ledger)} no workflow {workflow!r} has captures; {meant}see: flowctx runs")
    if len(found) > limit:
        found = ledger.captures(workflow=workflow, partition=partition, limit=limit)
        echo(f"there are more captures than the latest {limit:,}, which are shown; --limit N shows more", err=True)
    listed = "partition" if partition is not None or any(capture.partition for capture in found) else "date"
    # What is current of these may have been granted earlier than what is shown.
    current = ledger.current_revisions({capture.key.idempotency_key for capture in found})
    without = {capture.key.idempotency_key for capture in found if capture.can_be_read} - current.keys()
    if without:
        what = f"of {amount(len(without), listed)} none is current"
        why = "a newer version was pruned, and what came after it is not complete"
        echo(f"{what}: {why}; make it again", err=True)
    found = sorted(found, key=lambda capture: (str(capture.partition or ""), capture.revision))
    if as_json:
        print_json([{**capture_data(c), "current": current.get(c.key.idempotency_key) == c.revision} for c in found])
        return
    runs = ledger.runs_of([capture.holder for capture in found if capture.partition is None])
    rows = [
        (
            capture.partition or (as_of(runs[capture.holder]) if capture.holder in runs else None),
            capture.revision,
            "skipped" if capture.is_hole else capture.state,
            "current" if current.get(capture.key.idempotency_key) == capture.revision else None,
            capture.key.capture_id,
            capture.run_id,
            clock_time(capture.completed_at or capture.claimed_at),
        )
        for capture in found
    ]
    columns = (listed, "revision", "state", "now", "capture", "run", "when (UTC)")
    none = f"{name_of(ledger)} remembers no such capture of workflow {workflow!r}"
    print_table(f"captures of {workflow}", columns, rows, none=none)
