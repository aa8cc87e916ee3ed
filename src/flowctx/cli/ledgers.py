"""``flowctx ledger``: its tables and its size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from flowctx.cli.options import json_option, ledger_option
from flowctx.cli.output import print_json
from flowctx.core.durability.ledger import Ledger


@click.group(short_help="Look after the database that remembers runs.")
def ledger() -> None:
    """Look after the database that remembers runs.

    \b
    flowctx ledger upgrade
    flowctx ledger prune --days 90
    """  # noqa: D301 - \b is for click


@ledger.command(short_help="Forget old runs.")
@click.option(
    "--days", type=click.IntRange(min=0), metavar="N", required=True, help="Forget what was last heard of longer ago."
)
@ledger_option
@json_option
def prune(days: int, ledger: Ledger, as_json: bool) -> None:
    """Forget old runs and superseded captures; what wrote a current capture is kept.

    \b
    flowctx ledger prune --days 90

    A partition of a batch whose run is forgotten counts as missing, unless its capture is current.
    """  # noqa: D301 - \b is for click
    pruned = ledger.prune(datetime.now(UTC) - timedelta(days=days))
    if as_json:
        print_json({"runs": pruned.runs, "captures": pruned.captures})
    else:
        click.echo(f"forgot {pruned.runs} runs and {pruned.captures} captures")


@ledger.command(short_help="Bring the tables to what this flowctx needs.")
@ledger_option
def upgrade(ledger: Ledger) -> None:
    """Bring the tables to what this flowctx needs.

    \b
    flowctx ledger upgrade
    flowctx ledger upgrade --ledger postgresql://user@host/db
    """  # noqa: D301 - \b is for click
    from flowctx.ledger.sql import SqlLedger  # here, because SQLAlchemy is slow to import

    if not isinstance(ledger, SqlLedger):
        raise click.UsageError("a ledger in memory has no tables")
    ledger.upgrade()
    click.echo(f"the ledger {ledger.url} is up to date")
