"""Find the latest captures of a workflow, the rows that refer to others, and run ids by how they begin."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_PAYLOAD = ("payload", ('"inputs":', '"$artifact"', '"$table"', '"$file"'))
_CONTEXT = ("context", ('"$artifact"', '"$table"', '"$file"'))


def _holds(function: str, column: str, texts: tuple[str, ...]) -> sa.TextClause:
    return sa.text(" OR ".join(f"{function}({column}, '{text}') > 0" for text in texts))


def upgrade() -> None:
    """Make the indexes; each is made in one pass over its table."""
    op.create_index("ix_flowctx_capture_claimed", "flowctx_capture", ["workflow", "claimed_at"])
    for table, column, texts in (("flowctx_step", *_PAYLOAD), ("flowctx_attempt", *_CONTEXT)):
        where: dict[str, Any] = {
            "sqlite_where": _holds("instr", column, texts),
            "postgresql_where": _holds("strpos", column, texts),
        }
        op.create_index(f"ix_{table}_references", table, ["run_key"], **where)
    if op.get_bind().dialect.name == "postgresql":
        # No row is written anew, only the index; SQLite sorts by code points as it is.
        op.execute('ALTER TABLE flowctx_run ALTER COLUMN run_id TYPE text COLLATE "C"')
        op.execute("ANALYZE flowctx_run (run_id)")  # what the server knew of the values is lost with their old type


def downgrade() -> None:
    """Drop them."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE flowctx_run ALTER COLUMN run_id TYPE text")
    for table in ("flowctx_attempt", "flowctx_step"):
        op.drop_index(f"ix_{table}_references", table)
    op.drop_index("ix_flowctx_capture_claimed", "flowctx_capture")
