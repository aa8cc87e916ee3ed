"""Tables in small, as engines, XCom and the command line show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowctx.core.data.files import File
from flowctx.core.data.tables import Table
from flowctx.core.masking import mask_data

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
    """Return a table in small: its size, its columns, and its first rows as text, without secrets."""
    columns = dict(list(table.columns.items())[:_COLUMNS])
    cells = [[{name: cell_text(row.get(name))} for name in columns] for row in table.head(ROWS)]
    rows = [[text for cell in row for text in cell.values()] for row in mask_data(cells)]
    return {"rows": table.rows, "bytes": table.bytes, "columns": columns, "first": rows}


def markdown(table: Table) -> str:
    """Return the first rows of a table as a table in Markdown."""
    small = preview(table)
    lines = [list(small["columns"]), ["---"] * len(small["columns"]), *small["first"]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def cell_text(value: object) -> str:
    """Return a value as a short text of one line."""
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= _CELL else f"{text[: _CELL - 3]}..."
