"""Count the partitions of a batch by the index in whose order they are read: no row of a run is looked at."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"

_BEFORE = ["batch_id", "partition", "run_key"]


def upgrade() -> None:
    """Make the index anew, with what is counted in it."""
    op.drop_index("ix_flowctx_run_batch", "flowctx_run")
    op.create_index("ix_flowctx_run_batch", "flowctx_run", [*_BEFORE, "workflow", "status"])


def downgrade() -> None:
    """Make it as it was."""
    op.drop_index("ix_flowctx_run_batch", "flowctx_run")
    op.create_index("ix_flowctx_run_batch", "flowctx_run", _BEFORE)
