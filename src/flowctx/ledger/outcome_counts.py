"""How the partitions of a batch stand: the database counts and tells those of which all accounts agree."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import case, exists, func, literal, or_, select

from flowctx.core.batches.records import PartitionRun, PartitionState, Standing
from flowctx.core.durability.records import RunStatus
from flowctx.ledger.batch_rows import standings_of
from flowctx.ledger.database import Database
from flowctx.ledger.tables import launches, runs
from flowctx.ledger.versions_sql import chunks

#: How many rows are read at a time.
_PAGE = 5000
#: A run that ended so tells all that counts, if its engine says the same.
_OVER = [str(status) for status in (RunStatus.OK, RunStatus.FAILED, RunStatus.SKIPPED, RunStatus.PARTIAL)]
#: How many runs stand how, how many there are, and how many of them have no partition.
_SUMS = [func.count(case((runs.c.status == str(status), 1))).label(str(status)) for status in RunStatus]
_NUMBERS = (func.count().label("runs"), func.count(case((runs.c.partition.is_(None), 1))).label("loose"))


class OutcomeCounts(NamedTuple):
    """Counts the partitions of one workflow of a batch, of which many thousands are alike.

    Whichever of several accounts of a partition counts, it stands as they say if all say the same.
    """

    database: Database
    batch_id: str
    workflow: str
    #: Under which names it is noted what engines said of it.
    names: Sequence[str]
    #: Weighs the accounts of some partitions, or of all.
    weigh: Callable[[list[str] | None], Iterable[PartitionRun]]

    def counts(self) -> dict[str, int]:
        """Return how many partitions stand how."""
        noted = self._noted()
        (row,) = self.database.rows(select(*_SUMS, *_NUMBERS).where(*self._runs()))
        if len(noted) > 1 or row["loose"]:
            return _in_order(Counter(str(run.state) for run in self.weigh(None)))
        found, unclear = Counter({str(status): row[str(status)] for status in RunStatus}), set[str]()
        name, number = next(iter(noted.items()), ("", 0))
        contradicted = bool(noted) and self._some((*self._notes(name), ~self._recorded(alike=True)))
        # Where each note has a run that stands alike, and there are as many runs, each partition has one.
        if (contradicted or number < row["runs"]) and self.database.rows(self._several_runs().limit(1)):
            found, unclear = self._of_runs()
        if contradicted:
            found.update(self._only_noted(name))
            otherwise = self._contradicted(name)
            found.subtract(otherwise[text] for text in otherwise.keys() - unclear)
            unclear |= otherwise.keys()
        found.update(str(run.state) for texts in chunks(sorted(unclear)) for run in self.weigh(texts))
        return _in_order(found)

    def standings(self) -> Iterator[Standing]:
        """Yield how each partition stands, in the order of their texts."""
        noted = self._noted()
        if len(noted) > 1 or self._some((*self._runs(), runs.c.partition.is_(None))):
            return map(Standing.of, self.weigh(None))
        unclear = {row["partition"] for row in self.database.rows(self._several_runs())}
        alone: list[Standing] = []
        for name in noted:
            more = self._noted_more(name)
            unclear |= {row[0] for row, has_run in more if has_run}
            alone += standings_of(self.batch_id, [row for row, has_run in more if not has_run])
        weighed = (run for texts in chunks(sorted(unclear)) for run in self.weigh(texts))
        clear = (one for one in self._clear() if one.partition not in unclear) if unclear else self._clear()
        others = [*alone, *map(Standing.of, weighed)]
        return heapq.merge(clear, sorted(others, key=itemgetter(0)), key=itemgetter(0)) if others else clear

    def _noted(self) -> dict[str, int]:
        """Return how many partitions are noted under each name under which any is."""
        query = select(launches.c.workflow, func.count().label("number")).where(
            launches.c.batch_id == self.batch_id, launches.c.workflow.in_(self.names)
        )
        rows = self.database.rows(query.group_by(launches.c.workflow))
        return {row["workflow"]: row["number"] for row in rows}

    def _clear(self) -> Iterator[Standing]:
        """Yield how the runs with partitions stand, page by page in the order of an index."""
        place = {"partition": runs.c.partition, "run_key": runs.c.run_key}
        columns = (runs.c[name] for name in ("status", "engine", "attempt", "started_at", "finished_at", "error"))
        query = select(*place.values(), *columns).where(*self._with_key())
        for page in self.database.pages(query, place, _PAGE, self.database.tuples):
            yield from standings_of(self.batch_id, page)

    def _several_runs(self) -> Any:
        """Return the query for the partitions that have several runs."""
        return select(runs.c.partition).where(*self._with_key()).group_by(runs.c.partition).having(func.count() > 1)

    def _noted_more(self, name: str) -> list[tuple[Sequence[Any], bool]]:
        """Return what engines say that no run tells which is over, and whether there is a run of it at all."""
        columns = (launches.c[name] for name in ("state", "engine", "attempt", "started_at", "ended_at", "error"))
        query = select(launches.c.partition, literal(None), *columns, self._recorded(alike=False).label("has_run"))
        query = query.where(*self._notes(name), ~told_by_run(self.batch_id, self.workflow))
        return [(row[:-1], bool(row[-1])) for row in self.database.tuples(query)]

    def _runs(self) -> tuple[Any, ...]:
        return runs.c.batch_id == self.batch_id, runs.c.workflow == self.workflow

    def _with_key(self) -> tuple[Any, ...]:
        return *self._runs(), runs.c.partition.is_not(None)

    def _notes(self, name: str) -> tuple[Any, ...]:
        return launches.c.batch_id == self.batch_id, launches.c.workflow == name

    def _some(self, conditions: tuple[Any, ...]) -> bool:
        return bool(self.database.rows(select(literal(1)).where(*conditions).limit(1)))

    def _recorded(self, *, alike: bool) -> Any:
        """Return the condition that there is a run of what is noted, or one that stands as the note says."""
        same = (runs.c.status == launches.c.state,) if alike else ()
        return exists().where(*self._runs(), runs.c.partition == launches.c.partition, *same)

    def _of_runs(self) -> tuple[Counter[str], set[str]]:
        """Return how many partitions with runs stand how, and those whose runs do not stand alike."""
        by_partition = select(runs.c.partition, func.min(runs.c.status).label("status")).where(*self._with_key())
        by_partition = by_partition.group_by(runs.c.partition)
        agree = func.min(runs.c.status) == func.max(runs.c.status)
        one = by_partition.having(agree).subquery("one")
        counted = self.database.rows(select(one.c.status, func.count().label("number")).group_by(one.c.status))
        unclear = {row["partition"] for row in self.database.rows(by_partition.having(~agree))}
        return Counter({row["status"]: row["number"] for row in counted}), unclear

    def _contradicted(self, name: str) -> dict[str, str]:
        """Return how a run of each partition stands of which an engine says something else."""
        other = (runs.c.partition == launches.c.partition, runs.c.status != launches.c.state)
        query = select(runs.c.partition, runs.c.status).where(*self._runs(), *self._notes(name), *other)
        return {row["partition"]: row["status"] for row in self.database.rows(query)}

    def _only_noted(self, name: str) -> dict[str, int]:
        query = select(launches.c.state, func.count().label("number")).where(
            *self._notes(name), ~self._recorded(alike=False)
        )
        return {row["state"]: row["number"] for row in self.database.rows(query.group_by(launches.c.state))}


def told_by_run(batch_id: str, workflow: str) -> Any:
    """Return the condition that a run that is over tells all that counts of what its engine says of it."""
    return exists().where(
        runs.c.batch_id == batch_id,
        runs.c.workflow == workflow,
        runs.c.partition == launches.c.partition,
        runs.c.run_id + "" == launches.c.run_id,  # not by its index: one run id may serve all partitions of a batch
        runs.c.status == launches.c.state,
        runs.c.status.in_(_OVER),
        or_(launches.c.error.is_(None), runs.c.error.is_not(None)),
    )


def _in_order(counts: Counter[str]) -> dict[str, int]:
    return {str(state): counts[state] for state in PartitionState if counts[state]}
