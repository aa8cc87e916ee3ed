"""How the partitions of a batch stand: the database counts and tells those of which all accounts agree."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import and_, exists, false, func, literal, literal_column, or_, select

from flowctx.core.batches.outcomes import CHANGED
from flowctx.core.batches.records import PartitionRun, PartitionState, Standing, shares_run_ids
from flowctx.core.durability.records import RunStatus
from flowctx.ledger.among import chunks
from flowctx.ledger.batch_rows import pruned_run, standings_of
from flowctx.ledger.database import Database
from flowctx.ledger.rows import Row
from flowctx.ledger.tables import LAST_TEXT, batches, launches, pruned_captures, runs

#: How many rows are read at a time.
_PAGE = 5000
#: A run that ended so tells all that counts, if its engine says the same.
_OVER = [str(status) for status in (RunStatus.OK, RunStatus.FAILED, RunStatus.SKIPPED, RunStatus.PARTIAL)]
#: What an engine says counts beside a version that was pruned.
_OUTLIVES = [str(state) for state in PartitionState if state.done]
#: So many partitions that are not ok are compared one by one.
_FEW = 5000


class Accounts(NamedTuple):
    """Which accounts there are of a workflow's partitions in a batch."""

    #: Under which names something is noted of what engines said: its own, or none.
    names: list[str]
    #: Whether there are runs without partitions.
    occasions: bool
    #: Whether versions of partitions were pruned.
    pruned: bool


def accounts(database: Database, batch_id: str, workflow: str) -> Accounts:
    """Return which accounts there are, as one question tells.

    What was said of the batch's own workflow has no name, unless it was noted before anybody said whose batch it is.
    """
    another = _some(batches.c.batch_id == batch_id, batches.c.workflow != workflow)
    without_key = (runs.c.batch_id == batch_id, runs.c.workflow == workflow, runs.c.partition.is_(None))
    query = select(
        and_(~another, _noted(batch_id, "")).label("unnamed"),
        _noted(batch_id, workflow).label("named"),
        _some(*without_key).label("occasions"),
        _some(*_pruned_of(batch_id, workflow)).label("pruned"),
    )
    ((unnamed, named, occasions, pruned),) = database.tuples(query)
    names = [name for name, noted in (("", unnamed), (workflow, named)) if noted]
    return Accounts(names, bool(occasions), bool(pruned))


def _pruned_of(batch_id: str, workflow: str) -> tuple[Any, ...]:
    """Return the conditions that a version of a partition was pruned."""
    of_batch = (pruned_captures.c.batch_id == batch_id, pruned_captures.c.workflow == workflow)
    return *of_batch, pruned_captures.c.partition.is_not(None)


def _some(*conditions: Any) -> Any:
    """Return the condition that there is such a row; SQLite takes an index that has all of it, as no column is read."""
    return select(literal_column("1")).where(*conditions).exists()


def _noted(batch_id: str, workflow: str) -> Any:
    """Return the condition that something is noted; PostgreSQL looks for the first by an index, and for any in all."""
    first = select(func.min(launches.c.partition))
    return first.where(launches.c.batch_id == batch_id, launches.c.workflow == workflow).scalar_subquery().is_not(None)


