"""Make the ledger's tables on first use, and see whether those that are there are the right ones."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from flowctx.core.errors import LedgerVersionError
from flowctx.ledger.tables import REVISION, VERSION_TABLE


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the schema that a database has; ``None`` if it has no ledger."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return found


def check(revision: str, shown: str) -> None:
    """Refuse a schema that this flowctx does not write.

    Args:
        revision: The schema's revision.
        shown: The ledger's URL, without its password.

    Raises:
        LedgerVersionError: The message says what to type.
    """
    if revision < REVISION:
        raise LedgerVersionError(
            f"the ledger {shown} has schema {revision} and this flowctx needs {REVISION}; type: flowctx ledger upgrade"
        )
    if revision > REVISION:
        raise LedgerVersionError(
            f"the ledger {shown} has schema {revision}, newer than the {REVISION} of this flowctx; "
            "type: pip install --upgrade flowctx"
        )


def upgrade(connection: Connection, shown: str) -> None:
    """Bring the schema to the newest revision, inside the caller's transaction.

    Args:
        connection: Where.
        shown: The ledger's URL, without its password.

    Raises:
        LedgerVersionError: It is of a newer flowctx.
    """
    found = revision_of(connection)
    if found is not None and found > REVISION:
        check(found, shown)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
