"""Find what was pruned of a batch, in the order of its partitions."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Make the index; on PostgreSQL, partitions sort by code points, as those of runs do."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE flowctx_pruned_capture ALTER COLUMN partition TYPE text COLLATE "C"')
        op.execute("ANALYZE flowctx_pruned_capture (partition)")
    op.create_index("ix_flowctx_pruned_capture_batch", "flowctx_pruned_capture", ["batch_id", "partition", "workflow"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_flowctx_pruned_capture_batch", "flowctx_pruned_capture")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE flowctx_pruned_capture ALTER COLUMN partition TYPE text")
