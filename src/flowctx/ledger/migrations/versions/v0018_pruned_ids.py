"""Find a version that was pruned by the id of its capture."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_flowctx_pruned_capture_id", "flowctx_pruned_capture", ["capture_id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_flowctx_pruned_capture_id", "flowctx_pruned_capture")
