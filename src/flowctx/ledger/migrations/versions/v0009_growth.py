"""Find captures by who holds them, and the runs of a batch by when they started, without reading all of them."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("ix_flowctx_capture_holder", "flowctx_capture", ["holder"])
    op.create_index("ix_flowctx_run_batch_started", "flowctx_run", ["batch_id", "started_at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_flowctx_run_batch_started", "flowctx_run")
    op.drop_index("ix_flowctx_capture_holder", "flowctx_capture")
