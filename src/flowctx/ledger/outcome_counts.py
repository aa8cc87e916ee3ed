"""How many partitions of a batch stand how: the database counts those of which there is one account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, case, exists, func, literal, not_, or_, select

from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.ledger.database import Database
from flowctx.ledger.tables import launches, runs
from flowctx.ledger.versions_sql import chunks


class OutcomeCounts(NamedTuple):
    """Counts the partitions of one workflow of a batch, of which many thousands are alike."""

    database: Database
    batch_id: str
    workflow: str
    #: Under which names it is noted what engines said of it.
    names: Sequence[str]
    #: Weighs the accounts of some partitions, or of all.
    weigh: Callable[[list[str] | None], Iterable[PartitionRun]]

    def counts(self) -> dict[str, int]:
        """Return how many partitions stand how."""
        names = [name for name in self.names if self._some(self._notes(name))]
        if len(names) > 1 or self._some((*self._runs(), runs.c.partition.is_(None))):
            return _in_order(Counter(str(run.state) for run in self.weigh(None)))
        name = names[0] if names else self.workflow
        found = self._clear(name)
        unclear = self._unclear(name) if found.pop(None, 0) else []
        counts = Counter({str(state): count for state, count in found.items()})
        counts.update(self._only_noted(name) if names else {})
        counts.update(str(run.state) for texts in chunks(unclear) for run in self.weigh(texts))
        return _in_order(counts)

    def _runs(self) -> tuple[Any, ...]:
        return runs.c.batch_id == self.batch_id, runs.c.workflow == self.workflow

    def _notes(self, name: str) -> tuple[Any, ...]:
        return launches.c.batch_id == self.batch_id, launches.c.workflow == name

    def _some(self, conditions: tuple[Any, ...]) -> bool:
        return bool(self.database.rows(select(literal(1)).where(*conditions).limit(1)))

    def _joined(self, name: str) -> tuple[Any, Any, Any]:
        """Return the runs of each partition, their join with what engines said, and whether there is one account."""
        one = (
            select(
                runs.c.partition,
                func.min(runs.c.status).label("status"),
                func.min(runs.c.run_id).label("run_id"),
                func.count().label("number"),
                func.count(runs.c.selected).label("parts"),
            )
            .where(*self._runs(), runs.c.partition.is_not(None))
            .group_by(runs.c.partition)
            .subquery("one")
        )
        joined = one.outerjoin(launches, and_(*self._notes(name), launches.c.partition == one.c.partition))
        alike = and_(launches.c.run_id == one.c.run_id, launches.c.state == one.c.status)
        clear = and_(one.c.number == 1, one.c.parts == 0, or_(launches.c.partition.is_(None), alike))
        return one, joined, clear

    def _clear(self, name: str) -> dict[str | None, int]:
        """Return how many stand how of which there is one account; under ``None``, how many others there are."""
        one, joined, clear = self._joined(name)
        status = case((clear, one.c.status), else_=None).label("state")
        rows = self.database.rows(select(status, func.count().label("number")).select_from(joined).group_by(status))
        return {row["state"]: row["number"] for row in rows}

    def _unclear(self, name: str) -> list[str]:
        one, joined, clear = self._joined(name)
        query = select(one.c.partition).select_from(joined).where(not_(clear))
        return [row["partition"] for row in self.database.rows(query)]

    def _only_noted(self, name: str) -> dict[str, int]:
        recorded = exists().where(*self._runs(), runs.c.partition == launches.c.partition)
        query = select(launches.c.state, func.count().label("number")).where(*self._notes(name), ~recorded)
        return {row["state"]: row["number"] for row in self.database.rows(query.group_by(launches.c.state))}


def _in_order(counts: Counter[str]) -> dict[str, int]:
    return {str(state): counts[state] for state in PartitionState if counts[state]}
