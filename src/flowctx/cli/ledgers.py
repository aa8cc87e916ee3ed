"""``flowctx ledger``: its tables and its size."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from flowctx.artifacts import prune_artifacts
from flowctx.cli.completing import batch_ids
from flowctx.cli.options import CommandError, json_option, ledger_option, there_option
from flowctx.cli.output import echo, print_json, print_table
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import noting
from flowctx.core.printable import amount


@click.group(short_help="Look after the database that remembers runs.")
def ledger() -> None:
    """Look after the database that remembers runs.

    \b
    flowctx ledger upgrade
    flowctx ledger prune --days 90
    flowctx ledger keep year-end-2012
    """  # noqa: D301 - \b is for click


@ledger.command(short_help="Forget old runs.")
@click.option(
    "--days", type=click.IntRange(min=0), metavar="N", required=True, help="Forget what was last heard of longer ago."
)
@click.option(
    "--keep-versions",
    "versions",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Keep the last N versions of each partition, the current one among them, however old they are.",
)
@click.option(
    "--grace-days",
    type=click.FloatRange(min=0),
    metavar="N",
    default=7.0,
    show_default=True,
    help="Keep artifacts that were written since: a run may be about to refer to them. Longer than any run.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be forgotten and removed, and how many bytes.")
@there_option
@json_option
def prune(days: int, versions: int, grace_days: float, dry_run: bool, ledger: Ledger, as_json: bool) -> None:
    """Forget old runs, superseded captures and batches of which nothing is left; remove artifacts nothing refers to.

    What wrote a current capture is kept, with its tables, files and large outputs; so is what that was built from,
    however far, and what belongs to a batch that is kept (flowctx ledger keep). Runs may go on beside it.

    \b
    flowctx ledger prune --days 90
    flowctx ledger prune --days 90 --keep-versions 3
    flowctx ledger prune --days 90 --dry-run

    A partition of a batch whose run is forgotten is pruned if it was captured or skipped, and is left alone; else it is
    missing, and the batch runs it again. So it does if it has failed since, and no other version of it is current. The
    id of a batch of which nothing is left is not for a new one, if anything of it was captured: take another.
    """  # noqa: D301 - \b is for click
    now = ledger.now()  # by which it is noted when runs were last heard of
    before, written = _before(now, days, "--days"), _before(now, grace_days, "--grace-days")
    if dry_run:
        pruned, keep = ledger.would_prune(before, versions=versions)
        removed = prune_artifacts(ledger, keep, written, dry_run=True)
    else:
        pruned = ledger.prune(before, versions=versions)
        with noting(lambda: f"forgot before that: {pruned.amounts}"):
            keep = ledger.artifact_paths()
            removed = prune_artifacts(ledger, keep, written)
    if as_json:
        artifacts = {"artifacts": removed and removed.files, "artifact_bytes": removed and removed.bytes}
        of = [{"workflow": one.workflow, "batch_id": one.batch_id, "runs": one.runs} for one in pruned.of]
        counts = {"runs": pruned.runs, "captures": pruned.captures, "batches": pruned.batches}
        print_json({**counts, **artifacts, **({"of": of} if dry_run else {})})
        return
    if dry_run and pruned.of:
        rows = [(one.workflow, one.batch_id, f"{one.runs:,}") for one in pruned.of]
        print_table("would forget", ("workflow", "batch", "runs"), rows)
    echo(f"{'would forget' if dry_run else 'forgot'} {pruned.amounts}")
    if removed is None:
        echo("artifacts stay: nothing says where they are; set FLOWCTX_ARTIFACTS_URL to remove some")
        return
    what = "would remove" if dry_run else "removed"
    echo(f"{what} {amount(removed.files, 'artifact')}, {removed.bytes:,} bytes")


def _before(now: datetime, days: float, option: str) -> datetime:
    """Return the time so many days before now."""
    try:
        return now - timedelta(days=days)
    except (OverflowError, ValueError):  # of what is no number, too
        raise CommandError(f"{option} {days:.15g} reaches back before the year 1; take fewer days") from None


@ledger.command(short_help="Keep all of a batch, however old it is.")
@click.argument("batch_id", metavar="BATCH", shell_complete=batch_ids)
@click.option("--undo", is_flag=True, help="Let it be pruned again as any other.")
@there_option
def keep(batch_id: str, undo: bool, ledger: Ledger) -> None:
    """Keep all versions of a batch, however old they are: prune leaves its runs, captures and artifacts.

    \b
    flowctx ledger keep year-end-2012
    flowctx ledger keep year-end-2012 --undo
    """  # noqa: D301 - \b is for click
    ledger.batches.keep(batch_id, kept=not undo)
    echo(f"batch {batch_id} is {'pruned as any other' if undo else 'kept'}")


@ledger.command(short_help="Bring the tables to what this flowctx needs.")
@ledger_option
def upgrade(ledger: Ledger) -> None:
    """Bring the tables to what this flowctx needs; where there is no ledger yet, make a new one and say so.

    \b
    flowctx ledger upgrade
    flowctx ledger upgrade --ledger postgresql://user@host/db
    """  # noqa: D301 - \b is for click
    from flowctx.ledger.sql import SqlLedger  # here, because SQLAlchemy is slow to import
    from flowctx.ledger.tables import REVISION

    if not isinstance(ledger, SqlLedger):
        raise click.UsageError("a ledger in memory has no tables")
    before = ledger.upgrade()
    if before is None:
        echo(f"there was no ledger {ledger.url}: made a new one, which is empty, with schema {REVISION}")
    elif before != REVISION:
        echo(f"the ledger {ledger.url} had schema {before}: it has {REVISION} now")
    else:
        echo(f"the ledger {ledger.url} is up to date: schema {REVISION}")
