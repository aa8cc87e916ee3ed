"""Remember when a capture was first complete that was written over since, and which captures were pruned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_RUNS = sa.table("flowctx_run", *(sa.column(name) for name in ("run_key", "status", "finished_at")))
_CAPTURES = sa.table("flowctx_capture", *(sa.column(name) for name in ("holder", "state", "completed_at")))


def upgrade() -> None:
    """Add the column and the table; a capture that says that there is nothing gets the time at which that was known."""
    op.add_column("flowctx_capture", sa.Column("first_completed_at", sa.Text))
    op.create_table(
        "flowctx_pruned_capture",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("capture_id", sa.Text, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("partition", sa.Text),
        sa.Column("batch_id", sa.Text),
        sa.Column("completed_at", sa.Text, nullable=False),
    )
    op.create_index("ix_flowctx_pruned_capture_workflow", "flowctx_pruned_capture", ["workflow", "partition"])
    skipped = (_RUNS.c.run_key == _CAPTURES.c.holder, _RUNS.c.status == "skipped")
    known_at = sa.select(_RUNS.c.finished_at).where(*skipped).scalar_subquery()
    op.execute(
        sa.update(_CAPTURES)
        .where(_CAPTURES.c.state == "released", sa.exists().where(*skipped))
        .values(completed_at=known_at)
    )


def downgrade() -> None:
    """Drop them."""
    released = (_CAPTURES.c.state == "released",)
    op.execute(sa.update(_CAPTURES).where(*released).values(completed_at=None))
    op.drop_index("ix_flowctx_pruned_capture_workflow", "flowctx_pruned_capture")
    op.drop_table("flowctx_pruned_capture")
    op.drop_column("flowctx_capture", "first_completed_at")
