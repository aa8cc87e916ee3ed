"""Reads the migrations of each kind of database once a process, and works out once what they say to a new ledger."""

from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event, update
from sqlalchemy.engine import Connection

from flowctx.ledger import schema
from flowctx.ledger.tables import facts

_read = ScriptDirectory.from_config
_known: dict[tuple[str | None, ...], tuple[tuple[int, ...], ScriptDirectory]] = {}
_upgrade = schema.upgrade
#: What the migrations have said to a database without a ledger, by the database's kind.
_said: dict[str, list[tuple[str, Any]]] = {}


def _read_once(config: Config) -> ScriptDirectory:
    """Return the migrations of a database; Alembic reads them for each one that is opened."""
    place = (config.config_file_name, config.get_main_option("script_location"))
    if place not in _known or _files(_known[place][1]) != _known[place][0]:
        found = _read(config)
        _known[place] = _files(found), found
    return _known[place][1]


def _files(found: ScriptDirectory) -> tuple[int, ...]:
    return tuple(file.stat().st_mtime_ns for file in sorted(Path(found.dir, "versions").glob("*.py")))


def _upgrade_with_what_was_said(connection: Connection, shown: str) -> None:
    """Bring a ledger to the newest schema; a new one with the very statements that made the first one."""
    kind = connection.dialect.name
    if schema.revision_of(connection) is not None:
        _upgrade(connection, shown)
    elif kind in _said:
        with closing(connection.connection.cursor()) as cursor:
            for statement, values in _said[kind]:
                cursor.execute(statement, values)
        own = f"ledger-{uuid4().hex[:12]}"
        connection.execute(update(facts).where(facts.c.name == "artifact_prefix").values(value=own))
    else:
        heard: list[tuple[str, Any]] = []

        def hear(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
            if not statement.lstrip().startswith(("SELECT", "PRAGMA")):  # they only look
                heard.append((statement, values))

        event.listen(connection, "before_cursor_execute", hear)
        try:
            _upgrade(connection, shown)
        finally:
            event.remove(connection, "before_cursor_execute", hear)
        _said[kind] = heard


ScriptDirectory.from_config = staticmethod(_read_once)  # type: ignore[method-assign]
schema.upgrade = _upgrade_with_what_was_said
