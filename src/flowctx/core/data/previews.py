"""Tables in small, as engines, XCom and the command line show them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from flowctx.core.data.files import File
from flowctx.core.data.tables import Table
from flowctx.core.errors import FlowctxError, PayloadError, error_text
from flowctx.core.masking import mask_data

logger = logging.getLogger("flowctx")

#: Rows and columns of a preview, and characters of a cell.
ROWS, _COLUMNS, _CELL = 5, 12, 40


def handles_of(output: Any, name: str = "") -> Iterator[tuple[str, Table | File]]:
    """Yield the tables and files of an output, each with the way to it: ``prices``, ``funds.GROWTH``."""
    if isinstance(output, (Table, File)):
        yield name, output
        return
    items = output.items() if isinstance(output, dict) else enumerate(output) if isinstance(output, list) else ()
    for key, value in items:
        yield from handles_of(value, f"{name}.{key}" if name else str(key))


def preview(table: Table) -> dict[str, Any]:
    """Return a table in small: its size, its columns, and its first rows as text, without secrets.

    Raises:
        ArtifactError: It is gone or damaged, or its store does not answer.
        PayloadError: Its rows cannot be shown.
    """
    columns = dict(list(table.columns.items())[:_COLUMNS])
    try:
        cells = [[{name: cell_text(row.get(name))} for name in columns] for row in table.head(ROWS)]
    except FlowctxError:
        raise
    except Exception as exc:  # of a library that has no Python value for what is in it
        raise PayloadError(f"its rows cannot be shown: {error_text(exc)}") from exc
    rows = [[text for cell in row for text in cell.values()] for row in mask_data(cells)]
    return {"rows": table.rows, "bytes": table.bytes, "columns": columns, "first": rows}


def previews_of(output: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tables of an output in small, each with the way to it; one that cannot be shown is only logged.

    They are for people to look at: a step that is complete does not fail of them.
    """
    for name, handle in handles_of(output):
        if isinstance(handle, Table):
            try:
                yield name, preview(handle)
            except FlowctxError as exc:
                logger.warning("table %s has no preview: %s", name, exc)


def markdown(small: dict[str, Any]) -> str:
    """Return the first rows of a table in small as a table in Markdown."""
    lines = [list(small["columns"]), ["---"] * len(small["columns"]), *small["first"]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def cell_text(value: object) -> str:
    """Return a value as a short text of one line."""
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= _CELL else f"{text[: _CELL - 3]}..."
