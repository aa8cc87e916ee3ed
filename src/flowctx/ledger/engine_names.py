"""Under which names engines have a workflow, as a ledger in a database remembers it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
from sqlalchemy import select

from flowctx.core.printable import brief
from flowctx.ledger.database import Database
from flowctx.ledger.rows import Row, damaged
from flowctx.ledger.statements import put
from flowctx.ledger.tables import facts

_KIND = "engine name"


class SqlEngineNames:
    """Remembers names; see :class:`~flowctx.core.durability.ledger.Ledger`."""

    _database: Database

    def remember_engine_name(self, engine: str, workflow: str, name: str, dimensions: Sequence[str] = ()) -> None:
        """Remember a name under which an engine has a workflow."""
        if self.engine_names(engine, workflow).get(name) == tuple(dimensions):
            return
        row = {"name": json.dumps([_KIND, engine, workflow, name]), "value": json.dumps(list(dimensions))}
        self._database.transaction(lambda at: at.execute(put(at, facts), row))

    def engine_names(self, engine: str, workflow: str) -> dict[str, tuple[str, ...]]:
        """Return the names under which an engine has a workflow, with the dimensions of its runs there."""
        of_workflow = [_KIND, engine, workflow]
        begins = json.dumps(of_workflow)[:-1]
        query = select(facts).where(facts.c.name.startswith(begins, autoescape=True)).order_by(facts.c.name)
        found = map(_engine_name, self._database.rows(query))
        return {name[-1]: value for name, value in found if name[:-1] == of_workflow}


def _engine_name(row: Row) -> tuple[list[str], tuple[str, ...]]:
    try:
        name = msgspec.json.decode(row["name"], type=list[str])
        return name, msgspec.json.decode(row["value"], type=tuple[str, ...])
    except msgspec.DecodeError as exc:
        raise damaged(f"what the ledger holds of {brief(row['name'])}", exc) from exc
