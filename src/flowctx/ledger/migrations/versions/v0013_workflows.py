"""Let a batch have several workflows: what each was asked for, and whose partition an engine's word is about.

What engines said before is about the workflow that its batch was made for, which is what an empty name says.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"

_PARTITION = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_NAMES = "batch_id, partition, run_id, engine, state, attempt, started_at, ended_at, heard_at, step, error"


def upgrade() -> None:
    """Add the columns, and tell what engines say of partitions apart by workflow."""
    op.add_column("flowctx_batch", sa.Column("others", sa.Text))
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("flowctx_launch", sa.Column("workflow", sa.Text, nullable=False, server_default=""))
        op.alter_column("flowctx_launch", "workflow", server_default=None)
        op.drop_constraint("flowctx_launch_pkey", "flowctx_launch")
        op.create_primary_key("flowctx_launch_pkey", "flowctx_launch", ["batch_id", "workflow", "partition"])
        return
    # SQLite cannot change a primary key.
    op.rename_table("flowctx_launch", "flowctx_launch_before")
    op.create_table(
        "flowctx_launch",
        sa.Column("batch_id", sa.Text, primary_key=True),
        sa.Column("workflow", sa.Text, primary_key=True),
        sa.Column("partition", _PARTITION, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("run_id", "engine", "state")),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Text),
        sa.Column("ended_at", sa.Text),
        sa.Column("heard_at", sa.Text, nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("error", sa.Text),
    )
    copied = f"INSERT INTO flowctx_launch (workflow, {_NAMES}) SELECT '', {_NAMES} FROM flowctx_launch_before"  # noqa: S608
    op.execute(copied)
    op.drop_table("flowctx_launch_before")


def downgrade() -> None:
    """Refuse: a batch of several workflows cannot be told as one of one."""
    raise NotImplementedError("a ledger with batches of several workflows cannot go back to schema 0012")
