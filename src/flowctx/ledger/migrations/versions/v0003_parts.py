"""Tell runs of a part from whole ones, and what goes on from what has ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the steps that a run was to do, where those are not all, and the run that goes on with it."""
    op.add_column("flowctx_run", sa.Column("selected", sa.Text))
    op.add_column("flowctx_run", sa.Column("continued_by", sa.Text))
    op.create_index("ix_flowctx_run_capture", "flowctx_run", ["capture_id"])


def downgrade() -> None:
    """Drop what was added."""
    op.drop_index("ix_flowctx_run_capture", "flowctx_run")
    op.drop_column("flowctx_run", "continued_by")
    op.drop_column("flowctx_run", "selected")
