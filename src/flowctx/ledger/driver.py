"""Statements of which a run needs many: SQLAlchemy writes each of them once, and then only hands it to the driver.

To look at a statement anew each time takes it longer than a database in a file needs to do it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy.engine import Connection

from flowctx.ledger.storable import well_formed_row


class _Written(NamedTuple):
    """A statement as a driver takes it."""

    text: str
    #: Takes the values of a row in their order; ``None``: the driver takes them by name.
    ordered: Callable[[Mapping[str, Any]], tuple[Any, ...]] | None


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
    text, ordered = _written(statement, _Dialect(at.dialect))
    parameters = values if ordered is None else ordered(values)
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
    text, ordered = _written(statement, _Dialect(at.dialect))
    values: Any = rows if ordered is None else map(ordered, rows)
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
    return _Written(str(compiled), _ordered(compiled.positiontup) if compiled.positional else None)


def _ordered(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return what takes the values of some names from a row: of most statements, in one call of C."""
    return itemgetter(*names) if len(names) > 1 else lambda row: tuple(row[name] for name in names)
