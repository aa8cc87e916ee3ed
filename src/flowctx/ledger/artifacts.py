"""Which artifacts a ledger refers to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, or_, select

from flowctx.core.data.references import paths_in_text
from flowctx.ledger.tables import attempts, facts, steps

#: Rows that are fetched at once.
_ROWS = 1000


def prefix_of(at: Connection) -> str:
    """Return what the names of this ledger's artifacts begin with."""
    return str(at.execute(select(facts.c.value).where(facts.c.name == "artifact_prefix")).scalar_one())


@contextmanager
def rolled_back(at: Connection) -> Iterator[None]:
    """Make a block one transaction of which nothing stays."""
    at.exec_driver_sql("BEGIN")
    try:
        yield
    finally:
        at.exec_driver_sql("ROLLBACK")


def all_referred_paths(at: Connection) -> set[str]:
    """Return where all artifacts are that any row refers to, as of one moment."""
    with rolled_back(at):
        return referred_paths(at)


def referred_paths(at: Connection) -> set[str]:
    """Within a transaction, return where all artifacts are that any row refers to, relative to their store."""
    found: set[str] = set()
    for column in (steps.c.payload, attempts.c.context):
        tags = or_(*(column.contains(f'"${tag}"', autoescape=True) for tag in ("artifact", "table", "file")))
        rows = at.execute(select(column).where(tags).execution_options(yield_per=_ROWS))
        for text in rows.scalars():
            found.update(paths_in_text(text))
    return found
