"""Remember until when a capture was complete before it was granted last, and since when one that is pruned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Add the columns; of what is there, these times are not known."""
    op.add_column("flowctx_capture", sa.Column("let_go", sa.Text))
    op.add_column("flowctx_pruned_capture", sa.Column("last_completed_at", sa.Text))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("flowctx_pruned_capture", "last_completed_at")
    op.drop_column("flowctx_capture", "let_go")