class OutcomeCounts(NamedTuple):
    """Counts the partitions of one workflow of a batch, of which many thousands are alike.

    Whichever of several accounts of a partition counts, it stands as they say if all say the same.
    """

    database: Database
    batch_id: str
    workflow: str
    #: Weighs the accounts of some partitions, or of all.
    weigh: Callable[[list[str] | None], Iterable[PartitionRun]]

    def counts(self) -> dict[str, int]:
        """Return how many partitions stand how."""
        names, pruned = self._noted_names()
        if names is None:
            return _in_order(Counter(str(run.state) for run in self.weigh(None)))
        found = self._counts(names, self._pruned_with_parts() if pruned else {})
        if pruned:
            states = [row["state"] for row in self._pruned(names)]
            found.update({str(PartitionState.PRUNED): len(states)})
            found.subtract(filter(None, states))
        return _in_order(found)

    def _counts(self, names: Sequence[str], weighed: Mapping[str, str]) -> Counter[str]:
        """Return how many partitions stand how by their runs and notes; some are weighed, however their runs stand."""
        # PostgreSQL joins notes and runs in the order of their indexes; SQLite would look for the run of each note.
        quick = self._told_twice(names[0]) if names and self.database.sqlite and not weighed else None
        if quick is not None:
            return quick
        found, unclear, differ = self._of_runs(names)
        if differ:
            found.update(self._only_noted(names[0]))
            contradicted = self._contradicted(names[0])
            weighed = {**weighed, **contradicted}
        found.subtract(weighed[text] for text in weighed.keys() - unclear)
        unclear |= weighed.keys()
        found.update(str(run.state) for texts in chunks(sorted(unclear)) for run in self.weigh(texts))
        return found

    def _told_twice(self, name: str) -> Counter[str] | None:
        """Return how many partitions stand how if each has a run and a note that stands alike; ``None`` if not.

        Notes are of one partition each. So where each has a run, and there are as many runs, each partition has one.
        """
        (noted,) = self.database.rows(select(func.count().label("number")).where(*self._notes(name)))
        (recorded,) = self.database.rows(select(func.count().label("number")).where(*self._with_key()))
        ran = select(runs.c.partition).where(*self._with_key())
        without = select(launches.c.partition).where(*self._notes(name)).except_(ran).order_by("partition").limit(1)
        if noted != recorded or self.database.rows(without):
            return None
        ok = str(PartitionState.OK)
        others = select(runs.c.partition, runs.c.status).where(*self._with_key(), runs.c.status != ok)
        notes = select(launches.c.partition, launches.c.state).where(*self._notes(name), launches.c.state != ok)
        of_runs, of_notes = (set(map(tuple, self.database.tuples(query.limit(_FEW)))) for query in (others, notes))
        if of_runs != of_notes or len(of_runs) == _FEW:
            return None
        return Counter(state for _, state in of_runs) + Counter({ok: recorded["number"] - len(of_runs)})

    def partitions(self, besides: str | None) -> Iterator[str]:
        """Yield the text of each partition, as often as it has accounts; first an empty one if runs have none.

        Args:
            besides: Leave out runs whose ids begin so.
        """
        there = accounts(self.database, self.batch_id, self.workflow)
        if there.occasions:
            yield ""
        tables: list[tuple[Any, Any]] = []
        if besides is None or not self._all_begin(besides):
            tables.append((runs, self._with_key()))
        if there.pruned:
            tables.append((pruned_captures, _pruned_of(self.batch_id, self.workflow)))
        for table, conditions in [*tables, *((launches, self._notes(name)) for name in there.names)]:
            column = table.c.partition
            query = select(column).where(*conditions)
            if besides is not None and table is not pruned_captures:  # whose runs have no ids any more
                query = query.where(func.substr(table.c.run_id, 1, len(besides)) != besides)
            # A page begins after the last text of the one before: one that comes again tells nothing new.
            for page in self.database.pages(query, {"partition": column}, _PAGE, self.database.tuples):
                yield from (text for (text,) in page)

    def _all_begin(self, begun: str) -> bool:
        """Whether the ids of all runs of the batch surely begin so, as two indexes tell: to read each id takes longer.

        So they do if as many ids begin so as the batch has runs, and no other batch has ids that do.
        """
        begins = (runs.c.run_id >= begun, runs.c.run_id <= begun + LAST_TEXT)
        own = select(func.count()).where(runs.c.batch_id == self.batch_id).scalar_subquery()
        there = select(func.count()).where(*begins).scalar_subquery()
        like = or_(*(batches.c.batch_id.like(one, escape="/") for one in shares_run_ids(self.batch_id)))
        another = _some(batches.c.batch_id != self.batch_id, like)
        ((as_many, shared),) = self.database.tuples(select((own == there).label("as_many"), another.label("shared")))
        return bool(as_many) and not shared

    def standings(self) -> Iterator[Standing]:
        """Yield how each partition stands, in the order of their texts."""
        names, pruned = self._noted_names()
        if names is None:
            return map(Standing.of, self.weigh(None))
        unclear = {row["partition"] for row in self.database.rows(self._several_runs())}
        alone: list[Standing] = []
        for name in names:
            more = self._noted_more(name)
            unclear |= {row[0] for row, has_run in more if has_run}
            alone += standings_of(self.batch_id, [row for row, has_run in more if not has_run])
        if pruned:
            unclear |= self._pruned_with_parts().keys()
            gone = {row["partition"]: pruned_run({**row, "batch_id": self.batch_id}) for row in self._pruned(names)}
            alone = [one for one in alone if one.partition not in gone] + list(map(Standing.of, gone.values()))
        weighed = (run for texts in chunks(sorted(unclear)) for run in self.weigh(texts))
        clear = (one for one in self._clear() if one.partition not in unclear) if unclear else self._clear()
        others = [*alone, *map(Standing.of, weighed)]
        return heapq.merge(clear, sorted(others, key=itemgetter(0)), key=itemgetter(0)) if others else clear

    def _noted_names(self) -> tuple[list[str] | None, bool]:
        """Return under which names anything is noted, and whether versions were pruned.

        The names are ``None`` if only accounts that are weighed tell how all stand.
        """
        there = accounts(self.database, self.batch_id, self.workflow)
        return (None if len(there.names) > 1 or there.occasions else there.names), there.pruned

    def _pruned(self, names: Sequence[str]) -> list[Row]:
        """Return the partitions that are pruned and no more, and what is noted of them all the same, as ``state``."""
        notes = self._notes(names[0]) if names else (false(),)
        noted = and_(*notes, launches.c.partition == pruned_captures.c.partition)
        ran = exists().where(*self._runs(), runs.c.partition == pruned_captures.c.partition)
        state = func.max(launches.c.state).label("state")
        known_since = func.max(pruned_captures.c.completed_at).label("completed_at")
        query = select(pruned_captures.c.partition, known_since, state).join_from(
            pruned_captures, launches, noted, isouter=True
        )
        counts = or_(launches.c.state.is_(None), launches.c.state.not_in(_OUTLIVES))
        query = query.where(*_pruned_of(self.batch_id, self.workflow), ~ran, counts)
        return self.database.rows(query.group_by(pruned_captures.c.partition))

    def _pruned_with_parts(self) -> dict[str, str]:
        """Return how a run of each partition stands of which a version was pruned, and that has runs of a part."""
        is_part = (runs.c.selected.is_not(None), runs.c.status != str(RunStatus.OK))
        again = (runs.c.partition == pruned_captures.c.partition, *is_part)
        query = select(runs.c.partition, func.min(runs.c.status).label("status"))
        query = query.where(*_pruned_of(self.batch_id, self.workflow), *self._runs(), *again)
        return {row["partition"]: row["status"] for row in self.database.rows(query.group_by(runs.c.partition))}

    def _clear(self) -> Iterator[Standing]:
        """Yield how the runs with partitions stand, page by page in the order of an index."""
        place = {"partition": runs.c.partition, "run_key": runs.c.run_key}
        names = ("status", "engine", "attempt", "started_at", "finished_at", "error", "begun_at")
        query = select(*place.values(), *(runs.c[name] for name in names)).where(*self._with_key())
        for page in self.database.pages(query, place, _PAGE, self.database.tuples):
            yield from standings_of(self.batch_id, page)

    def _several_runs(self) -> Any:
        """Return the query for the partitions that have several runs."""
        return select(runs.c.partition).where(*self._with_key()).group_by(runs.c.partition).having(func.count() > 1)

    def _noted_more(self, name: str) -> list[tuple[Sequence[Any], bool]]:
        """Return what engines say that no run tells which is over, and whether there is a run of it at all."""
        columns = (launches.c[name] for name in ("state", "engine", "attempt", "started_at", "ended_at", "error"))
        has_run = self._recorded(alike=False).label("has_run")
        query = select(launches.c.partition, literal(None), *columns, literal(None).label("begun_at"), has_run)
        query = query.where(*self._notes(name), ~told_by_run(self.batch_id, self.workflow))
        return [(row[:-1], bool(row[-1])) for row in self.database.tuples(query)]

    def _runs(self) -> tuple[Any, ...]:
        return runs.c.batch_id == self.batch_id, runs.c.workflow == self.workflow

    def _with_key(self) -> tuple[Any, ...]:
        return *self._runs(), runs.c.partition.is_not(None)

    def _notes(self, name: str) -> tuple[Any, ...]:
        return launches.c.batch_id == self.batch_id, launches.c.workflow == name

    def _recorded(self, *, alike: bool) -> Any:
        """Return the condition that there is a run of what is noted, or one that stands as the note says."""
        same = (runs.c.status == launches.c.state,) if alike else ()
        return exists().where(*self._runs(), runs.c.partition == launches.c.partition, *same).correlate(launches)

    def _of_runs(self, names: Sequence[str]) -> tuple[Counter[str], set[str], bool]:
        """Return how many partitions with runs stand how, those whose runs do not stand alike, and if a note differs.

        One such note is looked for in the order of an index: a limit, or all of them, and PostgreSQL reads all notes.
        """
        partitions = select(func.count(runs.c.partition.distinct())).where(*self._with_key())
        differs = exists().where(*self._notes(names[0]), ~self._recorded(alike=True)) if names else false()
        # Counted for themselves, partitions are counted in the order of an index, in half the time.
        once = (partitions.scalar_subquery().label("partitions"), select(differs).scalar_subquery().label("differs"))
        how = select(runs.c.status, func.count().label("runs"), *once).where(*self._with_key())
        found = self.database.rows(how.group_by(runs.c.status))
        counts = Counter({row["status"]: row["runs"] for row in found})
        differ = bool(found[0]["differs"]) if found else bool(names)
        if not found or counts.total() == found[0]["partitions"]:
            return counts, set(), differ
        by_partition = select(runs.c.partition, func.min(runs.c.status).label("status")).where(*self._with_key())
        by_partition = by_partition.group_by(runs.c.partition)
        agree = func.min(runs.c.status) == func.max(runs.c.status)
        one = by_partition.having(agree).subquery("one")
        counted = self.database.rows(select(one.c.status, func.count().label("number")).group_by(one.c.status))
        unclear = {row["partition"] for row in self.database.rows(by_partition.having(~agree))}
        return Counter({row["status"]: row["number"] for row in counted}), unclear, differ

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
    began = (launches.c.attempt > 0, func.substr(launches.c.error, 1, len(CHANGED)) != CHANGED)
    return exists().where(
        runs.c.batch_id == batch_id,
        runs.c.workflow == workflow,
        runs.c.partition == launches.c.partition,
        runs.c.run_id + "" == launches.c.run_id,  # not by its index: one run id may serve all partitions of a batch
        runs.c.status == launches.c.state,
        runs.c.status.in_(_OVER),
        or_(launches.c.error.is_(None), and_(runs.c.error.is_not(None), *began)),
    )


def _in_order(counts: Counter[str]) -> dict[str, int]:
    return {str(state): counts[state] for state in PartitionState if counts[state]}
