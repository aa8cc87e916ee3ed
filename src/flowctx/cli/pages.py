"""The page about a batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flowctx.backfill.html_page import render_html
from flowctx.backfill.previews import latest_tables
from flowctx.backfill.status import BatchStatus
from flowctx.cli.output import write_file
from flowctx.core.durability.ledger import Ledger
from flowctx.versions.lineage import lineage
from flowctx.versions.lineage_drawing import draw_lineage


def write_page(ledger: Ledger, status: BatchStatus, file: Path) -> None:
    """Write the page about a batch, with its latest tables and what they were built from."""
    latest = [replace(one, lineage=draw_lineage(lineage(ledger, one.run))) for one in latest_tables(ledger, status)]
    write_file(file, render_html(status, latest).encode())
