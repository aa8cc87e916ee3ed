"""What pruning would forget, counted in a few passes: of the runs that are old, those that stay are taken away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import and_, exists, func, literal_column, or_, select, union
from sqlalchemy.engine import Connection

from flowctx.core.durability.records import CaptureState, Pruned, PrunedRuns
from flowctx.ledger.among import chunks
from flowctx.ledger.artifacts import referred_paths, rolled_back
from flowctx.ledger.pruning import Pruning
from flowctx.ledger.pruning_reads import CLOCKS_DIFFER
from flowctx.ledger.rows import stamp
from flowctx.ledger.tables import batches, captures, launches, runs

#: A workflow and a batch.
_Group: TypeAlias = tuple[str, str | None]


class PruningCounts(NamedTuple):
    """Counts what pruning would forget; nothing is written."""

    pruning: Pruning
    at: Connection
    #: Of so many old runs, each is looked at; of more, those that stay are found by the last captures of all subjects.
    each: int = 20_000

    def found(self) -> tuple[Pruned, set[str]]:
        """Return what would be forgotten, and which artifacts would still be referred to."""
        needed = list(chunks(sorted(self.pruning.runs_needed(self.at))))
        with rolled_back(self.at):
            return self._pruned(needed), self._paths(needed)

    def _pruned(self, needed: list[list[str]]) -> Pruned:
        going, (of_captures, lost) = self._old_runs(), self._captures()
        staying = [*self._staying(), *(self._by_group(runs.c.run_key.in_(keys)) for keys in needed)]
        for rows in staying:
            for workflow, batch_id, number, own in rows:
                going[workflow, batch_id] -= number
                of_captures -= own
        order = sorted(+going, key=lambda group: (group[0], group[1] or ""))
        of = tuple(PrunedRuns(workflow=w, batch_id=b, runs=going[w, b]) for w, b in order)
        in_batch: Counter[str | None] = Counter()
        for one in of:
            in_batch[one.batch_id] += one.runs
        return Pruned(
            runs=sum(one.runs for one in of), captures=of_captures + lost, batches=self._batches(in_batch), of=of
        )

    def _paths(self, needed: list[list[str]]) -> set[str]:
        goes = and_(*self.pruning.run_goes())
        paths = referred_paths(self.at, select(runs.c.run_key).where(~goes))
        for keys in needed:
            paths |= referred_paths(self.at, select(runs.c.run_key).where(runs.c.run_key.in_(keys)))
        return paths

    # -- runs and their captures --------------------------------------------------------------------------------------

    def _old_runs(self) -> Counter[_Group]:
        """Return how many old runs there are of each workflow and batch."""
        query = select(runs.c.workflow, runs.c.batch_id, func.count()).where(*self.pruning.run_is_old())
        rows = self.at.execute(query.group_by(runs.c.workflow, runs.c.batch_id))
        return Counter({(workflow, batch_id): number for workflow, batch_id, number in rows})

    def _captures(self) -> tuple[int, int]:
        """Return how many old captures old runs have, and how many go that have lost their run: mostly there are none.

        What was granted before the time is of a run that began before it, unless two clocks differ.
        """
        old, writer = captures.c.claimed_at < self.pruning.before, runs.alias("writer")
        if self.pruning.database.sqlite and self.at.execute(_holders_without_run()).first() is None:
            return self._count(old) - self._captures_of_young_runs(), 0
        by_age = select(runs.c.heard_at < self.pruning.before, func.count()).group_by(literal_column("1"))
        with_run = captures.c.holder == runs.c.run_key, old, runs.c.started_at < self.pruning.before
        found = {bool(is_old): int(count) for is_old, count in self.at.execute(by_age.where(*with_run))}
        if self._count(old) == sum(found.values()):
            return found.get(True, 0), 0
        lost = ~exists().where(writer.c.run_key == captures.c.holder)
        return found.get(True, 0), self._count(old, lost, ~self.pruning.capture_stays())

    def _captures_of_young_runs(self) -> int:
        """Return how many old captures other runs have: those that were heard of since, or began by another clock."""
        before, time = self.pruning.before, datetime.fromisoformat(self.pruning.before)
        latest = stamp(time + min(CLOCKS_DIFFER, datetime.max.replace(tzinfo=UTC) - time))
        young = runs.c.started_at < latest, or_(runs.c.heard_at >= before, runs.c.started_at >= before)
        return int(self.at.execute(select(func.sum(self._own_captures())).where(*young)).scalar_one() or 0)

    def _staying(self) -> Iterator[Any]:
        """Yield of the old runs that stay how many there are of each workflow and batch, and how many captures."""
        kept, live, stays = self.pruning.run_is_kept(), self.pruning.run_is_live(), self.pruning.capture_stays()
        if self._count(runs.c.started_at < self.pruning.before) <= self.each:
            yield self._by_group(or_(kept, live, exists().where(captures.c.holder == runs.c.run_key, stays)))
            return
        if self._count(batches.c.kept_at.is_not(None)):
            yield self._by_group(kept)
        yield self._by_group(~kept, holders=self._holders_that_stay())

    def _by_group(self, *conditions: Any, holders: Any = None) -> Any:
        query = select(runs.c.workflow, runs.c.batch_id, func.count(), func.sum(self._own_captures()))
        if holders is not None:
            query = query.select_from(holders).join(runs, runs.c.run_key == holders.c.holder)
        query = query.where(*self.pruning.run_is_old(), *conditions)
        return self.at.execute(query.group_by(runs.c.workflow, runs.c.batch_id))

    def _own_captures(self) -> Any:
        """Return the query for how many old captures a run has."""
        old = captures.c.claimed_at < self.pruning.before
        return select(func.count()).where(captures.c.holder == runs.c.run_key, old).scalar_subquery()

    def _holders_that_stay(self) -> Any:
        """Return the query for the runs under way, and those whose captures stay: the last captures of each subject."""
        subjects, complete = _subjects(), captures.alias("complete")
        of_subject = (complete.c.subject == subjects.c.subject, complete.c.state == str(CaptureState.COMPLETE))
        first = select(complete.c.revision).where(*of_subject).order_by(complete.c.revision.desc())
        since = func.coalesce(first.limit(1).offset(self.pruning.versions - 1).scalar_subquery(), 0)
        last = and_(captures.c.subject == subjects.c.subject, captures.c.revision >= since)
        tells = select(captures.c.holder).join_from(subjects, captures, last).where(self.pruning.capture_tells())
        live = select(captures.c.holder).where(self.pruning.capture_is_live())
        return union(tells, live, select(runs.c.run_key).where(self.pruning.run_is_live())).subquery("staying")

    def _count(self, *conditions: Any) -> int:
        return int(self.at.execute(select(func.count()).where(*conditions)).scalar_one())

    def _batches(self, going: Counter[str | None]) -> int:
        """Return how many old batches go, of which so many runs do: all of them, and nothing young is noted."""
        number = select(func.count()).where(runs.c.batch_id == batches.c.batch_id).scalar_subquery()
        of_old = select(batches.c.batch_id, number).where(*self.pruning.batch_is_old())
        names = [name for name, count in self.at.execute(of_old) if count == going[name]]
        young = exists().where(launches.c.batch_id == batches.c.batch_id, launches.c.heard_at >= self.pruning.before)
        return sum(self._count(batches.c.batch_id.in_(some), ~young) for some in chunks(names))


def _holders_without_run() -> Any:
    """Return the query for a holder that is no run; SQLite reads two indexes side by side, faster than a join."""
    return select(captures.c.holder).except_(select(runs.c.run_key)).order_by("holder").limit(1)


def _subjects() -> Any:
    """Return the subjects of all captures; each is found from the one before it, by the index."""
    first = select(func.min(captures.c.subject).label("subject")).cte("subjects", recursive=True)
    following = select(func.min(captures.c.subject)).where(captures.c.subject > first.c.subject).scalar_subquery()
    return first.union_all(select(following).where(first.c.subject.is_not(None)))
