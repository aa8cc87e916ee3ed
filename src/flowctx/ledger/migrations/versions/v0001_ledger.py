"""Make the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of runs, attempts, steps and captures."""
    op.create_table(
        "flowctx_run",
        sa.Column("run_key", sa.Text, primary_key=True),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("partition", sa.Text),
        sa.Column("as_of_date", sa.Text),
        sa.Column("batch_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("target", sa.Text),
        sa.Column("steps", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("capture_id", sa.Text),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("heard_at", sa.Text, nullable=False),
        sa.Column("finished_at", sa.Text),
        sa.Column("error", sa.Text),
    )
    op.create_index("ix_flowctx_run_run_id", "flowctx_run", ["run_id"])
    op.create_index("ix_flowctx_run_batch_id", "flowctx_run", ["batch_id"])
    op.create_index("ix_flowctx_run_started_at", "flowctx_run", ["started_at"])
    op.create_table(
        "flowctx_attempt",
        sa.Column("run_key", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("context", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
    )
    op.create_table(
        "flowctx_step",
        sa.Column("run_key", sa.Text, primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        sa.Column("run_attempt", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("version", sa.Text),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
    )
    op.create_table(
        "flowctx_capture",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("capture_id", sa.Text, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("workflow", sa.Text),
        sa.Column("partition", sa.Text),
        sa.Column("run_id", sa.Text),
        sa.Column("lease_until", sa.Text, nullable=False),
        sa.Column("claimed_at", sa.Text, nullable=False),
        sa.Column("completed_at", sa.Text),
    )
    op.create_index("ix_flowctx_capture_revision", "flowctx_capture", ["subject", "revision"], unique=True)
    op.create_index("ix_flowctx_capture_workflow", "flowctx_capture", ["workflow", "partition"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("flowctx_capture", "flowctx_step", "flowctx_attempt", "flowctx_run"):
        op.drop_table(table)
