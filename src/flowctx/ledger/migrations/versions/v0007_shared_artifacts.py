"""Know the stored files, so that equal tables share one and none is removed that somebody is about to refer to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table; what was stored before is not in it, and is shared by nobody."""
    op.create_table(
        "flowctx_artifact",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text),
        sa.Column("form", sa.Text),
        sa.Column("reference", sa.Text),
        sa.Column("intended_at", sa.Text, nullable=False),
        sa.Column("removed_at", sa.Text),
    )
    op.create_index("ix_flowctx_artifact_content", "flowctx_artifact", ["digest", "form"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("flowctx_artifact")
