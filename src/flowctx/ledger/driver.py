"""Statements of which a run needs many: SQLAlchemy writes each of them once, and then only hands it to the driver.

To look at a statement anew each time takes it longer than a database in a file needs to do it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy.engine import Connection

from flowctx.ledger.storable import well_formed_row


class _Written(NamedTuple):
    """A statement as a driver takes it."""

    text: str
    #: The names of the values in their order; ``None``: it takes them by name.
    order: tuple[str, ...] | None


class _Dialect:
    """A dialect of SQL, which is equal to another one that writes statements in the same way."""

    def __init__(self, dialect: Any) -> None:
        self.dialect, self.names = dialect, (dialect.name, dialect.driver)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Dialect) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)


def execute(at: Connection, statement: Any, values: Mapping[str, Any]) -> Any:
    """Run a statement.

    Args:
        at: The connection.
        statement: One that is made once, with a name for each value.
        values: The values, of types that drivers know; more of them than it names do no harm.
    """
    text, order = _written(statement, _Dialect(at.dialect))
    parameters = values if order is None else tuple(values[name] for name in order)
    # SQLAlchemy does not ask the driver how many rows an INSERT has touched, unless it is told to.
    return at.exec_driver_sql(text, parameters, execution_options={"preserve_rowcount": True})


def execute_many(at: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> int:
    """Run a statement once for each row of values, and return how many rows it has touched in all.

    Args:
        at: The connection.
        statement: As for :func:`execute`; it returns nothing.
        rows: Values; where there are none, nothing is run.

    Returns:
        The number, or another one where the driver does not count.
    """
    if not rows:
        return 0
    text, order = _written(statement, _Dialect(at.dialect))
    values: Any = rows if order is None else [tuple(row[name] for name in order) for row in rows]
    done = at.exec_driver_sql(text, list(values), execution_options={"preserve_rowcount": True})
    return int(done.rowcount)


def execute_all(at: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> int:
    """Run a statement of PostgreSQL's that takes all ``rows`` as one JSON text; see :func:`execute_many`."""
    if not rows:
        return 0
    text = msgspec.json.encode([well_formed_row(row) for row in rows]).decode()
    return int(execute(at, statement, {"rows": text}).rowcount)


@functools.lru_cache(maxsize=128)
def _written(statement: Any, how: _Dialect) -> _Written:
    compiled = statement.compile(dialect=how.dialect)
    return _Written(str(compiled), tuple(compiled.positiontup) if compiled.positional else None)
