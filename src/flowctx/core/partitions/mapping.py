"""Which partitions of one scheme a partition of another takes in: the one rule, for reading, for order and for engines.

Static dimensions that both have are equal. Of a cadence it takes in the dates whose windows lie in this partition's own
window, or the last ones before it. Dimensions that only the upstream has are taken in whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import product

from flowctx.core.dates.cadence import Cadence, Daily, Hourly, Monthly, Quarterly, Weekly, Yearly
from flowctx.core.dates.zones import Window, last_day_before
from flowctx.core.errors import CalendarError, PartitionError
from flowctx.core.partitions.dimensions import CadenceDimension, Dimension, StaticDimension
from flowctx.core.partitions.index_tree import Runs, Tree, blocks, tree_of_block, union
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection
from flowctx.core.suggestions import did_you_mean, nearest

#: For each kind of window, the kinds in which it lies.
_FINER: dict[type[Cadence], tuple[type[Cadence], ...]] = {
    Hourly: (Hourly, Daily, Weekly, Monthly, Quarterly, Yearly),
    Daily: (Daily, Weekly, Monthly, Quarterly, Yearly),
    Weekly: (Weekly,),
    Monthly: (Monthly, Quarterly, Yearly),
    Quarterly: (Quarterly, Yearly),
    Yearly: (Yearly,),
}
#: What does not change which dates follow each other.
_BOUNDS = {"start", "end", "delay", "due_at", "timezone"}

#: Positions in one dimension, in order.
Positions = Sequence[int]


class PartitionMapping:
    """Which partitions of an upstream scheme a partition of a downstream one takes in.

    Nothing is listed: a key is mapped by random access, in time that grows with what is taken in and not with the
    schemes.

    Args:
        upstream: The scheme that is read.
        downstream: The scheme of the reader; ``None``: it has no partitions.
        previous: Instead of the dates in the window, so many before it.
        where: Values of static dimensions of the upstream, which take the place of what the rule says of them.

    Raises:
        PartitionError: There is no such mapping; the message says why.

    Example:
        >>> from flowctx import Daily, Monthly, PartitionScheme
        >>> days = PartitionScheme(date=Daily(start="2012-01-03", calendar="WEEKDAYS"), fund=["A", "B"])
        >>> months = PartitionScheme(month=Monthly(start="2012-01-01"))
        >>> taken = PartitionMapping(days, months).keys(months.key(month="2012-02-29"))
        >>> len(taken), str(taken[0])
        (42, 'date=2012-02-01|fund=A')
    """

    def __init__(
        self,
        upstream: PartitionScheme,
        downstream: PartitionScheme | None,
        *,
        previous: int = 0,
        where: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.upstream, self.downstream, self.previous = upstream, downstream, previous
        self.where = {name: tuple(values) for name, values in (where or {}).items()}
        self._statics = _shared(upstream, downstream, self.where)
        self._check_where()
        self._check_cadences()
        self._check_common()

    # -- what it takes in -----------------------------------------------------------------------------------------

    @property
    def one(self) -> bool:
        """Whether it takes in at most one partition of the upstream, whatever the key is."""
        return all(map(self._is_one, self.upstream.parts))

    def _is_one(self, dimension: Dimension) -> bool:
        if isinstance(dimension, StaticDimension):
            return dimension.name in self._statics or len(set(self.where.get(dimension.name, ()))) == 1
        reading = self.downstream.cadence if self.downstream is not None else None
        return reading is not None and (self.previous == 1 if self.previous else same_dates(dimension.cadence, reading))

    @property
    def kept(self) -> frozenset[str]:
        """The dimensions of the upstream in which a partition takes in its own value and no other.

        Example:
            >>> from flowctx import Daily, PartitionScheme
            >>> funds = PartitionScheme(date=Daily(start="2012-01-03"), fund=["A", "B"])
            >>> sorted(PartitionMapping(funds, funds, previous=1).kept)
            ['fund']
        """
        reading = self.downstream.cadence if self.downstream is not None else None
        theirs = self.upstream.cadence
        same = not self.previous and theirs is not None and reading is not None and same_dates(theirs, reading)
        return self._statics | ({str(self.upstream.cadence_dimension)} if same else set())

    def lacking(self, key: PartitionKey | None) -> str | None:
        """Return why the upstream does not have all that a key takes in; ``None`` if it does.

        It has no such value of a dimension, or its dates end before.

        Example:
            >>> from flowctx import PartitionScheme
            >>> mapping = PartitionMapping(PartitionScheme(fund=["A"]), PartitionScheme(fund=["A", "B"]))
            >>> mapping.lacking(PartitionKey(fund="B"))
            "fund has no value 'B', it has A"
        """
        shared = () if key is None else (part for part in self.upstream.parts if part.name in self._statics)
        values = ((part, key[part.name]) for part in shared if key is not None)
        why = next((part.explain(value)[0] for part, value in values if part.find(value) is None), None)
        return self._ended(key) if why is None else why

    def _ended(self, key: PartitionKey | None) -> str | None:
        """Return since when the upstream has no more of the dates that a key takes in."""
        cadence = self.upstream.cadence
        window = None if key is None or self.downstream is None else self.downstream.window(key)
        if cadence is None or cadence.end is None or window is None:
            return None
        found = cadence.before(window.start, 1) if self.previous else cadence.within(window)
        # There is none before the first date, too: that range begins at 0.
        after = found.start > 0 if self.previous else last_day_before(window.end) > cadence.end
        return f"its dates end on {cadence.end}" if after and not found else None

    def positions(self, key: PartitionKey | None) -> list[Positions]:
        """Return for each dimension of the upstream the positions that a key takes in.

        Raises:
            UnknownPartition: The downstream scheme has no such key.
            CalendarError: The calendar does not reach that far.
        """
        return [self._positions(dimension, key) for dimension in self.upstream.parts]

    def keys(self, key: PartitionKey | None) -> Selection:
        """Return the partitions that a key takes in, in the upstream's order.

        Args:
            key: A key of the downstream scheme.

        Raises:
            UnknownPartition: The downstream scheme has no such key.
            CalendarError: The calendar does not reach that far.
        """
        self.upstream._check_lengths()
        block = [[f] if isinstance(f, range) else [range(i, i + 1) for i in f] for f in self.positions(key)]
        return Selection._of(self.upstream, tree_of_block(block))

    def paths(self, key: PartitionKey | None) -> Iterator[tuple[int, ...]]:
        """Yield what :meth:`keys` returns, as one position for each dimension: cheaper where no key is needed."""
        return product(*self.positions(key))

    def _positions(self, dimension: Dimension, key: PartitionKey | None) -> Positions:
        if isinstance(dimension, CadenceDimension):
            return self._dates(dimension.cadence, key)
        if dimension.name in self.where:
            return sorted({dimension.values.index(value) for value in self.where[dimension.name]})
        if dimension.name not in self._statics or key is None:
            return range(dimension.size(None))
        found = dimension.find(key[dimension.name])
        return range(0) if found is None else range(found, found + 1)

    def _dates(self, cadence: Cadence, key: PartitionKey | None) -> range:
        window = None if key is None or self.downstream is None else self.downstream.window(key)
        return range(len(cadence)) if window is None else self._dates_of(cadence, window)

    def _dates_of(self, cadence: Cadence, window: Window) -> range:
        return cadence.before(window.start, self.previous) if self.previous else cadence.within(window)

    # -- who takes it in ------------------------------------------------------------------------------------------

    def readers(self, selection: Selection, dates: int = 0) -> Selection:
        """Return the keys of the downstream that take in any of a selection of the upstream.

        Those of dates that the upstream's calendar does not reach are left out: what they take in is not known.

        Args:
            selection: Keys of the upstream.
            dates: How many of the downstream's dates are looked at, from its first on, where it has dates.

        Example:
            >>> from flowctx import Daily, Monthly, PartitionScheme
            >>> days = PartitionScheme(date=Daily(start="2012-01-03", calendar="WEEKDAYS"), fund=["A", "B"])
            >>> months = PartitionScheme(month=Monthly(start="2012-01-31"))
            >>> some = days.select("date=2012-01-20..2012-02-03,fund=A")
            >>> [key.month for key in PartitionMapping(days, months).readers(some, dates=12)]
            ['2012-01-31', '2012-02-29']
        """
        assert self.downstream is not None  # noqa: S101 - whoever asks has its keys
        tree = selection._set()
        found = [self._reading(block, dates) for block in (() if tree is None else blocks(tree))]
        return Selection._of(self.downstream, union(found))

    def known_dates(self, dates: int) -> int:
        """Return of how many of the downstream's first dates it is known what they take in.

        Args:
            dates: How many of them are looked at.

        Example:
            >>> from flowctx import Daily, Monthly, PartitionScheme
            >>> days = PartitionScheme(date=Daily(start="2012-01-03"))
            >>> PartitionMapping(days, PartitionScheme(month=Monthly(start="2012-01-31"))).known_dates(12)
            12
        """
        theirs, reading = self.upstream.cadence, self.downstream.cadence if self.downstream is not None else None
        if theirs is None or reading is None:
            return dates

        def unknown(place: int) -> bool:
            try:
                self._dates_of(theirs, reading.window(reading[place]))
            except CalendarError:
                return True
            return False

        return bisect_left(range(dates), True, key=unknown)

    def first_unknown(self, selection: Selection, dates: int) -> int | None:
        """Return the place of the downstream's first date that may take in some of a selection, if that is not known.

        Args:
            selection: Keys of the upstream.
            dates: How many of the downstream's dates are looked at.

        Example:
            >>> from flowctx import Daily, PartitionScheme
            >>> days = PartitionScheme(date=Daily(start="2012-01-03"))
            >>> PartitionMapping(days, days).first_unknown(days.select("date=2012-02-01"), 40)
        """
        known, tree = self.known_dates(dates), selection._set()
        theirs, reading = self.upstream.cadence, self.downstream.cadence if self.downstream is not None else None
        if known >= dates or theirs is None or reading is None or tree is None:
            return None
        before = self._dates_of(theirs, reading.window(reading[known - 1])) if known else range(0)
        first = before.start if self.previous else before.stop
        dated = self.upstream.dimensions.index(str(self.upstream.cadence_dimension))
        return known if any(run[-1] >= first for block in blocks(tree) for run in block[dated]) else None

    def _reading(self, block: Sequence[Runs], dates: int) -> Tree | None:
        """Return the paths of the downstream that take in any path of a block: a block, since dimensions are apart."""
        assert self.downstream is not None  # noqa: S101 - whoever asks has its keys
        ranges: dict[str, list[range]] = {}
        for dimension, runs in zip(self.upstream.parts, block, strict=True):
            if isinstance(dimension, CadenceDimension):
                ranges[str(self.downstream.cadence_dimension)] = self._dates_reading(dimension.cadence, runs, dates)
            elif dimension.name in self.where:
                values = [dimension.values.index(value) for value in self.where[dimension.name]]
                if not any(value in run for value in values for run in runs):
                    return None
            elif dimension.name in self._statics:
                chosen = {dimension.values[place] for run in runs for place in run}
                reading = self.downstream.values(dimension.name)
                ranges[dimension.name] = [range(i, i + 1) for i, value in enumerate(reading) if value in chosen]
        for part in self.downstream.parts:
            size = dates if isinstance(part, CadenceDimension) else part.size(None)
            ranges.setdefault(part.name, [range(size)])
        return tree_of_block([ranges[part.name] for part in self.downstream.parts])

    def _dates_reading(self, cadence: Cadence, runs: Runs, dates: int) -> list[range]:
        """Return the dates of the downstream that take in any date of some runs."""
        reading = self.downstream.cadence if self.downstream is not None else None
        if reading is None:
            return []

        def taken(place: int) -> range:
            return self._dates_of(cadence, reading.window(reading[place]))

        found: list[range] = []
        dates = self.known_dates(dates)
        for run in runs:
            first = bisect_left(range(dates), True, key=lambda place: taken(place).stop > run[0])
            after = bisect_left(range(dates), True, key=lambda place: taken(place).start > run[-1])
            found += (range(place, place + 1) for place in range(first, after) if _meet(taken(place), run))
        return found

    # -- what cannot be -------------------------------------------------------------------------------------------

    def _check_where(self) -> None:
        for name, values in self.where.items():
            known = self.upstream.dimensions
            if name not in known:
                raise PartitionError(f"where({name}=...) names no dimension of it: {did_you_mean(name, known)}")
            if name == self.upstream.cadence_dimension:
                raise PartitionError(f"where({name}=...) is about its dates; narrow them with .previous(n)")
            for value in values:
                if value not in self.upstream.values(name):
                    near = nearest(value, self.upstream.values(name), n=3)
                    hint = f"did you mean {' or '.join(near)}?" if near else "see the values of its scheme"
                    raise PartitionError(f"where({name}={value!r}) names no value of {name}; {hint}")

    def _check_cadences(self) -> None:
        reading = self.downstream.cadence if self.downstream is not None else None
        theirs = self.upstream.cadence
        if self.previous and (theirs is None or reading is None):
            whose = "the workflow that is read" if theirs is None else "the reader"
            raise PartitionError(f".previous() goes back in dates, and {whose} has none; leave it out")
        if theirs is None:
            return
        if reading is None:
            if not theirs.bounded:
                raise PartitionError(
                    f"its {self.upstream.cadence_dimension} has no end, and the reader has no dates, so it would take "
                    "in dates without end; give the reader a cadence, or that one an end="
                )
            return
        if self.previous:
            _check_zones(theirs, reading)
        else:
            check_windows(theirs, reading)

    def _check_common(self) -> None:
        upstream, downstream = self.upstream, self.downstream
        both_dated = downstream is not None and None not in (upstream.cadence, downstream.cadence)
        free = [name for name in upstream.dimensions if name not in self.where]
        if free and not both_dated and not self._statics:
            named = ", ".join(downstream.dimensions) if downstream is not None else "no partitions"
            raise PartitionError(
                f"it has the dimensions {', '.join(upstream.dimensions)} and the reader has {named}: they have none in "
                f"common, so all of it would be read; say what is meant: .where({free[0]}=...)"
            )


def _meet(one: range, other: range) -> bool:
    """Whether two ranges, of which the first has no steps, have a number in common."""
    if other.step == 1:
        return max(one.start, other.start) < min(one.stop, other.stop)
    return any(number in other for number in one)


def _shared(
    upstream: PartitionScheme, downstream: PartitionScheme | None, where: Mapping[str, object]
) -> frozenset[str]:
    """Return the static dimensions that both have, and that ``where`` does not name."""
    if downstream is None:
        return frozenset()
    for name in set(upstream.dimensions) & set(downstream.dimensions):
        if (name == upstream.cadence_dimension) != (name == downstream.cadence_dimension):
            raise PartitionError(f"{name} is a cadence in one and a list of values in the other; rename one of them")
    static = {part.name for part in upstream.parts if isinstance(part, StaticDimension)}
    return frozenset(static & set(downstream.dimensions) - set(where))


def same_dates(one: Cadence, other: Cadence) -> bool:
    """Tell whether two cadences have the same dates, apart from where they start and end.

    Example:
        >>> same_dates(Daily(start="2012-01-03"), Daily(start="2020-01-01", end="2020-12-31"))
        True
    """
    if type(one) is not type(other) or one.timezone != other.timezone:
        return False
    ignored = set(_BOUNDS)
    if getattr(one, "as_of", None) == "period_end":
        ignored.add("calendar")
    return all(getattr(one, f.name) == getattr(other, f.name) for f in fields(one) if f.name not in ignored)


def check_windows(upstream: Cadence, downstream: Cadence) -> None:
    """Refuse cadences of which one's windows do not lie in windows of the other.

    Raises:
        PartitionError: They do not, or their time zones differ.
    """
    _check_zones(upstream, downstream)
    if not isinstance(downstream, _FINER.get(type(upstream), ())) or not _end_together(upstream, downstream):
        raise PartitionError(
            f"windows of {upstream!r} do not lie in windows of {downstream!r}; a mapping goes from finer to coarser "
            "windows: make the upstream daily, or swap the two"
        )


def _check_zones(upstream: Cadence, downstream: Cadence) -> None:
    if upstream.timezone != downstream.timezone:
        raise PartitionError(
            f"days of {upstream.timezone} do not lie in days of {downstream.timezone}; give both cadences one timezone"
        )


def _end_together(upstream: Cadence, downstream: Cadence) -> bool:
    """Tell whether weeks end on the same day, and years where quarters or years do."""
    if isinstance(upstream, Weekly) and isinstance(downstream, Weekly):
        return upstream.ends_on == downstream.ends_on
    if isinstance(upstream, Yearly) and isinstance(downstream, Yearly):
        return upstream.ends_in == downstream.ends_in
    if isinstance(upstream, Quarterly) and isinstance(downstream, Yearly):
        return downstream.first_month % 3 == 1
    return True
