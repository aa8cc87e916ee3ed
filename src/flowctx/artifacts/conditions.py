"""What stands in ``columns=`` and ``where=``, checked against the columns that a table has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flowctx.artifacts.types import canonical, type_name
from flowctx.core.errors import PlainDataError


def wanted_columns(columns: Sequence[str] | None, there: Sequence[str], shown: str) -> list[str]:
    """Return the names of the columns that are wanted.

    Args:
        columns: Their names; ``None`` stands for all.
        there: Those that there are.
        shown: How the table is called in messages.

    Raises:
        PlainDataError: They are one text, or the table has no such column.

    Example:
        >>> wanted_columns(None, ["open", "close"], "the table")
        ['open', 'close']
    """
    if columns is None:
        return list(there)
    if isinstance(columns, str):
        raise PlainDataError(f"columns={columns!r} is one text; pass a list: columns=[{columns!r}]")
    for name in columns:
        if name not in there:
            raise PlainDataError(f"{shown} has no column {name!r}; it has {', '.join(there)}")
    return list(columns)


class Condition:
    """Which rows of a table are wanted.

    Args:
        where: A pyarrow expression, or a list such as ``[("symbol", "=", "IBM")]``.
        schema: The columns as they are stored.
        shown: How the table is called in messages.

    Raises:
        PlainDataError: It is neither, or the columns do not have what it asks for.

    Example:
        >>> rows = pa.table({"n": [1, 2]})
        >>> Condition([("n", ">", 1)], rows.schema, "the table").rows_of(rows).num_rows
        1
    """

    def __init__(self, where: Any, schema: pa.Schema, shown: str) -> None:
        self.where, self.schema, self.shown = where, schema, shown
        try:
            self._expression = pq.filters_to_expression(where) if isinstance(where, list) else where
        except (ValueError, TypeError, IndexError, KeyError) as exc:
            raise self._no_condition(f" ({exc})") from exc
        if not isinstance(self._expression, pc.Expression):
            raise self._no_condition()
        self.rows_of(schema.empty_table())

    def rows_of(self, table: pa.Table) -> pa.Table:
        """Return the rows of a table of these columns for which it holds.

        Raises:
            PlainDataError: It cannot be told of its values.
        """
        try:
            return table.filter(self._expression)
        except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowTypeError, pa.ArrowNotImplementedError) as exc:
            columns = ", ".join(f"{field.name} {type_name(canonical(field.type))}" for field in self.schema)
            why = str(exc).partition("\n")[0]
            raise PlainDataError(
                f"where={self.where!r} does not fit {self.shown} ({why}); its columns are {columns}: name one of "
                "them, and compare it with a value of its type"
            ) from exc

    def _no_condition(self, why: str = "") -> PlainDataError:
        return PlainDataError(
            f'where={self.where!r} is no condition{why}; write [("symbol", "=", "IBM")] or a pyarrow expression, or '
            "leave it out for all rows"
        )
