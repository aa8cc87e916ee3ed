"""Texts as every database takes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from flowctx.core.printable import well_formed


def storable(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    """Make every text one that a database takes, as the last thing before it is sent."""
    return statement, [well_formed_row(row) for row in parameters] if many else well_formed_row(parameters)


def well_formed_row(row: Any) -> Any:
    """Return the values of a row, with every text as databases take it."""
    if isinstance(row, dict):
        return row if all(map(_is_plain, row.values())) else {name: _text(value) for name, value in row.items()}
    if isinstance(row, (tuple, list)):
        return row if all(map(_is_plain, row)) else type(row)(map(_text, row))
    return row


def _is_plain(value: Any) -> bool:
    """Whether a value is written as it is, as most are: it is no text, or text that every database takes."""
    return not isinstance(value, str) or (value.isascii() and "\0" not in value)


def _text(value: Any) -> Any:
    return well_formed(value) if isinstance(value, str) and not (value.isascii() and "\0" not in value) else value
