"""What alembic runs; the connection, and its transaction, are the caller's."""

from __future__ import annotations

from alembic import context

from flowctx.ledger.tables import VERSION_TABLE, metadata


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    """Leave alone what else lives in the database; the ledger may share it with an engine."""
    return kind != "table" or str(name).startswith("flowctx_")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=_ours,
)
context.run_migrations()
