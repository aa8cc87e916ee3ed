"""Find the subjects of many partitions by an index alone: no row of a capture is looked at for them."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"

_BEFORE = ["workflow", "partition"]


def upgrade() -> None:
    """Make the index anew, with the subject in it."""
    op.drop_index("ix_flowctx_capture_workflow", "flowctx_capture")
    op.create_index("ix_flowctx_capture_workflow", "flowctx_capture", [*_BEFORE, "subject"])


def downgrade() -> None:
    """Make it as it was."""
    op.drop_index("ix_flowctx_capture_workflow", "flowctx_capture")
    op.create_index("ix_flowctx_capture_workflow", "flowctx_capture", _BEFORE)
