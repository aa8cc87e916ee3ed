"""Remember which batches are kept, however old they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column; no batch is kept so far."""
    op.add_column("flowctx_batch", sa.Column("kept_at", sa.Text))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("flowctx_batch", "kept_at")
