"""Under which names engines have a workflow, as a ledger in a database remembers it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import select

from flowctx.ledger.database import Database
from flowctx.ledger.statements import put_fact
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
        self._database.transaction(lambda at: at.execute(put_fact(at), row))

    def engine_names(self, engine: str, workflow: str) -> dict[str, tuple[str, ...]]:
        """Return the names under which an engine has a workflow, with the dimensions of its runs there."""
        of_workflow = [_KIND, engine, workflow]
        begins = json.dumps(of_workflow)[:-1]
        rows = self._database.rows(select(facts).where(facts.c.name.startswith(begins, autoescape=True)))
        found = [(json.loads(row["name"]), json.loads(row["value"])) for row in rows]
        return {name[-1]: tuple(value) for name, value in sorted(found) if name[:-1] == of_workflow}
