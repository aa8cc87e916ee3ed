"""Queries for what has one of many texts: so many of them in a query."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from sqlalchemy import ARRAY, Text, any_, literal

from flowctx.ledger.database import Database

#: Reads the rows of a query, such as :meth:`~flowctx.ledger.database.Database.tuples`.
Read = Callable[[Any], list[Any]]
#: How many partitions or runs one query asks for.
_CHUNK = 500


def is_one_of(database: Database, column: Any, texts: list[str]) -> Any:
    """Return the condition that a column has one of some texts.

    PostgreSQL takes them as one value: of hundreds, to send, read and plan each takes longer than to find its row.
    """
    return column.in_(texts) if database.sqlite else column == any_(literal(texts, ARRAY(Text)))


def rows_among(
    database: Database, query: Any, column: Any, texts: Collection[str], read: Read | None = None
) -> Iterator[Any]:
    """Yield the rows of a query that have one of some texts in a column, however many; ``read`` as for pages."""
    for some in chunks(list(texts)):
        yield from (read or database.rows)(query.where(is_one_of(database, column, some)))


def chunks(items: list[str]) -> Iterator[list[str]]:
    """Yield so many items at a time as one query asks for."""
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
