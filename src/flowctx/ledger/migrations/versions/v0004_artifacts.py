"""Give each ledger a name of its own for the artifacts that it refers to."""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table of facts about this ledger, with the prefix of its artifacts."""
    table = op.create_table(
        "flowctx_fact",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.bulk_insert(table, [{"name": "artifact_prefix", "value": f"ledger-{uuid4().hex[:12]}"}])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("flowctx_fact")
