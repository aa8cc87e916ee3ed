"""Remember with an attempt at a run which versions of its inputs it reads again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column; of attempts before it nothing was read."""
    op.add_column("flowctx_attempt", sa.Column("reads", sa.Text))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("flowctx_attempt", "reads")
