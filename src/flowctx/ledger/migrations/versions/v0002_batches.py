"""Make the tables of batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

#: Texts of keys sort by code points, as Python and SQLite sort them, whatever the database's language is.
_PARTITION = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables of batches and of what engines say of their partitions."""
    op.create_table(
        "flowctx_batch",
        sa.Column("batch_id", sa.Text, primary_key=True),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("target", sa.Text),
        sa.Column("selection", sa.Text),
        sa.Column("digest", sa.Text),
        sa.Column("total", sa.Integer),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("params_from", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("engine", sa.Text),
        sa.Column("canceled_at", sa.Text),
        sa.Column("launcher", sa.Text),
        sa.Column("launcher_until", sa.Text),
    )
    op.create_table(
        "flowctx_launch",
        sa.Column("batch_id", sa.Text, primary_key=True),
        sa.Column("partition", _PARTITION, primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Text),
        sa.Column("ended_at", sa.Text),
        sa.Column("heard_at", sa.Text, nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("error", sa.Text),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("flowctx_run", "partition", type_=_PARTITION)
    op.drop_index("ix_flowctx_run_batch_id", "flowctx_run")
    op.create_index("ix_flowctx_run_batch", "flowctx_run", ["batch_id", "partition", "run_key"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_index("ix_flowctx_run_batch", "flowctx_run")
    op.create_index("ix_flowctx_run_batch_id", "flowctx_run", ["batch_id"])
    for table in ("flowctx_launch", "flowctx_batch"):
        op.drop_table(table)
