"""The ledger's tables, as SQLAlchemy sees them; ``migrations`` make and change them.

Times are ISO 8601 text in UTC with microseconds, all of one length: they sort as they should and read well in any SQL
shell, on any database.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.sql.elements import TextClause

metadata = MetaData()

#: The revision of the schema that this flowctx writes: the newest of ``migrations/versions``.
REVISION = "0020"

#: Where alembic keeps the revision of the schema that a database has.
VERSION_TABLE = "flowctx_schema"

#: Texts of keys and run ids sort by code points, as Python and SQLite sort them, whatever the database's language is.
_SORTED = Text().with_variant(Text(collation="C"), "postgresql")

#: The last of all characters: what begins with a text comes before that text with it.
LAST_TEXT = "\U0010ffff"

#: What stands in the payload of a step that has read others, and in texts that refer to artifacts.
INPUTS = '"inputs":'
ARTIFACTS = ('"$artifact"', '"$table"', '"$file"')
_FUNCTIONS = {"sqlite": "instr", "postgresql": "strpos"}


def holds(dialect: str, column: str, *texts: str) -> TextClause:
    """Return the condition that one of some texts stands in a column, as the index of such rows has it."""
    return text("({})".format(" OR ".join(f"{_FUNCTIONS[dialect]}({column}, '{one}') > 0" for one in texts)))


runs = Table(
    "flowctx_run",
    metadata,
    Column("run_key", Text, primary_key=True),
    Column("workflow", Text, nullable=False),
    Column("run_id", _SORTED, nullable=False, index=True),
    Column("partition", _SORTED),
    Column("as_of_date", Text),
    Column("batch_id", Text),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("engine", Text, nullable=False),
    Column("target", Text),
    Column("steps", Text, nullable=False),
    Column("selected", Text),
    Column("continued_by", Text),
    Column("subject", Text),
    Column("capture_id", Text),
    Column("started_at", Text, nullable=False, index=True),
    Column("heard_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("error", Text),
    Column("nonce", Text),
    Column("owner", Text),
    Column("begun_at", Text),
    Column("lease_until", Text),
    Index("ix_flowctx_run_batch", "batch_id", "partition", "run_key", "workflow", "status"),
    Index("ix_flowctx_run_capture", "capture_id"),
    Index("ix_flowctx_run_batch_started", "batch_id", "started_at"),
    Index("ix_flowctx_run_status", "status", "started_at"),
    Index("ix_flowctx_run_workflow_started", "workflow", "started_at"),
    Index("ix_flowctx_run_partition_started", "partition", "started_at"),
)

attempts = Table(
    "flowctx_attempt",
    metadata,
    Column("run_key", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("context", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("reads", Text),
    Index("ix_flowctx_attempt_references", "run_key"),  # only of rows that hold one of ARTIFACTS, say the migrations
)

steps = Table(
    "flowctx_step",
    metadata,
    Column("run_key", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("run_attempt", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("version", Text),
    Column("payload", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Index("ix_flowctx_step_references", "run_key"),  # only of rows that hold INPUTS or one of ARTIFACTS
)

captures = Table(
    "flowctx_capture",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("capture_id", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("token", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("workflow", Text),
    Column("partition", Text),
    Column("run_id", Text),
    Column("lease_until", Text, nullable=False),
    Column("claimed_at", Text, nullable=False),
    Column("completed_at", Text),
    Column("first_completed_at", Text),
    Column("let_go", Text),
    Index("ix_flowctx_capture_revision", "subject", "revision", unique=True),
    Index("ix_flowctx_capture_workflow", "workflow", "partition", "subject"),
    Index("ix_flowctx_capture_holder", "holder"),
    Index("ix_flowctx_capture_claimed", "workflow", "claimed_at"),
)

pruned_captures = Table(
    "flowctx_pruned_capture",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("capture_id", Text, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("partition", _SORTED),
    Column("batch_id", Text),
    Column("completed_at", Text, nullable=False),
    Column("last_completed_at", Text),
    Index("ix_flowctx_pruned_capture_workflow", "workflow", "partition"),
    Index("ix_flowctx_pruned_capture_batch", "batch_id", "partition", "workflow"),
    Index("ix_flowctx_pruned_capture_id", "capture_id"),
)

facts = Table(
    "flowctx_fact",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

artifacts = Table(
    "flowctx_artifact",
    metadata,
    Column("path", Text, primary_key=True),
    Column("digest", Text),
    Column("form", Text),
    Column("reference", Text),
    Column("intended_at", Text, nullable=False),
    Column("removed_at", Text),
    Index("ix_flowctx_artifact_content", "digest", "form"),
)

batches = Table(
    "flowctx_batch",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("workflow", Text, nullable=False),
    Column("target", Text),
    Column("selection", Text),
    Column("digest", Text),
    Column("total", Integer),
    Column("params", Text, nullable=False),
    Column("params_from", Text),
    Column("created_at", Text, nullable=False),
    Column("engine", Text),
    Column("canceled_at", Text),
    Column("launcher", Text),
    Column("launcher_until", Text),
    Column("kept_at", Text),
    Column("others", Text),
)

launches = Table(
    "flowctx_launch",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("workflow", Text, primary_key=True),
    Column("partition", _SORTED, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", Text),
    Column("ended_at", Text),
    Column("heard_at", Text, nullable=False),
    Column("step", Text),
    Column("error", Text),
)
