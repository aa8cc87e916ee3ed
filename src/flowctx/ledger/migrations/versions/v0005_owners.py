"""Tell whose a run is: a nonce that only its writer knows, who that is, since when, and until when it is alive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_NEW = ("nonce", "owner", "begun_at", "lease_until")


def upgrade() -> None:
    """Add the columns."""
    for name in _NEW:
        op.add_column("flowctx_run", sa.Column(name, sa.Text))


def downgrade() -> None:
    """Drop the columns."""
    for name in reversed(_NEW):
        op.drop_column("flowctx_run", name)
