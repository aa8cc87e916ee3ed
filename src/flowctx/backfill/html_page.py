"""A batch as a page that one can open, filter and send around: one file, nothing fetched."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from flowctx.backfill.status import BatchStatus
from flowctx.core.masking import mask_data, mask_text
from flowctx.core.printable import printable


def render_html(status: BatchStatus) -> str:
    """Return the HTML of a page about a batch.

    Args:
        status: How it stands.

    Example:
        ::

            Path("batch.html").write_text(render_html(BatchStatus.of(ledger, "restate-2012")))
    """
    template = files("flowctx.backfill").joinpath("page.html").read_text("utf-8")
    # "</script>" would end the script in which the data stands, and "<!--<script>" would hide its end.
    data = json.dumps(mask_data(_data(status)), separators=(",", ":"))
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    before, _, after = template.partition("@DATA@")
    title = html.escape(printable(mask_text(status.batch.batch_id)))
    return before.replace("@TITLE@", title) + data + after


def _data(status: BatchStatus) -> dict[str, Any]:
    grid = status.grid
    data = {**status.to_dict(), "made_at": datetime.now(UTC).isoformat(timespec="seconds")}
    if grid is not None:
        data["grid"] = {
            "row": grid.row_dimension,
            "others": grid.column_dimensions,
            "dated": grid.dated,
            "rows": grid.rows,
            "columns": grid.columns,
            "cells": grid.cells.decode(),
            "seconds": [round(value, 3) if value >= 0 else None for value in grid.seconds],
        }
    return data
