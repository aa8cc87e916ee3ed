"""Find the runs that stand in some way, such as running, without reading all of them."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_flowctx_run_status", "flowctx_run", ["status", "started_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_flowctx_run_status", "flowctx_run")
