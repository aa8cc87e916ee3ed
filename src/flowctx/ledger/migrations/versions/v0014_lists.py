"""Find the latest runs of a workflow, and of a partition, without reading all of them."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("ix_flowctx_run_workflow_started", "flowctx_run", ["workflow", "started_at"])
    op.create_index("ix_flowctx_run_partition_started", "flowctx_run", ["partition", "started_at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_flowctx_run_partition_started", "flowctx_run")
    op.drop_index("ix_flowctx_run_workflow_started", "flowctx_run")
