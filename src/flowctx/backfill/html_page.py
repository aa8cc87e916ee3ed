"""A batch as a page that one can open, filter and send around: one file, nothing fetched."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from flowctx.artifacts.previews import StoredPreview
from flowctx.backfill.previews import LatestTables
from flowctx.backfill.status import MAX_TRACEBACKS, BatchStatus, counted
from flowctx.core.html_tables import table
from flowctx.core.masking import mask_text
from flowctx.core.printable import printable
from flowctx.core.workflow.drawing import embedded

#: Where the parts stand in the template; what stands in a part is not looked at.
_PLACES = re.compile("@(TITLE|PLAIN|SKIPS|TABLES|LINEAGE|DATA)@")


def render_html(status: BatchStatus, latest: Sequence[LatestTables] = ()) -> str:
    """Return the HTML of a page about a batch.

    Args:
        status: How it stands.
        latest: Tables to show in small: those of the partition of each workflow that was captured last.

    Example:
        ::

            Path("batch.html").write_text(render_html(BatchStatus.of(ledger, "restate-2012")))
    """
    template = files("flowctx.backfill").joinpath("page.html").read_text("utf-8")
    data = embedded(_data(status))
    title = html.escape(_text(status.batch.batch_id))
    parts = {
        "TITLE": title,
        "PLAIN": _plain(status),
        "SKIPS": _skips(status) + _reasons(status) + _others(status),
        "TABLES": _tables(latest),
        "LINEAGE": _lineage(latest),
        "DATA": data,
    }
    return _PLACES.sub(lambda found: parts[found[1]], template)


def _plain(status: BatchStatus) -> str:
    """Return what is shown where scripts do not run, as in a mail: how many partitions stand how, and what failed."""
    several = status.by_workflow or (status,)
    counts = [(printable(one.batch.workflow), counted(one.counts)) for one in several]
    rows = [
        (_text(f"{run.workflow or status.batch.workflow}: {run.label}"), run.step or "", _text(run.error))
        for run in status.failures[:MAX_TRACEBACKS]
    ]
    failed = table(f"Failures ({status.failed:,})", ("partition", "step", "error"), rows) if rows else ""
    return table(f"Batch {_text(status.batch.batch_id)}", ("workflow", "partitions"), counts) + failed


def _text(value: str | None) -> str:
    return printable(mask_text(value or ""))


def _skips(status: BatchStatus) -> str:
    """Return why partitions were skipped, as a table; it stands in the page as it is."""
    hidden = "" if status.skips else " hidden"
    return f'<section id="skips"{hidden}>{_why(status, "Skipped", "partitions", status.skips)}</section>'


def _reasons(status: BatchStatus) -> str:
    """Return why others stand as they do, and what could not go on, as tables; nothing where there is none."""
    tables = (
        ("tolerated", "Optional steps failed", "runs", status.tolerated),
        ("partial", "Partial", "partitions", status.partial),
        ("waits", "Waiting", "partitions", status.waits),
        ("refused", "Could not go on", "partitions", status.refused),
    )
    return "".join(
        f'<section id="{name}">{_why(status, title, of, why)}</section>' for name, title, of, why in tables if why
    )


def _why(status: BatchStatus, title: str, of: str, counts: Mapping[str, int]) -> str:
    shown = f"{title}, of all workflows" if status.by_workflow else title  # also where the page shows one of them
    return table(shown, (of, "why"), [(f"{count:,}", _text(why)) for why, count in counts.items()])


def _others(status: BatchStatus) -> str:
    """Return what carries the batch's id and is none of its partitions, as tables; nothing where there is none."""
    rows = [(_text(name), counted(counts)) for name, counts in status.others.items()]
    others = table("Other workflows", ("workflow", "runs"), rows) if rows else ""
    title = "Without a partition" if status.batch.selection is None else "Outside of the selection"
    apart = table(title, ("runs",), [(counted(status.outside),)]) if status.outside else ""
    return f'<section id="others">{apart}{others}</section>' if apart or others else ""


def _tables(latest: Sequence[LatestTables]) -> str:
    """Return the tables of some partitions in small, as they stand in the page."""
    return _section("tables", "Tables", [(one, "".join(map(_table, one.previews))) for one in latest])


def _lineage(latest: Sequence[LatestTables]) -> str:
    return _section("lineage", "Built from", [(one, one.lineage) for one in latest])


def _section(name: str, title: str, parts: Sequence[tuple[LatestTables, str]]) -> str:
    """Return a section with a heading for each partition that has something to show."""
    found = "".join(f'<h2>{title} <span class="dim">{_subject(one)}</span></h2>{part}' for one, part in parts if part)
    return f'<section id="{name}">{found}</section>' if found else ""


def _subject(latest: LatestTables) -> str:
    return html.escape(_text(f"of {latest.label or 'its run'}, run {latest.run_id}"))


def _table(found: StoredPreview) -> str:
    rows = [[printable(cell) for cell in row] for row in found.rows]
    text = _text(f"{found.name}: {found.problem or found.facts}")
    return f'<div class="wide">{table(text, map(printable, found.columns), rows)}</div>'


def _data(status: BatchStatus) -> dict[str, Any]:
    grid = status.grid
    data = {**status.to_dict(), "failed": status.failed, "made_at": datetime.now(UTC).isoformat(timespec="seconds")}
    if status.by_workflow:
        data["workflows"] = [_data(one) for one in status.by_workflow]
    if grid is not None:
        data["grid"] = {
            "row": grid.row_dimension,
            "others": grid.column_dimensions,
            "dated": grid.dated,
            "rows": grid.rows,
            "columns": grid.columns,
            "cells": grid.cells.decode(),
            # One text, which a page of a hundred thousand takes apart when the first of them is asked for.
            "milliseconds": ",".join([f"{value * 1000:.0f}" if value >= 0 else "" for value in grid.seconds]),
        }
    return data
