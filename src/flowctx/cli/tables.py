"""Tables and files of recorded steps, as ``flowctx show`` prints them."""

from __future__ import annotations

from collections.abc import Iterable

from flowctx.artifacts.previews import stored_previews
from flowctx.cli.output import echo, print_table
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import StepRecord


def print_tables(ledger: Ledger, records: Iterable[StepRecord]) -> None:
    """Print the tables of steps in small, and the names and sizes of their files.

    Args:
        ledger: The ledger, beside which artifacts may be.
        records: The steps.
    """
    for found in stored_previews(ledger, records):
        if found.columns:
            title = f"\n{found.name}: {found.facts}"
            print_table(title, found.columns, found.rows, none=title)
        else:
            echo(f"\n{found.name}: {found.problem or found.facts}")
