"""Texts as every database takes them."""

from __future__ import annotations

from collections.abc import Iterable
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
        return row if _are_plain(row.values()) else {name: _text(value) for name, value in row.items()}
    if isinstance(row, (tuple, list)):
        return row if _are_plain(row) else type(row)(map(_text, row))
    return row


def _are_plain(values: Iterable[Any]) -> bool:
    """Whether values are written as they are, as most are: every database takes their texts, by one look at all."""
    some = [value if isinstance(value, str) else "".join(value) for value in values if isinstance(value, (str, list))]
    texts = "".join(some)
    return texts.isascii() and "\0" not in texts


def _text(value: Any) -> Any:
    if isinstance(value, list):  # of texts, that PostgreSQL takes as one value
        return [_text(one) for one in value]
    return value if _are_plain([value]) else well_formed(value)
